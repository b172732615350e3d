//! The kernels' C interface.
#![expect(unsafe_code, reason = "functions in C++ that make arrays")]

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::OnceLock;

use mlx_rs::error::Exception;
use mlx_rs::{Array, Device, DeviceType, Dtype, Stream, transforms};
use mlx_sys::{mlx_array, mlx_array_free, mlx_array_new, mlx_stream};

use super::{After, Before, Function, Paged, Result, Rows, Scores, Sequence, Stored, Turn};

/// What stands around a product, as the C interface has it.
#[repr(C)]
struct Around {
    gate: i32,
    after: i32,
    eps: f32,
}

/// A step's attention, as the C interface has it.
#[repr(C)]
struct Step {
    sequences: *const Sequence,
    count: usize,
    table: *const u32,
    blocks: usize,
    block: i32,
    heads: i32,
    scale: f32,
    eps: f32,
    window: i32,
}

// Each makes an array of others, and says what is wrong or nothing; it keeps no pointers. Queries, keys and values come with as
// many lengths as they have rows.
unsafe extern "C" {
    fn mlxd_floats(
        out: *mut mlx_array,
        stored: *const u8,
        kind: i32,
        shape: *const i32,
        dimensions: usize,
    ) -> *const c_char;
    fn mlxd_joined(out: *mut mlx_array, parts: *const mlx_array, count: usize) -> *const c_char;
    fn mlxd_function(out: *mut mlx_array, function: i32, x: mlx_array, on: mlx_stream) -> *const c_char;
    fn mlxd_linear(
        out: *mut mlx_array,
        x: mlx_array,
        weight: mlx_array,
        norm: *const mlx_array,
        bias: *const mlx_array,
        added: *const mlx_array,
        how: *const Around,
        on: mlx_stream,
    ) -> *const c_char;
    fn mlxd_layer_norm(
        out: *mut mlx_array,
        x: mlx_array,
        added: *const mlx_array,
        weight: mlx_array,
        bias: *const mlx_array,
        eps: f32,
        on: mlx_stream,
    ) -> *const c_char;
    fn mlxd_attention(
        out: *mut mlx_array,
        queries: mlx_array,
        keys: mlx_array,
        values: mlx_array,
        lengths: *const u32,
        scale: f32,
        back: i32,
        ahead: i32,
        on: mlx_stream,
    ) -> *const c_char;
    fn mlxd_gated(out: *mut mlx_array, function: i32, both: mlx_array, on: mlx_stream) -> *const c_char;
    fn mlxd_rms_norm(
        out: *mut mlx_array,
        x: mlx_array,
        weight: mlx_array,
        eps: f32,
        on: mlx_stream,
    ) -> *const c_char;
    fn mlxd_rotate(
        out: *mut mlx_array,
        x: mlx_array,
        cos: mlx_array,
        sin: mlx_array,
        on: mlx_stream,
    ) -> *const c_char;
    fn mlxd_attention_paged(
        out: *mut mlx_array,
        heads: mlx_array,
        keys: mlx_array,
        values: mlx_array,
        angles: *const mlx_array,
        norms: *const mlx_array,
        step: *const Step,
        on: mlx_stream,
    ) -> *const c_char;
}

/// A handle, or null.
fn optional<T>(handle: &Option<T>) -> *const T {
    handle.as_ref().map_or(ptr::null(), ptr::from_ref)
}

/// Whether all are float32 on a CPU.
pub(super) fn apply(arrays: &[&Array]) -> bool {
    static CPU: OnceLock<bool> = OnceLock::new();
    let device = || Device::try_default().and_then(|device| device.get_type());
    let cpu = *CPU.get_or_init(|| matches!(device(), Ok(DeviceType::Cpu)));
    cpu && arrays.iter().all(|array| array.dtype() == Dtype::Float32)
}

