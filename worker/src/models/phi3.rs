//! Phi 3 and 4: Llama with fused projections, partial rotary embeddings and long-context rotary factors.
//!
//! Abdin et al. 2024 (<https://arxiv.org/abs/2404.14219>); references: `phi3.py` of mlx-lm 0.32.2, which uses the long factors
//! for every text and omits the sliding window of the first 4K models, and `modeling_phi3.py` of Transformers 5.24, which uses
//! the short ones up to the original context and has the window in every layer.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::Variant;
use crate::layers::rope::{ContextLengths, Rope, RopeScaling};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The rotary fields of config.json.
#[derive(Debug, Deserialize)]
struct RopeArgs {
    rope_scaling: Option<RopeScaling>,
    /// Newer files have everything here.
    rope_parameters: Option<RopeScaling>,
    partial_rotary_factor: Option<f32>,
}

/// Context in tokens of Phi 3's first models, and the original context of all. Their files may omit it.
const ORIGINAL_CONTEXT: f32 = 4096.0;

/// Loads a `phi3` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let rope = rope(&args, loader.config().args()?);
    let rope = rope.map_err(|problem| loader.config().problem(problem))?;
    llama::Model::load_variant(
        loader,
        args,
        Variant { rope: Some(rope), tied: Some(false), sliding_by_default: true, ..Variant::default() },
    )
}

fn rope(args: &Args, rope: RopeArgs) -> Result<Rope, String> {
    let ContextLengths { maximum, original } = args.context_lengths();
    let scaling = rope.rope_scaling.or(rope.rope_parameters).unwrap_or_default();
    let maximum = maximum.unwrap_or(ORIGINAL_CONTEXT);
    let original = original.or(scaling.original_max_position_embeddings).unwrap_or(ORIGINAL_CONTEXT);
    let scaling = scaling.with_lengths(ContextLengths { maximum: Some(maximum), original: Some(original) });
    let part = rope.partial_rotary_factor.or(scaling.partial_rotary_factor).unwrap_or(1.0);
    let (width, theta) = ((args.head_dim() as f32 * part) as i32, args.theta());
    match scaling.kind() {
        // Names that Phi's first files have for the same.
        "longrope" | "su" | "yarn" => Rope::long(width, theta, &scaling),
        "default" | "linear" => Rope::new(width, theta, Some(&scaling)),
        kind => Err(format!("rope_scaling of type \"{kind}\" is not supported")),
    }
}
