//! Ministral 3: Mistral with queries that grow by their position beyond the original context.
//!
//! Mistral AI 2026 (<https://arxiv.org/abs/2601.08584>); reference: `ministral3.py` of mlx-lm 0.32.2.

use super::llama::{self, Args};
use super::variant::Variant;
use crate::layers::rope::Rope;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads a `ministral3` folder, or the language model of a `mistral3` one.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let rope = rope(&args).map_err(|problem| loader.config().problem(problem))?;
    let variant = Variant { rope: Some(rope), sliding_by_default: true, ..Variant::default() };
    llama::Model::load_variant(loader, args, variant)
}

fn rope(args: &Args) -> Result<Rope, String> {
    let rope = args.rope(args.head_dim())?;
    let Some(scaling) = args.scaling() else { return Ok(rope) };
    let Some(beta) = scaling.llama_4_scaling_beta else { return Ok(rope) };
    let original = scaling.original_max_position_embeddings;
    let original = original.ok_or("rope_parameters: original_max_position_embeddings is missing")?;
    Ok(rope.with_query_growth(beta, original))
}