/// What `make` makes on the stream that is in use.
fn made(make: impl FnOnce(*mut mlx_array, mlx_stream) -> *const c_char) -> Result<Array> {
    let stream = Stream::thread_local_or_default();
    // SAFETY: an empty handle, which is either filled, and then the array's own, or given back.
    let mut out = unsafe { mlx_array_new() };
    let problem = make(&raw mut out, stream.as_ptr());
    if problem.is_null() {
        // SAFETY: no problem means that the handle holds a new array.
        return Ok(unsafe { Array::from_ptr(out) });
    }
    // SAFETY: what is told is a C string that is there until this thread's next failure.
    let told = unsafe { CStr::from_ptr(problem) }.to_string_lossy().into_owned();
    // SAFETY: nobody else has the handle.
    unsafe { mlx_array_free(out) };
    Err(Exception::custom(told))
}

pub(super) fn floats(bytes: &[u8], stored: Stored, shape: &[i32]) -> Option<Result<Array>> {
    let count =
        shape.iter().try_fold(stored.bytes(), |count, n| count.checked_mul(usize::try_from(*n).ok()?));
    if !apply(&[]) || count != Some(bytes.len()) {
        return None;
    }
    let (from, dimensions) = (bytes.as_ptr(), shape.len());
    // SAFETY: there are as many bytes as the shape says, and they are copied before it returns.
    Some(made(|out, _| unsafe { mlxd_floats(out, from, stored as i32, shape.as_ptr(), dimensions) }))
}

pub(super) fn joined(parts: &[&Array]) -> Option<Result<Array>> {
    if !apply(parts) || parts.is_empty() {
        return None;
    }
    if let Err(error) = transforms::eval(parts.iter().copied()) {
        return Some(Err(error));
    }
    let handles: Vec<mlx_array> = parts.iter().map(|part| part.as_ptr()).collect();
    // SAFETY: as above; the handles live as long as the arrays they are borrowed from.
    Some(made(|out, _| unsafe { mlxd_joined(out, handles.as_ptr(), handles.len()) }))
}

pub(super) fn each(function: Function, x: &Array) -> Option<Result<Array>> {
    // SAFETY: the handles live as long as the arrays they are borrowed from; the same below.
    apply(&[x]).then(|| made(|out, on| unsafe { mlxd_function(out, function as i32, x.as_ptr(), on) }))
}

pub(super) fn linear(x: &Array, before: Before, weight: &Array, after: After) -> Option<Result<Array>> {
    let (norm, eps, gate) = match before {
        Before::Nothing => (None, 0.0, -1),
        Before::Norm(weight, eps) => (Some(weight), eps, -1),
        Before::Gate(function) => (None, 0.0, function as i32),
    };
    let others = [norm, after.bias, after.residual];
    if !apply(&[x, weight]) || !others.into_iter().flatten().all(|array| apply(&[array])) || x.ndim() != 2 {
        return None;
    }
    let how = Around { gate, after: after.function.unwrap_or(Function::Identity) as i32, eps };
    let others = others.map(|array| array.map(Array::as_ptr));
    let [norm, bias, added] = others.each_ref().map(optional);
    let (x, weight) = (x.as_ptr(), weight.as_ptr());
    // SAFETY: as above; what is optional is null or outlives the call.
    Some(made(|out, on| unsafe { mlxd_linear(out, x, weight, norm, bias, added, &raw const how, on) }))
}

pub(super) fn layer_norm(
    x: &Array,
    added: Option<&Array>,
    (weight, bias): (&Array, Option<&Array>),
    eps: f32,
) -> Option<Result<Array>> {
    if !apply(&[x, added.unwrap_or(x), weight, bias.unwrap_or(weight)]) {
        return None;
    }
    let [added, bias] = [added, bias].map(|array| array.map(Array::as_ptr));
    let [added, bias] = [&added, &bias].map(optional);
    let (x, weight) = (x.as_ptr(), weight.as_ptr());
    // SAFETY: as above.
    Some(made(|out, on| unsafe { mlxd_layer_norm(out, x, added, weight, bias, eps, on) }))
}

