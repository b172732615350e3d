use mlx_rs::transforms;

use super::*;
use crate::kernels::device_lock::device;

const HEADS: usize = 2;
const KEY: usize = 4;
const VALUE: usize = 3;

fn number(salt: usize, token: usize, head: usize, at: usize) -> f32 {
    let mixed = ((salt * 31 + token * 7919 + head * 613 + at * 37) as u32).wrapping_mul(2_654_435_761);
    (mixed >> 8) as f32 / (1 << 24) as f32 - 0.5
}

/// Inputs of the given tokens. If `repeats`, their keys are all alike, with decays and strengths near one.
fn inputs(tokens: std::ops::Range<usize>, repeats: bool) -> DeltaInputs {
    let array = |salt: usize, width: usize| {
        let of = |token: usize, head: usize, at: usize| match (salt, repeats) {
            (2, true) => number(salt, 0, head, at),
            (4, true) => -0.001,
            (4, false) => -1.0 - number(salt, token, head, at),
            (5, true) => 0.999,
            (5, false) => 0.5 + number(salt, token, head, at),
            _ => number(salt, token, head, at),
        };
        let numbers = tokens
            .clone()
            .flat_map(|token| (0..HEADS).flat_map(move |head| (0..width).map(move |at| (token, head, at))));
        let numbers: Vec<f32> = numbers.map(|(token, head, at)| of(token, head, at)).collect();
        Array::from_slice(&numbers, &[tokens.len() as i32, HEADS as i32, width as i32])
    };
    let flat = |salt: usize| array(salt, 1).reshape(&[-1, HEADS as i32]).unwrap();
    DeltaInputs {
        queries: array(1, KEY),
        keys: normalized(&array(2, KEY), 1.0).unwrap(),
        values: array(3, VALUE),
        log_decays: flat(4),
        strengths: flat(5),
    }
}

fn zeros(rows: i32) -> Array {
    ops::zeros::<f32>(&[rows, HEADS as i32, VALUE as i32, KEY as i32]).unwrap()
}

fn distance(one: &Array, other: &Array) -> f32 {
    assert_eq!(one.shape(), other.shape());
    let (one, other) = (one.reshape(&[-1]).unwrap(), other.reshape(&[-1]).unwrap());
    transforms::eval([&one, &other]).unwrap();
    one.as_slice::<f32>().iter().zip(other.as_slice::<f32>()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Token by token, as the rule is written.
fn token_by_token(count: usize, repeats: bool) -> (Array, Array) {
    let mut states = zeros(1);
    let mut outputs = Vec::new();
    for token in 0..count {
        let (output, after) = advance(&inputs(token..token + 1, repeats), &[1], &states).unwrap();
        outputs.push(output);
        states = after;
    }
    (ops::concatenate(&outputs, 0).unwrap(), states)
}

/// The rule in plain arithmetic.
#[test]
fn single_tokens_follow_the_rule() {
    let _device = device();
    let (outputs, states) = token_by_token(5, false);
    let (mut expected, mut reads) = (vec![0.0f32; HEADS * VALUE * KEY], Vec::new());
    for token in 0..5 {
        let inputs = inputs(token..token + 1, false);
        let DeltaInputs { queries, keys, values, log_decays, strengths } = &inputs;
        transforms::eval([queries, keys, values, log_decays, strengths]).unwrap();
        for head in 0..HEADS {
            let state = &mut expected[head * VALUE * KEY..][..VALUE * KEY];
            let key = &keys.as_slice::<f32>()[head * KEY..][..KEY];
            let query = &queries.as_slice::<f32>()[head * KEY..][..KEY];
            let (decay, strength) =
                (log_decays.as_slice::<f32>()[head].exp(), strengths.as_slice::<f32>()[head]);
            for (row, state) in state.chunks_exact_mut(KEY).enumerate() {
                state.iter_mut().for_each(|x| *x *= decay);
                let known: f32 = state.iter().zip(key).map(|(x, k)| x * k).sum();
                let change = strength * (values.as_slice::<f32>()[head * VALUE + row] - known);
                state.iter_mut().zip(key).for_each(|(x, k)| *x += change * k);
                reads.push(state.iter().zip(query).map(|(x, q)| x * q).sum::<f32>());
            }
        }
    }
    let shape = [1, HEADS as i32, VALUE as i32, KEY as i32];
    assert!(distance(&states, &Array::from_slice(&expected, &shape)) < 1e-5);
    assert!(distance(&outputs, &Array::from_slice(&reads, &[5, HEADS as i32, VALUE as i32])) < 1e-5);
}

/// Also where keys repeat, which makes the system badly conditioned for other methods.
#[test]
fn chunks_give_what_single_tokens_give() {
    let _device = device();
    for repeats in [false, true] {
        let (outputs, states) = token_by_token(70, repeats);
        for cuts in [vec![70], vec![32, 38], vec![1, 69], vec![33, 5, 32], vec![2, 31, 37]] {
            let (mut at, mut state, mut parts) = (0, zeros(1), Vec::new());
            for count in cuts.iter().copied() {
                let (output, after) =
                    advance(&inputs(at..at + count, repeats), &[count as u32], &state).unwrap();
                parts.push(output);
                (at, state) = (at + count, after);
            }
            let off =
                distance(&ops::concatenate(&parts, 0).unwrap(), &outputs).max(distance(&state, &states));
            assert!(off < 2e-5, "{cuts:?}, repeats: {repeats}: off by {off}");
        }
    }
}

/// Chunks and single tokens of several rows in one step.
#[test]
fn rows_of_a_step_do_not_mix() {
    let _device = device();
    let lengths = [1u32, 40, 1, 3, 40];
    let mut first = 0;
    let alone: Vec<(Array, Array)> = lengths
        .iter()
        .map(|length| {
            let range = first..first + *length as usize;
            first = range.end;
            advance(&inputs(range, false), &[*length], &zeros(1)).unwrap()
        })
        .collect();
    let (outputs, states) = advance(&inputs(0..first, false), &lengths, &zeros(5)).unwrap();
    let (one, other): (Vec<Array>, Vec<Array>) = alone.into_iter().unzip();
    assert!(distance(&outputs, &ops::concatenate(&one, 0).unwrap()) < 1e-5);
    assert!(distance(&states, &ops::concatenate(&other, 0).unwrap()) < 1e-5);
}
