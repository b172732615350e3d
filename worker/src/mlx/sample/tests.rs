use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::engine::rng;
use crate::kernels::device_lock::device;

const VOCABULARY: usize = 24;

fn draw(logits: &[Vec<f32>], rows: &[RowSampling]) -> Vec<u32> {
    let flat = logits.concat();
    let logits = Array::from_slice(&flat, &[logits.len() as i32, logits[0].len() as i32]);
    let tokens = sample(&logits, rows).unwrap();
    assert_eq!(tokens.shape(), [rows.len() as i32]);
    tokens.as_slice::<u32>().to_vec()
}

/// The filtered distribution in descending order, in plain arithmetic.
fn reference(logits: &[f32], row: &RowSampling) -> Vec<(u32, f64)> {
    let mut all: Vec<(u32, f64)> =
        (0..).zip(logits.iter().map(|x| (f64::from(*x) / f64::from(row.temperature)).exp())).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    if row.top_k > 0 {
        all.truncate(row.top_k as usize);
    }
    normalise(&mut all);
    let mut before = 0.0;
    let first = all[0].1;
    all.retain(|(_, p)| {
        let keep = before < f64::from(row.top_p) && *p >= f64::from(row.min_p) * first;
        before += p;
        keep
    });
    normalise(&mut all);
    all
}

fn normalise(all: &mut [(u32, f64)]) {
    let total: f64 = all.iter().map(|(_, p)| p).sum();
    all.iter_mut().for_each(|(_, p)| *p /= total);
}

fn settings() -> impl Strategy<Value = RowSampling> {
    let top_k = prop_oneof![Just(0u32), 1u32..30];
    let top_p = prop_oneof![Just(1.0f32), 0.05f32..1.0];
    (0.2f32..3.0, top_p, top_k, 0.0f32..0.5, any::<u64>()).prop_map(
        |(temperature, top_p, top_k, min_p, noise)| RowSampling { temperature, top_p, top_k, min_p, noise },
    )
}