pub(super) fn attention(
    queries: &Array,
    keys: &Array,
    values: &Array,
    rows: Rows,
    scale: f32,
) -> Option<Result<Array>> {
    if !apply(&[queries, keys, values]) {
        return None;
    }
    let padded = if queries.ndim() == 4 { queries.dim(2) } else { 0 };
    if rows.lengths.len() as i32 != queries.dim(0) || rows.lengths.iter().any(|at| *at > padded as u32) {
        return Some(Err(Exception::custom("attention in rows of other lengths")));
    }
    let reach = |tokens: u32| i32::try_from(tokens).unwrap_or(i32::MAX);
    let (back, ahead, lengths) = (reach(rows.back), reach(rows.ahead), rows.lengths.as_ptr());
    let (queries, keys, values) = (queries.as_ptr(), keys.as_ptr(), values.as_ptr());
    // SAFETY: as above; there is a length for each row, and none beyond its end.
    Some(made(|out, on| unsafe {
        mlxd_attention(out, queries, keys, values, lengths, scale, back, ahead, on)
    }))
}

pub(super) fn gated(function: Function, both: &Array) -> Option<Result<Array>> {
    let fits = apply(&[both]) && both.ndim() == 2;
    // SAFETY: as above; the same below.
    fits.then(|| made(|out, on| unsafe { mlxd_gated(out, function as i32, both.as_ptr(), on) }))
}

pub(super) fn rms_norm(x: &Array, weight: &Array, eps: f32) -> Option<Result<Array>> {
    let fits = apply(&[x, weight]) && x.ndim() == 2;
    // SAFETY: as above.
    fits.then(|| made(|out, on| unsafe { mlxd_rms_norm(out, x.as_ptr(), weight.as_ptr(), eps, on) }))
}

pub(super) fn rotate(x: &Array, cos: &Array, sin: &Array) -> Option<Result<Array>> {
    let fits = apply(&[x, cos, sin]) && x.ndim() == 3 && x.dim(0) == cos.dim(0) && x.dim(0) > 0;
    // SAFETY: as above.
    fits.then(|| made(|out, on| unsafe { mlxd_rotate(out, x.as_ptr(), cos.as_ptr(), sin.as_ptr(), on) }))
}

pub(super) fn attention_paged(
    heads: &Array,
    turn: Turn,
    (keys, values): (&Array, &Array),
    paged: &Paged,
    scores: Scores,
) -> Option<Result<Array>> {
    let Turn { angles, norms } = turn;
    let (norms, eps) = norms.map_or((None, 0.0), |(norms, eps)| (Some(norms), eps));
    let pairs = [angles, norms];
    if !apply(&[heads, keys, values]) || !pairs.iter().flatten().all(|pair| apply(pair)) || keys.ndim() != 3 {
        return None;
    }
    if !paged.fits(heads.dim(0), keys.dim(1), scores.window) {
        return Some(Err(Exception::custom("attention over blocks that the pool lacks")));
    }
    let window = scores.window.and_then(|window| i32::try_from(window).ok());
    let step = Step {
        sequences: paged.sequences.as_ptr(),
        count: paged.sequences.len(),
        table: paged.table.as_ptr(),
        blocks: paged.table.len(),
        block: paged.block.max(1) as i32,
        heads: scores.heads,
        scale: scores.scale,
        eps,
        window: window.unwrap_or(i32::MAX).max(1),
    };
    let pairs = pairs.map(|pair| pair.map(|pair| pair.map(Array::as_ptr)));
    let [angles, norms] = pairs.each_ref().map(|pair| optional(pair).cast::<mlx_array>());
    let (heads, keys, values) = (heads.as_ptr(), keys.as_ptr(), values.as_ptr());
    // SAFETY: as above; sequences and table are read before it returns, and name slots of the pool only.
    Some(made(|out, on| unsafe {
        mlxd_attention_paged(out, heads, keys, values, angles, norms, &raw const step, on)
    }))
}
