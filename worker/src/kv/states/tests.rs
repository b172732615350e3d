use mlx_rs::Dtype;
use proptest::prelude::*;

use super::*;
use crate::engine::runner::Row;
use crate::kernels::device_lock::device;
use crate::kv::{BlockShape, KvPool, KvShape, KvStep};

const KV: KvShape = KvShape { layers: 1, kv_heads: 1, head_dim: 8, value_dim: None, dtype: Dtype::Float32 };
const SHAPE: StateShape = StateShape { layers: 2, heads: 1, matrix: [1, 2] };

fn pool() -> KvPool {
    KvPool::new(BlockShape { states: Some(SHAPE), ..KV.into() }, 256, Some(1 << 20)).unwrap()
}

/// A batch of one token for each row; rows have nothing but states.
fn batch(rows: &[RowState]) -> Batch {
    let mut batch = Batch::default();
    for (at, state) in rows.iter().enumerate() {
        batch.tokens.push(0);
        batch.positions.push(0);
        batch.slots.push(at as u32 * 32);
        let blocks = vec![at as u32];
        batch.rows.push(Row { tokens: at..at + 1, blocks, state: Some(*state), ..Row::default() });
    }
    batch
}

/// Adds its `name` to the state of each row, and ten times as much in the second layer; returns the states.
fn step(pool: &mut KvPool, rows: &[RowState]) -> Vec<f32> {
    let batch = batch(rows);
    let mut step = KvStep::new(pool, &batch).unwrap();
    let mut last = None;
    for factor in [1.0, 10.0] {
        let output = step.recur(SHAPE, |lengths, states| {
            assert_eq!(lengths, vec![1; rows.len()]);
            let numbers: Vec<f32> = rows.iter().map(|row| row.after as f32 * factor).collect();
            let after = states.add(Array::from_slice(&numbers, &[rows.len() as i32, 1, 1, 1]))?;
            Ok((after.clone(), after))
        });
        last = Some(output.unwrap());
    }
    let last = last.unwrap();
    transforms::eval(pool.arrays().chain([&last])).unwrap();
    last.as_slice::<f32>().chunks_exact(2).map(|state| state[0]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Rows come, go, change places and fork. Each continues from its own state.
    #[test]
    fn each_row_continues_from_its_own_state(
        steps in prop::collection::vec(prop::collection::vec((0usize..6, any::<bool>()), 1..5), 1..12),
    ) {
        let _device = device();
        let mut pool = pool();
        // The state of each text and its number in the second layer.
        let mut texts: Vec<(Option<StateId>, f32)> = vec![(None, 0.0); 6];
        let mut next = 1;
        for chosen in steps {
            let before: Vec<(usize, Option<StateId>, f32)> =
                chosen.iter().map(|(text, _)| (*text, texts[*text].0, texts[*text].1)).collect();
            let rows: Vec<RowState> = chosen
                .iter()
                .zip(&before)
                .map(|((_, keep), (_, before, _))| {
                    next += 1;
                    RowState { before: *before, after: next, keep: *keep }
                })
                .collect();
            let numbers = step(&mut pool, &rows);
            for (((text, _, number), row), ours) in before.into_iter().zip(&rows).zip(numbers) {
                let expected = number + row.after as f32 * 10.0;
                prop_assert_eq!(ours, expected);
                // Of several rows of one text the last one goes on; the others were forks.
                texts[text] = (Some(row.after), expected);
            }
            let held: Vec<StateId> = texts.iter().filter_map(|(state, _)| *state).collect();
            let store = pool.states.as_ref().unwrap();
            let gone: Vec<StateId> = store.states.keys().copied().filter(|id| !held.contains(id)).collect();
            pool.forget_states(&gone);
            prop_assert_eq!(pool.states.as_ref().unwrap().states.len(), held.len());
        }
    }
}

/// The states of unchanged rows are not copied, and a kept one does not keep its neighbours.
#[test]
fn arrays_are_shared_only_where_that_costs_nothing() {
    let _device = device();
    let mut pool = pool();
    let row = |before, after, keep| RowState { before, after, keep };
    step(&mut pool, &[row(None, 1, false), row(None, 2, true)]);
    let store = pool.states.as_ref().unwrap();
    assert_eq!([store.states[&1].0[0].dim(0), store.states[&2].0[0].dim(0)], [2, 1]);
    step(&mut pool, &[row(Some(1), 3, false), row(Some(2), 4, false)]);
    let rows = [row(Some(3), 5, false), row(Some(4), 6, false)];
    let store = pool.states.as_ref().unwrap();
    let found: Vec<_> = rows.iter().map(|row| row.before.map(|id| &store.states[&id])).collect();
    assert!(unchanged(&found).is_some());
    assert!(unchanged(&found[..1]).is_none() && unchanged(&[found[1], found[0]]).is_none());
    assert!(unchanged(&[found[0], None]).is_none());
}

#[test]
fn states_count_as_blocks() {
    let _device = device();
    let states = StateShape { layers: 2, heads: 4, matrix: [64, 64] };
    let shape = BlockShape { states: Some(states), ..KV.into() };
    let own = BlockShape::from(KV).bytes();
    let blocks = u64::from(shape.blocks_per_state().unwrap());
    assert_eq!(blocks, states.bytes().div_ceil(own));
    assert!(shape.bytes() <= 2 * own && shape.bytes() * blocks >= own * blocks + states.bytes());
    let pool = KvPool::new(shape, 256, Some(100 * shape.bytes())).unwrap();
    assert_eq!((pool.limit(), pool.limit_bytes()), (100, 100 * shape.bytes()));
}
