use super::*;
use crate::mlx::tests::device;

const HEADS: i32 = 2;
const WIDTH: i32 = 4;

fn made_up(salt: i32, tokens: i32) -> Array {
    let count = tokens * HEADS * WIDTH;
    let values: Vec<f32> = (0..count).map(|at| ((at * 37 + salt * 11) % 29) as f32 / 15.0 - 1.0).collect();
    Array::from_slice(&values, &[tokens, HEADS, WIDTH])
}

/// What rows of these lengths attend to, by our own kernel (where there is one) or with at most `most` scores at once; padding
/// left out.
fn attended(lengths: &[u32], sight: Sight, window: Option<u32>, most: Option<usize>) -> Vec<f32> {
    let (own, most_scores) = (most.is_none(), most.unwrap_or(MOST_SCORES));
    let mut whole = Whole { own, most_scores, ..Whole::new(lengths.to_vec(), sight).unwrap() };
    let padded = whole.padded as i32;
    let tokens = padded * lengths.len() as i32;
    whole.write(&made_up(1, tokens), &made_up(2, tokens)).unwrap();
    let how = Attend { scale: 0.5, window, softcap: None, sinks: None };
    let outputs = whole.attend(&made_up(3, tokens), how).unwrap();
    outputs.eval().unwrap();
    let row = (padded * HEADS * WIDTH) as usize;
    let rows = outputs.as_slice::<f32>().chunks_exact(row).zip(lengths);
    rows.flat_map(|(row, length)| row[..(*length as i32 * HEADS * WIDTH) as usize].to_vec()).collect()
}

/// The same in plain arithmetic.
fn reference(lengths: &[u32], sight: Sight, window: Option<u32>) -> Vec<f32> {
    let padded = lengths.iter().max().copied().unwrap();
    let (keys, values, queries) = {
        let tokens = (padded * lengths.len() as u32) as i32;
        (made_up(1, tokens), made_up(2, tokens), made_up(3, tokens))
    };
    let at = |x: &Array, row: u32, token: u32, head: i32, n: i32| {
        x.as_slice::<f32>()[(((row * padded + token) as i32 * HEADS + head) * WIDTH + n) as usize]
    };
    let mut all = Vec::new();
    for (row, length) in (0..).zip(lengths) {
        for query in 0..*length {
            for head in 0..HEADS {
                let seen = (0..*length).filter(|key| match sight {
                    Sight::Back => *key <= query && window.is_none_or(|window| query - key < window),
                    Sight::Both => window.is_none_or(|window| query.abs_diff(*key) <= window / 2),
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
fn attention_is_right_whole_and_in_pieces() {
    let _device = device();
    for lengths in [&[9, 9][..], &[9, 4, 1], &[7], &[150, 70]] {
        for sight in [Sight::Back, Sight::Both] {
            for window in [None, Some(4), Some(40)] {
                let expected = reference(lengths, sight, window);
                for most in [None, Some(MOST_SCORES), Some(1), Some(100)] {
                    let ours = attended(lengths, sight, window, most);
                    assert_eq!(ours.len(), expected.len());
                    let off = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(off < 1e-4, "{lengths:?} {sight:?} {window:?} by {most:?}: off by {off}");
                }
            }
        }
    }
}
