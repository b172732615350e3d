//! OLMo 3: OLMo 2 with a sliding window in three of four layers, which have rotary embeddings without scaling.
//!
//! OLMo Team 2025 (<https://arxiv.org/abs/2512.13961>); reference: `olmo3.py` of mlx-lm 0.32.2.

use super::llama::{self, Args};
use super::olmo2;
use super::variant::Variant;
use crate::layers::rope::{Rope, RopeScaling};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Every layer of this number attends to the whole text, in files that do not name the layers.
const FULL_LAYER: usize = 4;

/// Loads an `olmo3` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let mut args: Args = loader.config().args()?;
    if args.sliding_window.is_none() {
        return Err(loader.config().problem("\"sliding_window\" is missing"));
    }
    args.default_layer_types(FULL_LAYER);
    let (full, sliding) = ropes(&args).map_err(|problem| loader.config().problem(problem))?;
    let variant =
        Variant { rope: Some(full), sliding_rope: Some(sliding), tied: Some(false), ..olmo2::variant() };
    llama::Model::load_variant(loader, args, variant)
}

/// Rotary embeddings of layers that attend to the whole text and of layers with a window.
fn ropes(args: &Args) -> Result<(Rope, Rope), String> {
    let (width, scaling) = (args.head_dim(), args.scaling());
    let full = scaling.map(|scaling| scaling.full().with_lengths(args.context_lengths()));
    let sliding = scaling.and_then(RopeScaling::sliding);
    let theta = sliding.and_then(|sliding| sliding.rope_theta).unwrap_or(args.theta());
    Ok((Rope::new(width, args.theta(), full.as_ref())?, Rope::new(width, theta, sliding)?))
}
