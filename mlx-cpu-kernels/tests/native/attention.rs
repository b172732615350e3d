//! Primitives of MLX's graph.

use std::sync::{Mutex, PoisonError};

use mlx_cpu_kernels::MlxdSequence;

use crate::arrays::{Array, Paged, attention, linear, numbers};

/// MLX's CPU stream is shared by the process: one test at a time.
static DEVICE: Mutex<()> = Mutex::new(());

/// Attention of one query over keys and values, in double precision; scores times 0.5.
fn attend(query: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<f64> {
    let dot = |key: &[f32]| query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let scores: Vec<f64> = keys.iter().map(|key| 0.5 * dot(key)).collect();
    let maximum = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - maximum).exp()).collect();
    let total: f64 = weights.iter().sum();
    let of = |j: usize| weights.iter().zip(values).map(|(w, value)| w * f64::from(value[j])).sum::<f64>();
    (0..query.len()).map(|j| of(j) / total).collect()
}

fn assert_close(ours: &[f32], theirs: &[f64], what: &str) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-5, "{what}: {ours} for {theirs}");
    }
}

/// Two sequences in blocks that lie side by side and apart: a long one, decoded and prefilled in steps, and
/// a short one.
#[test]
fn paged_attention_matches_over_many_steps() {
    let _device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let ([heads, kv_heads, width], block_size, slots) = ([6, 2, 20], 16, 64 * 16);
    let blocks: [Vec<u32>; 2] =
        [(0..48).map(|i| if i < 40 { i + 5 } else { 102 - i }).collect(), vec![63, 2]];
    for window in [i32::MAX, 70] {
        let pool = [1, 2].map(|_| Array::new(&vec![0.0; kv_heads * slots * width], &[2, slots as i32, 20]));
        // Heads of each token of a sequence: [token][head][width], queries before keys before values.
        let row = (heads + 2 * kv_heads) * width;
        let tokens = [numbers(1, 700 * row), numbers(2, 30 * row)];
        let mut done = [0, 0];
        for counts in [[600, 3], [1, 1], [65, 20], [1, 1]] {
            let mut step = Paged {
                sequences: Vec::new(),
                blocks: blocks.concat(),
                block_size,
                heads: [heads, kv_heads, width],
                window,
            };
            let mut x = Vec::new();
            for (s, count) in counts.into_iter().enumerate() {
                let first = if s == 0 { 0 } else { counts[0] as u32 };
                let (position, at) = (done[s] as u32, if s == 0 { 0 } else { blocks[0].len() as u32 });
                step.sequences.push(MlxdSequence { first, tokens: count as u32, position, blocks: at });
                x.extend_from_slice(&tokens[s][done[s] * row..][..count * row]);
            }
            let x = Array::new(&x, &[(counts[0] + counts[1]) as i32, row as i32]);
            let output = step.run(&x, pool.each_ref()).unwrap();
            let mut output = output.values().chunks(width);
            for (s, count) in counts.into_iter().enumerate() {
                for position in done[s]..done[s] + count {
                    let first = (position + 1).saturating_sub(window as usize);
                    for head in 0..heads {
                        let part =
                            |token: usize, head: usize| &tokens[s][token * row + head * width..][..width];
                        let kv = head / (heads / kv_heads);
                        let keys: Vec<&[f32]> = (first..=position).map(|at| part(at, heads + kv)).collect();
                        let values: Vec<&[f32]> =
                            (first..=position).map(|at| part(at, heads + kv_heads + kv)).collect();
                        let what = format!("sequence {s}, position {position}, head {head}, window {window}");
                        assert_close(
                            output.next().unwrap(),
                            &attend(part(position, head), &keys, &values),
                            &what,
                        );
                    }
                }
                done[s] += count;
            }
        }
    }
}

#[test]
fn attention_of_complete_texts_matches() {
    let _device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let (rows, heads, kv_heads, length, width) = (2, 4, 2, 150, 12);
    let data = [(1, heads), (2, kv_heads), (3, kv_heads)].map(|(s, h)| numbers(s, rows * h * length * width));
    let shape = |heads: usize| [rows, heads, length, width].map(|n| n as i32);
    let [q, k, v] = [heads, kv_heads, kv_heads].map(shape);
    let arrays = [Array::new(&data[0], &q), Array::new(&data[1], &k), Array::new(&data[2], &v)];
    let lengths = [150u32, 67];
    for (back, ahead) in [(i32::MAX, i32::MAX), (i32::MAX, 0), (9, 20)] {
        let output = attention(arrays.each_ref(), &lengths, back, ahead).unwrap();
        for (at, ours) in output.values().chunks(width).enumerate() {
            let (row, token, head) = (at / (heads * length), at / heads % length, at % heads);
            let filled = lengths[row] as usize;
            if token >= filled {
                assert_eq!(ours, vec![0.0; width]);
                continue;
            }
            let part = |of: &'static str, i: usize| {
                let (data, heads, head) = match of {
                    "queries" => (&data[0], heads, head),
                    "keys" => (&data[1], kv_heads, head / 2),
                    _ => (&data[2], kv_heads, head / 2),
                };
                &data[((row * heads + head) * length + i) * width..][..width]
            };
            let seen = token.saturating_sub(back as usize)..filled.min(token + 1 + ahead as usize);
            let keys: Vec<&[f32]> = seen.clone().map(|i| part("keys", i)).collect();
            let values: Vec<&[f32]> = seen.map(|i| part("values", i)).collect();
            let what = format!("row {row}, token {token}, head {head}");
            assert_close(ours, &attend(part("queries", token), &keys, &values), &what);
        }
    }
}

#[test]
fn linear_matches_and_refuses_wrong_shapes() {
    let _device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let (inputs, outputs) = (45, 70);
    for rows in [1, 8, 90] {
        let [x, weight] = [numbers(1, rows * inputs), numbers(2, outputs * inputs)];
        let [norm, bias, residual] = [numbers(3, inputs), numbers(4, outputs), numbers(5, rows * outputs)];
        let [m, n, k] = [rows, outputs, inputs].map(|n| n as i32);
        let others = [Array::new(&norm, &[k]), Array::new(&bias, &[n]), Array::new(&residual, &[m, n])];
        let (a, w) = (Array::new(&x, &[m, k]), Array::new(&weight, &[n, k]));
        let output = linear(&a, &w, others.each_ref()).unwrap();
        for (at, ours) in output.values().iter().enumerate() {
            let (row, column) = (at / outputs, at % outputs);
            let x: Vec<f64> = x[row * inputs..][..inputs].iter().map(|x| f64::from(*x)).collect();
            let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / inputs as f64 + 1e-5).sqrt();
            let weight = &weight[column * inputs..][..inputs];
            let products = (0..inputs).map(|i| x[i] * scale * f64::from(norm[i]) * f64::from(weight[i]));
            let sum = products.sum::<f64>() + f64::from(bias[column]);
            let theirs = sum / (1.0 + (-sum).exp()) + f64::from(residual[at]);
            assert!((f64::from(*ours) - theirs).abs() < 1e-4, "{rows} rows, at {at}: {ours} for {theirs}");
        }
        let [norm, bias, residual] = others.each_ref();
        let refused = linear(&a, &w, [bias, norm, residual]).map(drop).unwrap_err();
        assert!(refused.contains("other shapes"), "{refused}");
    }
}
