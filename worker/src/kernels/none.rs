//! Systems other than Linux: no kernel applies.

use mlx_rs::Array;

use super::{
    Epilogue, HeadTransform, PaddedRows, PagedAttentionParams, PagedBatch, Prologue, Result, StoredFloat,
    UnaryOp,
};

pub(super) fn supports(_: &[&Array]) -> bool {
    false
}

pub(super) fn weight_from_bytes(_: &[u8], _: StoredFloat, _: &[i32]) -> Option<Result<Array>> {
    None
}

pub(super) fn concatenate_rows(_: &[&Array]) -> Option<Result<Array>> {
    None
}

pub(super) fn unary(_: UnaryOp, _: &Array) -> Option<Result<Array>> {
    None
}

pub(super) fn linear(_: &Array, _: Prologue, _: &Array, _: Epilogue) -> Option<Result<Array>> {
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

pub(super) fn attention(_: &Array, _: &Array, _: &Array, _: PaddedRows, _: f32) -> Option<Result<Array>> {
    None
}

pub(super) fn gate(_: UnaryOp, _: &Array) -> Option<Result<Array>> {
    None
}

pub(super) fn rms_norm(_: &Array, _: &Array, _: f32) -> Option<Result<Array>> {
    None
}

pub(super) fn rotate(_: &Array, _: &Array, _: &Array) -> Option<Result<Array>> {
    None
}

#[expect(unsafe_code, reason = "the same signature as on Linux")]
pub(super) unsafe fn paged_attention(
    _: &Array,
    _: HeadTransform,
    _: (&Array, &Array),
    _: &PagedBatch,
    _: PagedAttentionParams,
) -> Option<Result<Array>> {
    None
}
