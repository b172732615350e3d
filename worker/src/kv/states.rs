//! Recurrent states of linear attention: a matrix for each head, layer and text, in float32.
//!
//! A state is never changed. A step reads those of its rows and makes new ones, under ids that the engine chose. The states that
//! a step makes are one array per layer. If the next step has the same rows, it takes the array as it is. Otherwise it
//! gathers. A state that is to outlive its neighbours gets arrays of its own, because a slice would keep all of them.

use std::collections::HashMap;
use std::rc::Rc;

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, ops, transforms};

use super::PagedStep;
use crate::engine::runner::{Batch, RowState, StateId};
use crate::kernels::Result;

/// Sizes of a model's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateShape {
    /// Layers with a state.
    pub layers: usize,
    /// Heads of a layer.
    pub heads: i32,
    /// Rows and columns of a head's matrix.
    pub matrix: [i32; 2],
}

impl StateShape {
    /// Bytes of a state in all layers.
    pub(super) fn bytes(self) -> u64 {
        let [rows, columns] = self.matrix.map(|n| n as u64);
        self.layers as u64 * self.heads as u64 * rows * columns * 4
    }

    /// Zeros: the states of `rows` texts before their first token, `[R, H, rows, columns]`.
    pub(super) fn zeros(self, rows: i32) -> Result<Array> {
        ops::zeros::<f32>(&[rows, self.heads, self.matrix[0], self.matrix[1]])
    }
}

/// The states that a step made: `[R, H, rows, columns]` for each layer.
type Made = Rc<Vec<Array>>;

/// All states.
#[derive(Debug)]
pub(super) struct StateStore {
    pub(super) shape: StateShape,
    states: HashMap<StateId, (Made, i32)>,
    /// Those of the last step.
    last: Vec<StateId>,
}

impl StateStore {
    pub(super) fn new(shape: StateShape) -> Self {
        Self { shape, states: HashMap::new(), last: Vec::new() }
    }

    /// Drops states that nobody reads any more.
    pub(super) fn forget(&mut self, states: &[StateId]) {
        for id in states {
            self.states.remove(id);
        }
    }

    /// The arrays that the last step made.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.last.iter().filter_map(|id| self.states.get(id)).flat_map(|(made, _)| made.iter())
    }

    /// Bytes of all states.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.states.len() as u64 * self.shape.bytes()
    }

    /// The states of `rows` in `layer` before a step: `[R, H, rows, columns]`.
    fn before(&self, rows: &[RowState], layer: usize) -> Result<Array> {
        let find = |id: StateId| self.states.get(&id).ok_or("a row continues from a state that is gone");
        let found: Vec<Option<&(Made, i32)>> =
            rows.iter().map(|row| row.before.map(find).transpose()).collect::<Result<_, _>>()?;
        if let Some(made) = unchanged(&found) {
            return Ok(made[layer].clone());
        }
        let parts = found.into_iter().map(|found| match found {
            Some((made, row)) => made[layer].try_index(*row..*row + 1),
            None => self.shape.zeros(1),
        });
        ops::concatenate(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Keeps what a step made for `rows`, `[R, H, rows, columns]` for each layer.
    fn keep(&mut self, rows: &[RowState], made: Vec<Array>) -> Result<()> {
        let made: Made = Rc::new(made);
        for (at, row) in (0..).zip(rows) {
            let kept = if row.keep && rows.len() > 1 {
                let index = Array::from_slice(&[at as u32], &[1]);
                let own = made.iter().map(|layer| layer.take_axis(&index, 0));
                (Rc::new(own.collect::<Result<Vec<_>>>()?), 0)
            } else {
                (Rc::clone(&made), at)
            };
            self.states.insert(row.after, kept);
        }
        self.last = rows.iter().map(|row| row.after).collect();
        Ok(())
    }
}

/// The arrays of a step, if `found` are all of its states in order.
fn unchanged<'a>(found: &[Option<&'a (Made, i32)>]) -> Option<&'a Made> {
    let (made, _) = (*found.first()?)?;
    let whole = made.first().is_some_and(|layer| layer.dim(0) as usize == found.len());
    let in_order = || {
        (0..).zip(found).all(|(at, found)| found.is_some_and(|(of, row)| Rc::ptr_eq(of, made) && *row == at))
    };
    (whole && in_order()).then_some(made)
}

/// The states of a step's rows.
pub(super) struct StateStep {
    rows: Vec<RowState>,
    made: Vec<Array>,
}

impl StateStep {
    pub(super) fn new(batch: &Batch) -> Self {
        Self { rows: batch.rows.iter().filter_map(|row| row.state).collect(), made: Vec::new() }
    }
}

impl PagedStep<'_> {
    /// Lets `advance` make the states after the step, in the layers' order, from those before it. Returns its output.
    pub(super) fn recur(
        &mut self,
        advance: impl FnOnce(&[u32], &Array) -> Result<(Array, Array)>,
    ) -> Result<Array> {
        let (Some(store), Some(step)) = (&mut self.pool.states, &mut self.states) else {
            return Err("the model has states that it did not declare".into());
        };
        if step.rows.len() != self.batch.rows.len() {
            return Err("a row has no state".into());
        }
        let before = store.before(&step.rows, step.made.len())?;
        let lengths: Vec<u32> = self.batch.rows.iter().map(|row| row.tokens.len() as u32).collect();
        let (output, after) = advance(&lengths, &before)?;
        // The device computes this layer while the next layer's graph is built.
        transforms::async_eval([&after])?;
        step.made.push(after);
        if step.made.len() == store.shape.layers {
            store.keep(&step.rows, std::mem::take(&mut step.made))?;
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests;
