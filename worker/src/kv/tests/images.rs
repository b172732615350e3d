//! Tokens of an image that attend to each other.

use std::sync::Arc;

use image_input::Prepared;

use super::*;
use crate::engine::runner::RowImage;
use crate::kv::ImageAttention;

const IMAGE: Range<u32> = 20..52;

/// Whether a token attends to a key in a layer with this window, which sees images as a whole or not.
fn attends(query: u32, key: u32, window: Option<u32>, whole: bool) -> bool {
    let window = window.unwrap_or(u32::MAX);
    let together = whole && IMAGE.contains(&query) && IMAGE.contains(&key);
    if key <= query { query - key < window } else { together }
}

/// The exact output of one head of a text whose tokens are all of sequence 1.
fn expected(position: u32, head: usize, window: Option<u32>, whole: bool, length: u32) -> Vec<f32> {
    let kv_head = head / (HEADS / SHAPE.kv_heads as usize);
    let (mut total, mut sum) = (0.0f64, [0.0f64; WIDTH]);
    for key in (0..length).filter(|key| attends(position, *key, window, whole)) {
        let product = |at| pseudo_random(1, 1, position, head, at) * pseudo_random(2, 1, key, kv_head, at);
        let weight = f64::from((0..WIDTH).map(product).sum::<f32>()).exp();
        total += weight;
        for (at, sum) in sum.iter_mut().enumerate() {
            *sum += weight * f64::from(pseudo_random(3, 1, key, kv_head, at));
        }
    }
    sum.iter().map(|sum| (sum / total) as f32).collect()
}

/// Computes the tokens `from..to` of the text and compares each output.
fn chunk(pool: &mut KvPool, (from, to): (u32, u32), window: Option<u32>, whole: bool) {
    let mut batch = Batch::default();
    row(&mut batch, &[3, 1, 0, 2], from, to);
    let own: Vec<u32> = (from..to).filter(|position| IMAGE.contains(position)).collect();
    if !own.is_empty() {
        let tokens = own.iter().map(|position| position - from).collect();
        batch.rows[0].images = vec![RowImage {
            image: Arc::new(Prepared::default()),
            tokens,
            features: own[0] - IMAGE.start..own[0] - IMAGE.start + own.len() as u32,
        }];
    }
    let tokens: Vec<(u32, u32)> = (from..to).map(|position| (1, position)).collect();
    let heads = SHAPE.kv_heads as usize;
    let [queries, keys, values] =
        [tensor(1, &tokens, HEADS), tensor(2, &tokens, heads), tensor(3, &tokens, heads)];
    let mut step = KvStep::new(pool, &batch).unwrap();
    step.write(1, &keys, &values).unwrap();
    let params = AttentionParams { scale: 1.0, window, softcap: None, sinks: None };
    let output = step.attend(1, &queries, params).unwrap();
    transforms::eval(pool.arrays().chain([&output])).unwrap();
    let output = output.as_slice::<f32>();
    for (token, position) in (from..to).enumerate() {
        for head in 0..HEADS {
            let ours = &output[(token * HEADS + head) * WIDTH..][..WIDTH];
            let exact = expected(position, head, window, whole, to);
            let largest = ours.iter().zip(exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(
                largest < 1e-5,
                "position {position}, window {window:?}, whole {whole}: off by {largest}"
            );
        }
    }
}

#[test]
fn image_is_seen_as_a_whole_where_the_model_wants_it() {
    let _device = device();
    for in_windows_only in [false, true] {
        let image_attention = ImageAttention { tokens: IMAGE.len() as u32, in_windows_only };
        for window in [None, Some(8), Some(40)] {
            for chunks in [&[(0, 60)][..], &[(0, 20), (20, 52), (52, 60)], &[(0, 5), (5, 55), (55, 60)]] {
                let pool = KvPool::new(SHAPE, 128, None).unwrap();
                let mut pool = pool.with_image_attention(Some(image_attention));
                // The image's rows are split where their scores are too many.
                pool.max_scores = 16 * 60 * HEADS;
                for range in chunks {
                    chunk(&mut pool, *range, window, window.is_some() || !in_windows_only);
                }
            }
        }
    }
}
