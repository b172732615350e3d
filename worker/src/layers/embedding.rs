//! Token embeddings, which may serve as the output layer too.

use mlx_rs::Array;

use super::Result;
use super::linear::Linear;

/// A table `[vocabulary, D]`.
#[derive(Debug, Clone)]
pub struct Embedding(Linear);

impl Embedding {
    /// From the table as a linear layer from D to the vocabulary.
    pub fn new(table: Linear) -> Self {
        Self(table)
    }

    /// `[T]` token ids → `[T, D]`.
    pub fn forward(&self, ids: &Array) -> Result<Array> {
        self.0.rows(ids)
    }

    /// `[T, D]` → logits `[T, vocabulary]`, where the output layer is tied to the embedding.
    pub fn as_output(&self) -> Linear {
        self.0.clone()
    }
}
