//! For systems without these kernels.

use mlx_rs::Array;

use super::{After, Before, Function, Paged, Result, Rows, Scores, Stored, Turn};

pub(super) fn apply(_: &[&Array]) -> bool {
    false
}

pub(super) fn floats(_: &[u8], _: Stored, _: &[i32]) -> Option<Result<Array>> {
    None
}

pub(super) fn joined(_: &[&Array]) -> Option<Result<Array>> {
    None
}

pub(super) fn each(_: Function, _: &Array) -> Option<Result<Array>> {
    None
}

pub(super) fn linear(_: &Array, _: Before, _: &Array, _: After) -> Option<Result<Array>> {
    None
}

pub(super) fn layer_norm(
    _: &Array,
    _: Option<&Array>,
    _: (&Array, Option<&Array>),
    _: f32,
) -> Option<Result<Array>> {
    None
}

pub(super) fn attention(_: &Array, _: &Array, _: &Array, _: Rows, _: f32) -> Option<Result<Array>> {
    None
}

pub(super) fn gated(_: Function, _: &Array) -> Option<Result<Array>> {
    None
}

pub(super) fn rms_norm(_: &Array, _: &Array, _: f32) -> Option<Result<Array>> {
    None
}

pub(super) fn rotate(_: &Array, _: &Array, _: &Array) -> Option<Result<Array>> {
    None
}

#[expect(unsafe_code, reason = "the same signature as on Linux")]
pub(super) unsafe fn attention_paged(
    _: &Array,
    _: Turn,
    _: (&Array, &Array),
    _: &Paged,
    _: Scores,
) -> Option<Result<Array>> {
    None
}
