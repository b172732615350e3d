//! The kernels' C interface.
#![expect(unsafe_code, reason = "functions in C++ that make arrays")]

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::OnceLock;

use mlx_rs::error::Exception;
use mlx_rs::{Array, Device, DeviceType, Dtype, Stream};
use mlx_sys::{mlx_array, mlx_array_free, mlx_array_new, mlx_stream};

use super::{Function, Paged, Result, Rows, Sequence};

// Each makes an array of others, and says what is wrong or nothing; it keeps no pointers. Queries, keys and values come with as
// many lengths as they have rows.
unsafe extern "C" {
    fn mlxd_function(out: *mut mlx_array, function: i32, x: mlx_array, on: mlx_stream) -> *const c_char;
    fn mlxd_linear(
        out: *mut mlx_array,
        function: i32,
        x: mlx_array,
        weight: mlx_array,
        bias: mlx_array,
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
        queries: mlx_array,
        keys: mlx_array,
        values: mlx_array,
        sequences: *const Sequence,
        count: usize,
        table: *const u32,
        blocks: usize,
        block: i32,
        scale: f32,
        window: i32,
        on: mlx_stream,
    ) -> *const c_char;
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

pub(super) fn each(function: Function, x: &Array) -> Option<Result<Array>> {
    // SAFETY: the handles live as long as the arrays they are borrowed from; the same below.
    apply(&[x]).then(|| made(|out, on| unsafe { mlxd_function(out, function as i32, x.as_ptr(), on) }))
}

pub(super) fn linear(function: Function, x: &Array, weight: &Array, bias: &Array) -> Option<Result<Array>> {
    if !apply(&[x, weight, bias]) || x.ndim() != 2 || weight.ndim() != 2 {
        return None;
    }
    let (x, weight, bias) = (x.as_ptr(), weight.as_ptr(), bias.as_ptr());
    // SAFETY: as above.
    Some(made(|out, on| unsafe { mlxd_linear(out, function as i32, x, weight, bias, on) }))
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
    let [added, bias] = [&added, &bias].map(|array| array.as_ref().map_or(ptr::null(), ptr::from_ref));
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
    queries: &Array,
    (keys, values): (&Array, &Array),
    paged: &Paged,
    (scale, window): (f32, Option<u32>),
) -> Option<Result<Array>> {
    if !apply(&[queries, keys, values]) || queries.ndim() != 3 || keys.ndim() != 3 {
        return None;
    }
    if !paged.fits(queries.dim(0), keys.dim(1), window) {
        return Some(Err(Exception::custom("attention over blocks that the pool lacks")));
    }
    let (block, window) = (paged.block.max(1) as i32, window.and_then(|window| i32::try_from(window).ok()));
    let window = window.unwrap_or(i32::MAX).max(1);
    let (queries, keys, values) = (queries.as_ptr(), keys.as_ptr(), values.as_ptr());
    let Paged { sequences, table, .. } = paged;
    let (count, blocks) = (sequences.len(), table.len());
    let (sequences, table) = (sequences.as_ptr(), table.as_ptr());
    // SAFETY: as above; sequences and table are read before it returns, and name slots of the pool only.
    Some(made(|out, on| unsafe {
        mlxd_attention_paged(
            out, queries, keys, values, sequences, count, table, blocks, block, scale, window, on,
        )
    }))
}
