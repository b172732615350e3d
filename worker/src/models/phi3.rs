//! Phi 3 and 4: Llama with fused projections, partial rotary embeddings and long-context rotary factors.
//!
//! Abdin et al. 2024 (<https://arxiv.org/abs/2404.14219>); reference: `phi3.py` of mlx-lm 0.32.2, which uses the long factors
//! at every length.

use serde::Deserialize;

use super::llama::{self, Args, Variant};
use crate::layers::rope::{Rope, RopeScaling};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The rotary fields of config.json.
#[derive(Debug, Deserialize)]
struct RopeArgs {
    rope_scaling: Option<RopeScaling>,
    /// Newer files have everything here.
    rope_parameters: Option<RopeScaling>,
    partial_rotary_factor: Option<f32>,
    max_position_embeddings: Option<f32>,
    original_max_position_embeddings: Option<f32>,
}

/// Loads a `phi3` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let rope = rope(&args, loader.config().args()?).map_err(|problem| loader.config().problem(problem))?;
    llama::Model::load_variant(
        loader,
        args,
        Variant { rope: Some(rope), tied: Some(false), ..Variant::default() },
    )
}

fn rope(args: &Args, rope: RopeArgs) -> Result<Rope, String> {
    let scaling = rope.rope_scaling.or(rope.rope_parameters).unwrap_or_default();
    let part = rope.partial_rotary_factor.or(scaling.partial_rotary_factor).unwrap_or(1.0);
    let (width, theta) = ((args.head_dim() as f32 * part) as i32, args.theta());
    let context = rope.max_position_embeddings.unwrap_or(131_072.0);
    match scaling.kind() {
        "longrope" | "su" => {
            Rope::long(width, theta, &scaling, (rope.original_max_position_embeddings, context))
        }
        "default" | "linear" => Rope::new(width, theta, Some(&scaling)),
        kind => Err(format!("rope_scaling of type \"{kind}\" is not supported")),
    }
}