fn row_logits() -> impl Strategy<Value = Vec<f32>> {
    // Distinct, so that the order is certain.
    let shuffled = Just((0..VOCABULARY as i32).collect::<Vec<_>>()).prop_shuffle();
    (shuffled, 0.1f32..0.6).prop_map(|(order, spread)| order.iter().map(|x| *x as f32 * spread).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn token_matches_the_reference_race(rows in prop::collection::vec((row_logits(), settings()), 1..5)) {
        let _device = device();
        let (logits, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        for ((token, logits), row) in draw(&logits, &rows).into_iter().zip(&logits).zip(&rows) {
            // All tokens are in the first group. Rounding may move a token across a filter's threshold.
            let winner = |row: &RowSampling| {
                let time = |(id, p): &(u32, f64)| f64::from(rng::exponential(row.noise, 1 + u64::from(*id))) / p;
                let kept = reference(logits, row);
                kept.into_iter().min_by(|a, b| time(a).total_cmp(&time(b))).unwrap().0
            };
            let (top_p, min_p) = (row.top_p, row.min_p);
            let near = [-1e-4, 0.0, 1e-4].map(|by| winner(&RowSampling {
                top_p: if top_p < 1.0 { top_p + by } else { top_p },
                min_p: min_p - by,
                ..*row
            }));
            prop_assert!(near.contains(&token), "{token} instead of {near:?}");
        }
    }

    #[test]
    fn sample_does_not_depend_on_other_rows(rows in prop::collection::vec((row_logits(), settings()), 2..5)) {
        let _device = device();
        let (logits, mut rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        rows[0] = RowSampling::GREEDY;
        let together = draw(&logits, &rows);
        for at in 0..rows.len() {
            prop_assert_eq!(draw(&logits[at..=at], &rows[at..=at])[0], together[at]);
        }
    }
}

#[test]
fn extreme_filters_sample_greedily() {
    let _device = device();
    let logits = vec![vec![0.5, 3.0, 2.9, -1.0]; 4];
    for noise in 0..20 {
        let free = free(noise);
        let rows = [
            RowSampling { top_k: 1, ..free },
            RowSampling { top_p: 1e-6, ..free },
            RowSampling { min_p: 1.0, ..free },
            RowSampling { temperature: 1e-4, ..free },
        ];
        assert_eq!(draw(&logits, &rows), [1; 4]);
    }
    let rows: Vec<RowSampling> = (0..2000).map(free).collect();
    let drawn: BTreeSet<u32> = draw(&vec![logits[0].clone(); 2000], &rows).into_iter().collect();
    assert_eq!(drawn, BTreeSet::from([0, 1, 2, 3]));
}

fn free(noise: u64) -> RowSampling {
    RowSampling { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, noise }
}

/// Token frequencies match the probabilities, within a group and across groups.
#[test]
fn sampling_without_filters_follows_the_softmax() {
    let _device = device();
    let mut logits = vec![f32::NEG_INFINITY; 700];
    for (at, p) in [(0, 0.5f32), (1, 0.25), (300, 0.125), (699, 0.125)] {
        logits[at] = p.ln();
    }
    let count = 4000;
    let rows: Vec<RowSampling> = (0..count).map(|at| free(rng::noise(7, at))).collect();
    let mut seen = [0u32; 700];
    for token in draw(&vec![logits; count as usize], &rows) {
        seen[token as usize] += 1;
    }
    for (at, expected) in [(0, 2000), (1, 1000), (300, 500), (699, 500)] {
        assert!(seen[at].abs_diff(expected) < 120, "{} for {expected}", seen[at]);
    }
    assert_eq!(seen.iter().sum::<u32>(), seen[0] + seen[1] + seen[300] + seen[699]);
}

/// Rounding differences between batch sizes draw the same tokens, even if thousands are likely.
#[test]
fn rounding_rarely_changes_a_sample() {
    let _device = device();
    let unrest = |at: u64| rng::exponential(1, at) - rng::exponential(2, at);
    let logits: Vec<f32> = (0..20_000).map(unrest).collect();
    let rounded: Vec<f32> = (0..).zip(&logits).map(|(at, x)| x + 1e-5 * unrest(at + 1_000_000)).collect();
    let mut others = 0;
    for batch in 0..20 {
        let rows: Vec<RowSampling> = (0..50).map(|at| free(rng::noise(batch, at))).collect();
        let drawn = draw(&vec![logits.clone(); 50], &rows);
        let again = draw(&vec![rounded.clone(); 50], &rows);
        others += drawn.iter().zip(&again).filter(|(one, other)| one != other).count();
    }
    assert!(others <= 1, "{others} of 1,000");
}

proptest! {
    #[test]
    fn adjust_matches_plain_arithmetic(
        rows in prop::collection::vec((row_logits(), prop::collection::btree_map(0u32..30, (-3.0f32..3.0, 0.5f32..2.0, -1.0f32..1.0), 0..6)), 1..4),
    ) {
        let _device = device();
        let mut expected: Vec<Vec<f32>> = Vec::new();
        let mut lists: Vec<Vec<LogitAdjustment>> = Vec::new();
        for (logits, changes) in &rows {
            let mut row: Vec<f32> = logits.iter().map(|x| x - 4.0).collect();
            for (token, (bias, repetition, penalty)) in changes {
                // Some lie beyond the vocabulary.
                if let Some(logit) = row.get_mut(*token as usize) {
                    let biased = *logit + bias;
                    *logit = if biased > 0.0 { biased / repetition } else { biased * repetition } - penalty;
                }
            }
            expected.push(row);
            let list = changes.iter();
            lists.push(list.map(|(token, (bias, repetition, penalty))| {
                LogitAdjustment { token: *token, bias: *bias, repetition: *repetition, penalty: *penalty }
            }).collect());
        }
        let flat: Vec<f32> = rows.iter().flat_map(|(logits, _)| logits.iter().map(|x| x - 4.0)).collect();
        let logits = Array::from_slice(&flat, &[rows.len() as i32, VOCABULARY as i32]);
        let lists: Vec<&[LogitAdjustment]> = lists.iter().map(Vec::as_slice).collect();
        let adjusted = adjust(logits, &lists).unwrap();
        for (ours, theirs) in adjusted.as_slice::<f32>().iter().zip(expected.concat()) {
            prop_assert!((ours - theirs).abs() < 1e-5);
        }
    }
}

#[test]
fn rows_without_numbers_have_no_token() {
    let rows = [vec![0.0, 2.0, 1.0], vec![f32::NAN; 3], vec![0.0, f32::INFINITY, 0.0], vec![3.0, 0.0, 0.0]];
    let logits = Array::from_slice(&rows.concat(), &[4, 3]);
    let chosen = Array::from_slice(&[1u32, 0, 1, 0], &[4]);
    let tokens = checked(&logits, &chosen).unwrap();
    assert_eq!((tokens.shape(), tokens.as_slice::<u32>()), (&[4][..], &[1, NO_TOKEN, NO_TOKEN, 0][..]));
}
