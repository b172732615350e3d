//! Products and primitives for tests and benchmarks; arrays by mlx-c alone.
#![expect(unsafe_code, reason = "functions in C and C++")]

use std::ffi::{CStr, c_char};
use std::ptr;

use mlx_cpu_kernels as native;
use mlx_sys as mlx;

/// Pseudo-random numbers between -1 and 1.
pub(crate) fn numbers(salt: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + i / 101 * 13 + salt * 11) % 101) as f32 / 50.0 - 1.0).collect()
}

/// An array of MLX.
pub(crate) struct Array(mlx::mlx_array);

impl Array {
    pub(crate) fn new(values: &[f32], shape: &[i32]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<i32>() as usize);
        let (data, dimensions) = (values.as_ptr().cast(), shape.len() as i32);
        // SAFETY: the slice has exactly the numbers of the shape, and MLX copies them.
        let made =
            unsafe { mlx::mlx_array_new_data(data, shape.as_ptr(), dimensions, mlx::mlx_dtype__MLX_FLOAT32) };
        Self(made)
    }

    /// Evaluates it.
    pub(crate) fn values(&self) -> &[f32] {
        // SAFETY: the handle is an array's; once evaluated it has that many numbers, which live as long as
        // it.
        unsafe {
            assert_eq!(mlx::mlx_array_eval(self.0), 0);
            std::slice::from_raw_parts(mlx::mlx_array_data_float32(self.0), mlx::mlx_array_size(self.0))
        }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // SAFETY: the handle is this array's alone.
        unsafe { mlx::mlx_array_free(self.0) };
    }
}

/// The array that `make` puts into a handle, or its message.
fn made(make: impl FnOnce(*mut mlx::mlx_array, mlx::mlx_stream) -> *const c_char) -> Result<Array, String> {
    // SAFETY: an empty handle and a stream, which is freed; a message is a C string until the next failure.
    unsafe {
        let stream = mlx::mlx_default_cpu_stream_new();
        let mut out = Array(mlx::mlx_array_new());
        let message = make(&raw mut out.0, stream);
        mlx::mlx_stream_free(stream);
        if message.is_null() { Ok(out) } else { Err(CStr::from_ptr(message).to_string_lossy().into_owned()) }
    }
}

/// A matrix product: C[m,n] = alpha op(A) op(B) + beta C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    pub(crate) shape: [usize; 3],
    pub(crate) transposed: [bool; 2],
    pub(crate) factors: [f32; 2],
    /// By `cblas_sgemm`; otherwise by `mlxd_sgemm_serial`.
    pub(crate) parallel: bool,
}

impl Product {
    /// C[m,n] = A[m,k] B[n,k]^T.
    pub(crate) fn of(m: usize, n: usize, k: usize) -> Self {
        Self { shape: [m, n, k], transposed: [false, true], factors: [1.0, 0.0], parallel: true }
    }

    pub(crate) fn run(self, a: &[f32], b: &[f32], c: &mut [f32]) {
        let [m, n, k] = self.shape;
        assert!(a.len() == m * k && b.len() == n * k && c.len() == m * n);
        let sgemm = if self.parallel { native::cblas_sgemm } else { native::mlxd_sgemm_serial };
        let op = |transposed| if transposed { native::MLXD_TRANS } else { native::MLXD_NO_TRANS } as i32;
        let [trans_a, trans_b] = self.transposed;
        let stride = |transposed, rows, columns| (if transposed { rows } else { columns }) as i32;
        let (lda, ldb) = (stride(trans_a, m, k), stride(trans_b, k, n));
        let [alpha, beta] = self.factors;
        let (a, b, c, order) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), native::MLXD_ROW_MAJOR as i32);
        let [rows, columns, depth] = self.shape.map(|n| n as i32);
        // SAFETY: the matrices have the sizes that shape and strides say.
        unsafe {
            sgemm(
                order,
                op(trans_a),
                op(trans_b),
                rows,
                columns,
                depth,
                alpha,
                a,
                lda,
                b,
                ldb,
                beta,
                c,
                n as i32,
            );
        }
    }
}

/// A step of paged attention.
#[derive(Debug, Clone)]
pub(crate) struct Paged {
    pub(crate) sequences: Vec<native::MlxdSequence>,
    pub(crate) blocks: Vec<u32>,
    pub(crate) block_size: usize,
    /// Query heads, key heads and a head's width.
    pub(crate) heads: [usize; 3],
    pub(crate) window: i32,
}

impl Paged {
    /// Writes to `pool`, keys and values, and attends. `heads`: queries, keys and values of each token.
    pub(crate) fn run(&self, heads: &Array, pool: [&Array; 2]) -> Result<Array, String> {
        let step = native::MlxdPagedStep {
            sequences: self.sequences.as_ptr(),
            sequence_count: self.sequences.len(),
            block_table: self.blocks.as_ptr(),
            block_count: self.blocks.len(),
            block_size: self.block_size as i32,
            heads: self.heads[0] as i32,
            scale: 0.5,
            eps: 0.0,
            window: self.window,
        };
        let [keys, values] = pool.map(|array| array.0);
        let (none, step) = (ptr::null(), &raw const step);
        // SAFETY: only the caller holds the pool, and it evaluates one step after the other.
        made(|out, stream| unsafe {
            native::mlxd_attention_paged(out, heads.0, keys, values, none, none, step, stream)
        })
    }
}

/// Attention of whole texts: queries [R,H,L,d], keys and values [R,G,L,d] -> [R,L,H,d].
pub(crate) fn attention(heads: [&Array; 3], lengths: &[u32], back: i32, ahead: i32) -> Result<Array, String> {
    let [queries, keys, values] = heads.map(|array| array.0);
    // SAFETY: the test passes one length per row, and none exceeds a row.
    made(|out, stream| unsafe {
        native::mlxd_attention(out, queries, keys, values, lengths.as_ptr(), 0.5, back, ahead, stream)
    })
}

/// silu(rms_norm(x) W^T + bias) + residual.
pub(crate) fn linear(x: &Array, weight: &Array, others: [&Array; 3]) -> Result<Array, String> {
    let options = native::MlxdLinear { gate: -1, activation: native::MLXD_SILU as i32, eps: 1e-5 };
    let [norm, bias, residual] = others.map(|array| &raw const array.0);
    // SAFETY: the handles are arrays', which outlive the call.
    made(|out, stream| unsafe {
        native::mlxd_linear(out, x.0, weight.0, norm, bias, residual, &raw const options, stream)
    })
}
