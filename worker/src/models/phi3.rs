//! Phi 3 and 4: Llama with fused projections, partly turned heads and long-context rotary factors.
//!
//! Abdin et al. 2024 (<https://arxiv.org/abs/2404.14219>); reference: `phi3.py` of mlx-lm 0.32.2, which uses the long factors
//! at every length.

use serde::Deserialize;

use super::llama::{self, Args, Variant};
use crate::layers::rope::Rope;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The rotary fields of config.json.
#[derive(Debug, Deserialize)]
struct RopeArgs {
    rope_scaling: Option<LongRope>,
    partial_rotary_factor: Option<f32>,
    max_position_embeddings: Option<f32>,
    original_max_position_embeddings: Option<f32>,
}

#[derive(Debug, Deserialize)]
struct LongRope {
    r#type: String,
    long_factor: Option<Vec<f32>>,
    factor: Option<f32>,
}

/// Loads a `phi3` folder.
///
/// # Errors
/// As the loader's.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let rope = rope(&args, loader.config().args()?).map_err(|problem| loader.config().problem(problem))?;
    llama::Model::varied(loader, args, Variant { rope: Some(rope), tied: Some(false), ..Variant::default() })
}

fn rope(args: &Args, rope: RopeArgs) -> Result<Rope, String> {
    let width = (args.head_dim() as f32 * rope.partial_rotary_factor.unwrap_or(1.0)) as i32;
    let plain = Rope::plain(width, args.theta());
    let Some(scaling) = rope.rope_scaling else { return Ok(plain) };
    match (scaling.r#type.as_str(), scaling.long_factor, scaling.factor) {
        ("longrope" | "su", Some(factors), _) => {
            let original = rope.original_max_position_embeddings.unwrap_or(4096.0);
            let stretch = rope.max_position_embeddings.unwrap_or(131_072.0) / original;
            // Longer contexts blur attention; this sharpens it again.
            let scale = if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / original.ln()).sqrt() };
            plain.stretched(&factors, scale)
        }
        ("linear", _, Some(factor)) => plain.stretched(&vec![factor; (width / 2) as usize], 1.0),
        (kind, _, _) => Err(format!("rope_scaling of type \"{kind}\" is not supported, or lacks a field")),
    }
}
