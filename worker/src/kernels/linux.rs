//! Linux: safe wrappers of the C interface of `mlx-cpu-kernels`.
#![expect(unsafe_code, reason = "C++ functions that create arrays")]

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::OnceLock;

use mlx_cpu_kernels as native;
use mlx_rs::error::Exception;
use mlx_rs::{Array, Device, DeviceType, Dtype, Stream, transforms};
use mlx_sys::{mlx_array, mlx_array_free, mlx_array_new, mlx_stream};

use super::{
    Epilogue, HeadTransform, PaddedRows, PagedAttentionParams, PagedBatch, PagedSequence, Prologue, Result,
    StoredFloat, UnaryOp,
};

impl UnaryOp {
    fn native(self) -> native::MlxdActivation {
        match self {
            Self::Identity => native::MLXD_IDENTITY,
            Self::Gelu => native::MLXD_GELU,
            Self::GeluTanh => native::MLXD_GELU_TANH,
            Self::Silu => native::MLXD_SILU,
            Self::Exp2 => native::MLXD_EXP2,
        }
    }
}

impl StoredFloat {
    /// Size of a number in bytes.
    fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    fn native(self) -> native::MlxdStored {
        match self {
            Self::Bf16 => native::MLXD_STORED_BF16,
            Self::F32 => native::MLXD_STORED_F32,
        }
    }
}

impl From<&PagedSequence> for native::MlxdSequence {
    fn from(sequence: &PagedSequence) -> Self {
        let PagedSequence { first, tokens, position, blocks } = *sequence;
        Self { first, tokens, position, blocks }
    }
}

/// A pointer to the handle, or null.
fn optional<T>(handle: &Option<T>) -> *const T {
    handle.as_ref().map_or(ptr::null(), ptr::from_ref)
}

/// Whether the device is a CPU and all arrays are float32.
pub(super) fn supports(arrays: &[&Array]) -> bool {
    static CPU: OnceLock<bool> = OnceLock::new();
    let device = || Device::try_default().and_then(|device| device.get_type());
    let cpu = *CPU.get_or_init(|| matches!(device(), Ok(DeviceType::Cpu)));
    cpu && arrays.iter().all(|array| array.dtype() == Dtype::Float32)
}

/// Creates an array on the current stream. `make` fills the handle and returns null, or returns a message.
fn create(make: impl FnOnce(*mut mlx_array, mlx_stream) -> *const c_char) -> Result<Array> {
    let stream = Stream::thread_local_or_default();
    // SAFETY: the empty handle is filled, and then belongs to the array, or freed below.
    let mut out = unsafe { mlx_array_new() };
    let message = make(&raw mut out, stream.as_ptr());
    if message.is_null() {
        // SAFETY: without a message the handle holds a new array.
        return Ok(unsafe { Array::from_ptr(out) });
    }
    // SAFETY: the message is a C string that stays valid until this thread's next failure.
    let error = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: no one else has the handle.
    unsafe { mlx_array_free(out) };
    Err(Exception::custom(error))
}

pub(super) fn weight_from_bytes(bytes: &[u8], stored: StoredFloat, shape: &[i32]) -> Option<Result<Array>> {
    let size = shape.iter().try_fold(stored.bytes(), |size, n| size.checked_mul(usize::try_from(*n).ok()?));
    if !supports(&[]) || size != Some(bytes.len()) {
        return None;
    }
    let (source, dimensions) = (bytes.as_ptr().cast(), shape.len());
    // SAFETY: the slice has exactly the bytes of the shape (checked above), and the call copies them.
    Some(create(|out, _| unsafe {
        native::mlxd_floats(out, source, stored.native(), shape.as_ptr(), dimensions)
    }))
}

pub(super) fn concatenate_rows(parts: &[&Array]) -> Option<Result<Array>> {
    if !supports(parts) || parts.is_empty() {
        return None;
    }
    if let Err(error) = transforms::eval(parts.iter().copied()) {
        return Some(Err(error));
    }
    let handles: Vec<mlx_array> = parts.iter().map(|part| part.as_ptr()).collect();
    // SAFETY: the handles live as long as the arrays they are borrowed from; the call keeps no pointer.
    Some(create(|out, _| unsafe { native::mlxd_joined(out, handles.as_ptr(), handles.len()) }))
}

pub(super) fn unary(op: UnaryOp, x: &Array) -> Option<Result<Array>> {
    // SAFETY: the handles live as long as the arrays they are borrowed from; the same below.
    let call = |out, stream| unsafe { native::mlxd_activation(out, op.native(), x.as_ptr(), stream) };
    supports(&[x]).then(|| create(call))
}

pub(super) fn linear(
    x: &Array,
    prologue: Prologue,
    weight: &Array,
    epilogue: Epilogue,
) -> Option<Result<Array>> {
    let (norm, eps, gate) = match prologue {
        Prologue::None => (None, 0.0, -1),
        Prologue::RmsNorm(weight, eps) => (Some(weight), eps, -1),
        Prologue::Gate(op) => (None, 0.0, op.native() as i32),
    };
    let optionals = [norm, epilogue.bias, epilogue.residual];
    if !supports(&[x, weight])
        || !optionals.into_iter().flatten().all(|array| supports(&[array]))
        || x.ndim() != 2
    {
        return None;
    }
    let activation = epilogue.activation.unwrap_or(UnaryOp::Identity).native() as i32;
    let options = native::MlxdLinear { gate, activation, eps };
    let handles = optionals.map(|array| array.map(Array::as_ptr));
    let [norm, bias, residual] = handles.each_ref().map(optional);
    let (x, weight) = (x.as_ptr(), weight.as_ptr());
    // SAFETY: as above; an optional handle is null or outlives the call.
    Some(create(|out, stream| unsafe {
        native::mlxd_linear(out, x, weight, norm, bias, residual, &raw const options, stream)
    }))
}

