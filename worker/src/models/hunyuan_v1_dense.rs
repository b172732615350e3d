//! Hunyuan, dense: Llama with norms over each query and key head after its rotation, and a rotary base that grows with `alpha`.
//!
//! Tencent 2025 (<https://github.com/Tencent-Hunyuan/Hunyuan-7B>); reference: `hunyuan_v1_dense.py` of mlx-lm 0.32.2.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::{QueryKeyNorms, Variant};
use crate::layers::attention::NormSpan;
use crate::layers::rope::Rope;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

const NORMS: QueryKeyNorms =
    QueryKeyNorms { names: ["query_layernorm", "key_layernorm"], span: NormSpan::RotatedHead };

/// The field of config.json that Llama lacks.
#[derive(Debug, Deserialize)]
struct Norms {
    use_qk_norm: Option<bool>,
}

/// Loads a `hunyuan_v1_dense` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let Norms { use_qk_norm } = loader.config().args()?;
    let rope = rope(&args).map_err(|problem| loader.config().problem(problem))?;
    let variant = Variant {
        head_norms: use_qk_norm.unwrap_or(true).then_some(NORMS),
        rope: Some(rope),
        tied: Some(false),
        ..Variant::default()
    };
    llama::Model::load_variant(loader, args, variant)
}

/// The type `dynamic` with `alpha` has a base that does not depend on the text's length, unlike that of other families.
fn rope(args: &Args) -> Result<Rope, String> {
    let width = args.head_dim();
    let dynamic = args.scaling().filter(|scaling| scaling.kind() == "dynamic" && width > 2);
    match dynamic.and_then(|scaling| scaling.alpha) {
        Some(alpha) => {
            let exponent = width as f32 / (width - 2) as f32;
            Ok(Rope::plain(width, args.theta() * alpha.powf(exponent)))
        }
        None => args.rope(width),
    }
}
