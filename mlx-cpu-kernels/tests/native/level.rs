//! The vector functions of one instruction set, and the pool, with checked lengths.
#![expect(unsafe_code, reason = "functions in C++")]

use std::ffi::{CStr, c_int, c_void};

use mlx_cpu_kernels as native;

/// An instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Level(&'static native::MlxdSimd);

impl Level {
    /// Those that this processor has.
    pub(crate) fn all() -> Vec<Self> {
        let levels = [native::MLXD_CPU_BASELINE, native::MLXD_CPU_AVX2, native::MLXD_CPU_AVX512];
        // SAFETY: a table is null or lives as long as the process.
        levels
            .into_iter()
            .filter_map(|level| unsafe { native::mlxd_simd_at(level).as_ref() })
            .map(Self)
            .collect()
    }

    /// The one in use.
    pub(crate) fn chosen() -> Self {
        // SAFETY: as above, and there always is one.
        Self(unsafe { native::mlxd_simd().as_ref() }.unwrap())
    }

    pub(crate) fn name(self) -> &'static str {
        // SAFETY: a literal of the library.
        unsafe { CStr::from_ptr(self.0.name) }.to_str().unwrap()
    }

    /// `a` and `b` begin anywhere and have rows of `stride` numbers.
    pub(crate) fn skinny_product(
        self,
        [m, n, k]: [usize; 3],
        stride: usize,
        a: &[f32],
        b: &[f32],
    ) -> Vec<f32> {
        assert!(stride >= k && a.len() >= m * stride && b.len() >= n * stride);
        let mut c = vec![f32::NAN; m * n];
        let [rows, columns, depth, stride] = [m, n, k, stride].map(|n| n as c_int);
        let (a, b, run) = (a.as_ptr(), b.as_ptr(), self.0.skinny_product.unwrap());
        // SAFETY: the lengths are checked above; the same below.
        unsafe { run(rows, columns, depth, a, stride, b, stride, c.as_mut_ptr(), columns) };
        c
    }

    pub(crate) fn activate(self, f: native::MlxdActivation, x: &[f32]) -> Vec<f32> {
        let mut y = vec![f32::NAN; x.len()];
        // SAFETY: as above.
        unsafe { self.0.activate.unwrap()(f, x.as_ptr(), y.as_mut_ptr(), x.len()) };
        y
    }

    pub(crate) fn activate_gate(self, f: native::MlxdActivation, x: &[f32], rows: usize) -> Vec<f32> {
        let mut y = vec![f32::NAN; x.len() / 2];
        let width = (y.len() / rows) as c_int;
        // SAFETY: as above.
        unsafe { self.0.activate_gate.unwrap()(f, x.as_ptr(), y.as_mut_ptr(), rows as c_int, width) };
        y
    }

    pub(crate) fn rms_norm(self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        assert_eq!(x.len(), weight.len());
        let mut y = vec![f32::NAN; x.len()];
        let (run, width) = (self.0.rms_norm.unwrap(), x.len() as c_int);
        // SAFETY: as above.
        unsafe { run(width, x.as_ptr(), weight.as_ptr(), 1e-5, y.as_mut_ptr()) };
        y
    }

    pub(crate) fn layer_norm(self, x: &[f32], added: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        assert!([added, weight, bias].iter().all(|other| other.len() == x.len()));
        let mut y = vec![f32::NAN; x.len()];
        let (run, width) = (self.0.layer_norm.unwrap(), x.len() as c_int);
        let [added, weight, bias] = [added, weight, bias].map(<[f32]>::as_ptr);
        // SAFETY: as above.
        unsafe { run(width, x.as_ptr(), added, weight, bias, 1e-5, y.as_mut_ptr()) };
        y
    }

    pub(crate) fn rotate(self, x: &[f32], cosines: &[f32], sines: &[f32]) -> Vec<f32> {
        assert!(sines.len() == x.len() && 2 * cosines.len() == x.len());
        let mut y = vec![f32::NAN; x.len()];
        let (run, half) = (self.0.rotate.unwrap(), cosines.len() as c_int);
        // SAFETY: as above.
        unsafe { run(half, x.as_ptr(), cosines.as_ptr(), sines.as_ptr(), y.as_mut_ptr()) };
        y
    }

    /// y + factor * x.
    pub(crate) fn add_scaled(self, factor: f32, x: &[f32], y: &[f32]) -> Vec<f32> {
        assert_eq!(x.len(), y.len());
        let (mut scaled, mut y) = (vec![f32::NAN; x.len()], y.to_vec());
        // SAFETY: as above.
        unsafe {
            self.0.scale.unwrap()(factor, x.as_ptr(), scaled.as_mut_ptr(), x.len());
            self.0.add.unwrap()(scaled.as_ptr(), y.as_mut_ptr(), x.len());
        }
        y
    }

    /// Replaces `scores` by weights and returns their sum.
    pub(crate) fn softmax(self, scores: &mut [f32], begin: usize, end: usize) -> f32 {
        assert!(begin <= end && end <= scores.len());
        let (count, begin, end) = (scores.len() as c_int, begin as c_int, end as c_int);
        // SAFETY: as above.
        unsafe { self.0.softmax.unwrap()(scores.as_mut_ptr(), begin, end, count) }
    }

    /// The mean of `values` rows weighted by the softmax to base 2 of `scores`, in steps of so many.
    pub(crate) fn attend(self, scores: &[f32], values: &[f32], step: usize) -> Vec<f32> {
        let width = values.len() / scores.len();
        let mut state = native::MlxdSoftmax { maximum: f32::NEG_INFINITY, total: 0.0 };
        let mut sums = vec![0.0; width];
        for (scores, values) in scores.chunks(step).zip(values.chunks(step * width)) {
            let (mut weights, count) = (scores.to_vec(), scores.len() as c_int);
            let (weights, sums, width) = (weights.as_mut_ptr(), sums.as_mut_ptr(), width as c_int);
            // SAFETY: as above.
            unsafe {
                self.0.online_softmax.unwrap()(weights, 0, count, count, &raw mut state, sums, width);
                self.0.weighted_sum.unwrap()(weights, values.as_ptr(), count, sums, width);
            }
        }
        sums.iter().map(|sum| sum / state.total).collect()
    }

    pub(crate) fn widen_bf16(self, bytes: &[u8]) -> Vec<f32> {
        let mut y = vec![f32::NAN; bytes.len() / 2];
        // SAFETY: as above; the address need not be even.
        unsafe { self.0.widen_bf16.unwrap()(bytes.as_ptr().cast(), y.as_mut_ptr(), y.len()) };
        y
    }
}

/// Calls work(0) .. work(pieces - 1) on the pool.
pub(crate) fn parallel_for<F: Fn(usize) + Sync>(pieces: usize, work: &F) {
    unsafe extern "C" fn run<F: Fn(usize)>(job: *const c_void, piece: c_int, _: c_int) {
        // SAFETY: the job is the closure, which outlives the call below.
        let work = unsafe { &*job.cast::<F>() };
        work(piece as usize);
    }
    // SAFETY: the closure may be called by several threads; the call returns when all pieces are done.
    unsafe { native::mlxd_parallel_for(Some(run::<F>), std::ptr::from_ref(work).cast(), pieces as c_int) };
}
