//! EXAONE 4.0: Llama with norms after attention and MLP instead of before, and norms over each query and key head. The larger
//! model has a sliding window in most layers, and no rotary embeddings in the others.
//!
//! LG AI Research 2025 (<https://arxiv.org/abs/2507.11407>); reference: `exaone4.py` of mlx-lm 0.32.2.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::{BlockNorms, QueryKeyNorms, Variant};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The layers with a window, if config.json does not name them one by one.
#[derive(Debug, Deserialize)]
struct Layers {
    sliding_window_pattern: Option<Pattern>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Pattern {
    /// A letter a layer, repeated: `L` (local) has a window, `G` (global) has none.
    Letters(String),
    /// Every n-th layer has none.
    Every(usize),
}

/// Loads an `exaone4` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let mut args: Args = loader.config().args()?;
    let Layers { sliding_window_pattern } = loader.config().args()?;
    match sliding_window_pattern.filter(|_| args.sliding_window.is_some()) {
        Some(Pattern::Every(step)) => args.default_layer_types(step),
        Some(Pattern::Letters(letters)) => {
            let letters = letters.chars().cycle().take(args.num_hidden_layers);
            let kinds = letters.map(|letter| llama::layer_type(letter == 'L'));
            let kinds = kinds.collect();
            args.layer_types.get_or_insert(kinds);
        }
        None => {}
    }
    let variant = Variant {
        block_norms: BlockNorms::OUTPUTS,
        head_norms: Some(QueryKeyNorms::HEADS),
        uses_rope,
        tied: Some(false),
        ..Variant::default()
    };
    llama::Model::load_variant(loader, args, variant)
}

fn uses_rope(args: &Args, layer: usize) -> bool {
    args.sliding_window.is_none() || args.slides(layer)
}
