//! One module for each family of image processors, named for its first `model_type`.
//!
//! Each holds what the family reads of a model folder's settings, and makes of a picture the numbers and the text.

pub(crate) mod gemma3;
pub(crate) mod gemma4;
pub(crate) mod idefics3;
pub(crate) mod internvl;
pub(crate) mod llava;
pub(crate) mod paligemma;
pub(crate) mod pixtral;
pub(crate) mod qwen;
mod tiles;
