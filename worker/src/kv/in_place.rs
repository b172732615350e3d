//! One kernel that writes a step's keys and values to the pool and attends.
#![expect(unsafe_code, reason = "the kernel changes the pool's arrays, which MLX knows as its inputs")]

use mlx_rs::{Array, transforms};

use super::{Layer, PagedStep};
use crate::kernels::{self, HeadTransform, PagedAttentionParams, Result};

impl PagedStep<'_> {
    pub(super) fn write_and_attend(
        &mut self,
        layer: usize,
        heads: &Array,
        transform: HeadTransform,
        params: PagedAttentionParams,
    ) -> Option<Result<Array>> {
        let Layer { keys, values: Some(values), .. } = &self.pool.layers[layer] else { return None };
        // SAFETY: only `Layer` holds the two arrays. They come from `zeros`, `concatenate` or `scatter`, which share no
        // buffer with an array that outlives them, and `KvPool::arrays` lends them only for evaluation. Only `attend` and
        // `resize` create views of them, which are evaluated on the engine's thread and its one stream, like all steps.
        // This step borrows the pool exclusively (`&mut`), and starts its evaluation below, before anything else is built
        // on the pool. The engine gives a block that is written to one sequence only.
        let attended =
            unsafe { kernels::paged_attention(heads, transform, (keys, values), &self.paged, params) }?;
        // The device computes this layer while the next layer's graph is built.
        Some(attended.and_then(|attended| transforms::async_eval([&attended]).map(|()| attended)))
    }
}
