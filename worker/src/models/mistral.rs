//! Mistral 7B and Nemo: Llama, in the first version with a sliding window in every layer.
//!
//! Jiang et al. 2023 (<https://arxiv.org/abs/2310.06825>); reference: `llama.py` of mlx-lm 0.32.2, which leaves the window
//! out, and `modeling_mistral.py` of Transformers, which has it.

use serde::Deserialize;

use super::llama::{self, Variant};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads a `mistral` folder.
///
/// # Errors
/// As the loader's.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    llama::Model::varied(loader, loader.config().args()?, Variant { windows: true, ..Variant::default() })
}

/// What language model a `mistral3` folder has.
#[derive(Debug, Deserialize)]
struct Seeing {
    language_model_type: Option<String>,
}

/// Loads the language model of a `mistral3` folder (Mistral Small 3.1 and 3.2).
///
/// # Errors
/// As the loader's, and where it is of another family.
pub fn load_seeing(loader: &Loader) -> Result<llama::Model, LoadError> {
    let Seeing { language_model_type } = loader.config().args()?;
    match language_model_type.as_deref() {
        None | Some("mistral" | "llama") => load(loader),
        Some(other) => Err(loader
            .config()
            .problem(format!("its language model is a \"{other}\", which is not supported"))),
    }
}
