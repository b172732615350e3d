use super::*;
use crate::kernels::device_lock::device;

const HEADS: i32 = 2;
const WIDTH: i32 = 4;

fn pseudo_random(salt: i32, tokens: i32) -> Array {
    let count = tokens * HEADS * WIDTH;
    let values: Vec<f32> = (0..count).map(|at| ((at * 37 + salt * 11) % 29) as f32 / 15.0 - 1.0).collect();
    Array::from_slice(&values, &[tokens, HEADS, WIDTH])
}

/// Attention outputs without padding: by our own kernel if `max_scores` is `None`, else in pieces.
fn attended(
    lengths: &[u32],
    direction: AttentionDirection,
    window: Option<u32>,
    max_scores: Option<usize>,
) -> Vec<f32> {
    let (own_kernel, max_scores) = (max_scores.is_none(), max_scores.unwrap_or(MAX_SCORES));
    let mut step = ContiguousStep {
        own_kernel,
        max_scores,
        ..ContiguousStep::new(lengths.to_vec(), direction).unwrap()
    };
    let padded = step.padded as i32;
    let tokens = padded * lengths.len() as i32;
    step.write(&pseudo_random(1, tokens), &pseudo_random(2, tokens)).unwrap();
    let params = AttentionParams { scale: 0.5, window, softcap: None, sinks: None };
    let outputs = step.attend(&pseudo_random(3, tokens), params).unwrap();
    outputs.eval().unwrap();
    let row = (padded * HEADS * WIDTH) as usize;
    let rows = outputs.as_slice::<f32>().chunks_exact(row).zip(lengths);
    rows.flat_map(|(row, length)| row[..(*length as i32 * HEADS * WIDTH) as usize].to_vec()).collect()
}

/// Attention in plain arithmetic.
fn reference(lengths: &[u32], direction: AttentionDirection, window: Option<u32>) -> Vec<f32> {
    let padded = lengths.iter().max().copied().unwrap();
    let (keys, values, queries) = {
        let tokens = (padded * lengths.len() as u32) as i32;
        (pseudo_random(1, tokens), pseudo_random(2, tokens), pseudo_random(3, tokens))
    };
    let at = |x: &Array, row: u32, token: u32, head: i32, n: i32| {
        x.as_slice::<f32>()[(((row * padded + token) as i32 * HEADS + head) * WIDTH + n) as usize]
    };
    let mut all = Vec::new();
    for (row, length) in (0..).zip(lengths) {
        for query in 0..*length {
            for head in 0..HEADS {
                let seen = (0..*length).filter(|key| match direction {
                    AttentionDirection::Causal => {
                        *key <= query && window.is_none_or(|window| query - key < window)
                    }
                    AttentionDirection::Bidirectional => {
                        window.is_none_or(|window| query.abs_diff(*key) <= window / 2)
                    }
                });
                let (mut total, mut sum) = (0.0, [0.0f32; WIDTH as usize]);
                for key in seen {
                    let dot: f32 = (0..WIDTH)
                        .map(|n| at(&queries, row, query, head, n) * at(&keys, row, key, head, n))
                        .sum();
                    let weight = (dot * 0.5).exp();
                    total += weight;
                    for n in 0..WIDTH {
                        sum[n as usize] += weight * at(&values, row, key, head, n);
                    }
                }
                all.extend(sum.map(|x| x / total));
            }
        }
    }
    all
}

#[test]
fn attend_matches_plain_arithmetic_whole_and_in_pieces() {
    let _device = device();
    for lengths in [&[9, 9][..], &[9, 4, 1], &[7], &[150, 70]] {
        for direction in [AttentionDirection::Causal, AttentionDirection::Bidirectional] {
            for window in [None, Some(4), Some(40)] {
                let expected = reference(lengths, direction, window);
                for max_scores in [None, Some(MAX_SCORES), Some(1), Some(100)] {
                    let ours = attended(lengths, direction, window, max_scores);
                    assert_eq!(ours.len(), expected.len());
                    let off = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(
                        off < 1e-4,
                        "{lengths:?} {direction:?} {window:?} by {max_scores:?}: off by {off}"
                    );
                }
            }
        }
    }
}