pub(super) fn layer_norm(
    x: &Array,
    added: Option<&Array>,
    (weight, bias): (&Array, Option<&Array>),
    eps: f32,
) -> Option<Result<Array>> {
    if !supports(&[x, added.unwrap_or(x), weight, bias.unwrap_or(weight)]) {
        return None;
    }
    let [added, bias] = [added, bias].map(|array| array.map(Array::as_ptr));
    let [added, bias] = [&added, &bias].map(optional);
    let (x, weight) = (x.as_ptr(), weight.as_ptr());
    // SAFETY: as above.
    Some(create(|out, stream| unsafe { native::mlxd_layer_norm(out, x, added, weight, bias, eps, stream) }))
}

pub(super) fn attention(
    queries: &Array,
    keys: &Array,
    values: &Array,
    rows: PaddedRows,
    scale: f32,
) -> Option<Result<Array>> {
    if !supports(&[queries, keys, values]) {
        return None;
    }
    let padded = if queries.ndim() == 4 { queries.dim(2) } else { 0 };
    if rows.lengths.len() as i32 != queries.dim(0)
        || rows.lengths.iter().any(|length| *length > padded as u32)
    {
        return Some(Err(Exception::custom("attention in rows of other lengths")));
    }
    let distance = |tokens: u32| i32::try_from(tokens).unwrap_or(i32::MAX);
    let (back, ahead, lengths) = (distance(rows.back), distance(rows.ahead), rows.lengths.as_ptr());
    let (queries, keys, values) = (queries.as_ptr(), keys.as_ptr(), values.as_ptr());
    // SAFETY: as above; there is one length per row, and none exceeds the padded row.
    Some(create(|out, stream| unsafe {
        native::mlxd_attention(out, queries, keys, values, lengths, scale, back, ahead, stream)
    }))
}

pub(super) fn gate(op: UnaryOp, halves: &Array) -> Option<Result<Array>> {
    let fits = supports(&[halves]) && halves.ndim() == 2;
    // SAFETY: as above; the same below.
    let call = |out, stream| unsafe { native::mlxd_gated(out, op.native(), halves.as_ptr(), stream) };
    fits.then(|| create(call))
}

pub(super) fn rms_norm(x: &Array, weight: &Array, eps: f32) -> Option<Result<Array>> {
    let fits = supports(&[x, weight]) && x.ndim() == 2;
    // SAFETY: as above.
    let call = |out, stream| unsafe { native::mlxd_rms_norm(out, x.as_ptr(), weight.as_ptr(), eps, stream) };
    fits.then(|| create(call))
}

pub(super) fn rotate(x: &Array, cos: &Array, sin: &Array) -> Option<Result<Array>> {
    let fits = supports(&[x, cos, sin]) && x.ndim() == 3 && x.dim(0) == cos.dim(0) && x.dim(0) > 0;
    let (x, cos, sin) = (x.as_ptr(), cos.as_ptr(), sin.as_ptr());
    // SAFETY: as above.
    fits.then(|| create(|out, stream| unsafe { native::mlxd_rotate(out, x, cos, sin, stream) }))
}

/// # Safety
/// As [`super::paged_attention`].
pub(super) unsafe fn paged_attention(
    heads: &Array,
    transform: HeadTransform,
    (keys, values): (&Array, &Array),
    batch: &PagedBatch,
    params: PagedAttentionParams,
) -> Option<Result<Array>> {
    let (norms, eps) = transform.norms.map_or((None, 0.0), |(norms, eps)| (Some(norms), eps));
    let pairs = [transform.rotary, norms];
    if !supports(&[heads, keys, values])
        || !pairs.iter().flatten().all(|pair| supports(pair))
        || keys.ndim() != 3
    {
        return None;
    }
    if !batch.is_consistent(heads.dim(0), keys.dim(1), params.window) {
        return Some(Err(Exception::custom("attention over blocks that the pool lacks")));
    }
    let window = params.window.and_then(|window| i32::try_from(window).ok());
    let sequences: Vec<native::MlxdSequence> = batch.sequences.iter().map(Into::into).collect();
    let step = native::MlxdPagedStep {
        sequences: sequences.as_ptr(),
        sequence_count: sequences.len(),
        block_table: batch.block_table.as_ptr(),
        block_count: batch.block_table.len(),
        block_size: batch.block_size.max(1) as i32,
        heads: params.heads,
        scale: params.scale,
        eps,
        window: window.unwrap_or(i32::MAX).max(1),
    };
    let pairs = pairs.map(|pair| pair.map(|pair| pair.map(Array::as_ptr)));
    let [rotary, norms] = pairs.each_ref().map(|pair| optional(pair).cast::<mlx_array>());
    let (heads, keys, values) = (heads.as_ptr(), keys.as_ptr(), values.as_ptr());
    // SAFETY: as above; the call copies sequences and block table, whose blocks lie in the pool (checked above). The caller
    // answers for the pool.
    Some(create(|out, stream| unsafe {
        native::mlxd_attention_paged(out, heads, keys, values, rotary, norms, &raw const step, stream)
    }))
}
