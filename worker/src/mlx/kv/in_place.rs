//! The kernel that writes a step's keys and values to the pool and attends, in one.
#![expect(unsafe_code, reason = "the kernel changes the pool's arrays, which MLX knows as its inputs")]

use mlx_rs::{Array, transforms};

use super::{Layer, PoolStep, Result};
use crate::layers::kernels::{self, Scores, Turn};

impl PoolStep<'_> {
    pub(super) fn write_and_attend(
        &mut self,
        layer: usize,
        heads: &Array,
        turn: Turn,
        scores: Scores,
    ) -> Option<Result<Array>> {
        let Layer { keys, values } = &self.pool.layers[layer];
        // SAFETY: `Layer` alone holds the two arrays. They are made by `zeros`, `concatenate` or `scatter`,
        // which share no buffer with an array that outlives them, and `KvPool::arrays` lends them only to
        // evaluate them. Views of them are made by `attend` and `resize` alone, which evaluate on the
        // engine's thread and its one stream, as all steps do. This step has the pool to itself (`&mut`),
        // and its evaluation is started below, before anything else is built on the pool. The engine gives
        // a block that is written to one sequence only.
        let attended = unsafe { kernels::attention_paged(heads, turn, (keys, values), &self.paged, scores) }?;
        // The device computes this layer while the next one's graph is built.
        Some(attended.and_then(|attended| transforms::async_eval([&attended]).map(|()| attended)))
    }
}
