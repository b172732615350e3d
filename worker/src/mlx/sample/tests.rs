use proptest::prelude::*;

use super::*;
use crate::mlx::tests::device;

const VOCABULARY: usize = 24;

fn draw(logits: &[Vec<f32>], rows: &[RowSampling]) -> Vec<u32> {
    let flat = logits.concat();
    let logits = Array::from_slice(&flat, &[logits.len() as i32, logits[0].len() as i32]);
    let tokens = sample(&logits, rows).unwrap();
    assert_eq!(tokens.shape(), [rows.len() as i32]);
    tokens.as_slice::<u32>().to_vec()
}

/// The filtered distribution, likeliest first, in plain arithmetic.
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
    (0.2f32..3.0, 0.05f32..1.0, top_k, 0.0f32..0.5, 0.0f32..1.0).prop_map(
        |(temperature, top_p, top_k, min_p, uniform)| RowSampling {
            temperature,
            top_p,
            top_k,
            min_p,
            uniform,
        },
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
    fn the_token_is_where_the_random_number_falls(rows in prop::collection::vec((row_logits(), settings()), 1..5)) {
        let _device = device();
        let (logits, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        for ((token, logits), row) in draw(&logits, &rows).into_iter().zip(&logits).zip(&rows) {
            let mut low = 0.0;
            let kept = reference(logits, row);
            // A filter's border may fall either way by rounding; the token is then next to where it should be.
            let slack = 1e-4 + kept.last().unwrap().1;
            let place = kept.iter().position(|(id, _)| *id == token);
            let Some(place) = place else {
                let next = reference(logits, &RowSampling { top_p: row.top_p + 1e-4, min_p: row.min_p - 1e-4, ..*row });
                prop_assert!(next.iter().any(|(id, _)| *id == token), "{token} was filtered out");
                continue;
            };
            kept[..place].iter().for_each(|(_, p)| low += p);
            let uniform = f64::from(row.uniform);
            let high = low + kept[place].1;
            prop_assert!(low - slack <= uniform && uniform < high + slack, "{uniform} is not in {low}..{high}");
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_company(rows in prop::collection::vec((row_logits(), settings()), 2..5)) {
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
fn narrow_settings_are_greedy() {
    let _device = device();
    let logits = vec![vec![0.5, 3.0, 2.9, -1.0]; 4];
    let free = RowSampling { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, uniform: 0.999 };
    let rows = [
        RowSampling { top_k: 1, ..free },
        RowSampling { top_p: 1e-6, ..free },
        RowSampling { min_p: 1.0, ..free },
        RowSampling { temperature: 1e-4, ..free },
    ];
    assert_eq!(draw(&logits, &rows), [1; 4]);
    assert_eq!(draw(&logits[..1], &[free]), [3]);
}

/// Each token comes as often as its probability says.
#[test]
fn the_distribution_is_the_softmax() {
    let _device = device();
    let logits: Vec<f32> = [0.5f32, 0.25, 0.125, 0.125].map(f32::ln).into();
    let count = 4000;
    let rows: Vec<RowSampling> = (0..count)
        .map(|i| RowSampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            uniform: crate::engine::rng::uniform(7, i),
        })
        .collect();
    let mut seen = [0u32; 4];
    for token in draw(&vec![logits; count as usize], &rows) {
        seen[token as usize] += 1;
    }
    for (seen, expected) in seen.iter().zip([2000, 1000, 500, 500]) {
        assert!(seen.abs_diff(expected) < 120, "{seen} for {expected}");
    }
}

proptest! {
    #[test]
    fn logits_are_adjusted_as_plain_arithmetic_does(
        rows in prop::collection::vec((row_logits(), prop::collection::btree_map(0u32..30, (-3.0f32..3.0, 0.5f32..2.0, -1.0f32..1.0), 0..6)), 1..4),
    ) {
        let _device = device();
        let mut expected: Vec<Vec<f32>> = Vec::new();
        let mut lists: Vec<Vec<Adjust>> = Vec::new();
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
                Adjust { token: *token, bias: *bias, repetition: *repetition, penalty: *penalty }
            }).collect());
        }
        let flat: Vec<f32> = rows.iter().flat_map(|(logits, _)| logits.iter().map(|x| x - 4.0)).collect();
        let logits = Array::from_slice(&flat, &[rows.len() as i32, VOCABULARY as i32]);
        let lists: Vec<&[Adjust]> = lists.iter().map(Vec::as_slice).collect();
        let adjusted = adjust(logits, &lists).unwrap();
        for (ours, theirs) in adjusted.as_slice::<f32>().iter().zip(expected.concat()) {
            prop_assert!((ours - theirs).abs() < 1e-5);
        }
    }
}
