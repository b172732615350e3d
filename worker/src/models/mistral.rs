//! Mistral 7B and Nemo: Llama; the first version has a sliding window in every layer.
//!
//! Jiang et al. 2023 (<https://arxiv.org/abs/2310.06825>); reference: `llama.py` of mlx-lm 0.32.2, which omits the window,
//! and `modeling_mistral.py` of Transformers, which has it.

use serde::Deserialize;

use super::variant::Variant;
use super::{llama, ministral3, qwen2};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads a `mistral` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    llama::Model::load_variant(
        loader,
        loader.config().args()?,
        Variant { sliding_by_default: true, ..Variant::default() },
    )
}

/// The language model of a `mistral3` folder.
#[derive(Debug, Deserialize)]
struct LanguageModel {
    language_model_type: Option<String>,
}

/// Loads the language model of a `mistral3` folder (Mistral Small 3.1 and 3.2, Ministral 3), or of another vision model with one of
/// these.
///
/// # Errors
/// Those of the loader, and if the language model is of another family.
pub fn load_language_model(loader: &Loader) -> Result<llama::Model, LoadError> {
    let LanguageModel { language_model_type } = loader.config().args()?;
    match language_model_type.as_deref() {
        None | Some("mistral" | "llama") => load(loader),
        Some("qwen2") => qwen2::load(loader),
        Some("ministral3") => ministral3::load(loader),
        Some(other) => Err(loader
            .config()
            .problem(format!("its language model is a \"{other}\", which is not supported"))),
    }
}
