//! Token embeddings, which may serve as the output layer too.

use mlx_rs::Array;

use super::Result;
use super::linear::Linear;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// A table `[vocabulary, D]`.
#[derive(Debug, Clone)]
pub struct Embedding(Linear);

impl Embedding {
    /// Loads the table `path.weight`.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader, path: &str, vocabulary: i32, width: i32) -> Result<Self, LoadError> {
        loader.embedding(path, vocabulary, width).map(|weights| Self(weights.into()))
    }

    /// `[T]` token ids → `[T, D]`.
    pub fn forward(&self, ids: &Array) -> Result<Array> {
        self.0.rows(ids)
    }

    /// The table as an output layer tied to the embedding: `[T, D]` → logits `[T, vocabulary]`.
    pub fn as_output(&self) -> Linear {
        self.0.clone()
    }
}
