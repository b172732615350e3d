use proptest::prelude::*;

use super::*;

proptest! {
    /// A model of a machine: steps cost a fixed amount per row and per prompt token.
    ///
    /// The prompt finishes, and few steps take more than twice a decode-only step.
    #[test]
    fn prompt_finishes_and_few_steps_are_slow(
        base in 500.0f64..100_000.0,
        per_row in 1.0f64..20_000.0,
        per_token in 10.0f64..20_000.0,
        rows in 1usize..32,
        prompt in 1usize..6000,
        noise in prop::collection::vec(0.9f64..1.1, 64),
    ) {
        let mut pace = Pace::default();
        let alone = base + per_row * rows as f64;
        let (mut left, mut steps, mut slow) = (prompt, 0usize, 0usize);
        while left > 0 {
            let tokens = pace.prefill_tokens(rows, 1, 512).min(left);
            let micros = (alone + per_token * tokens as f64) * noise[steps % noise.len()];
            pace.observe(rows, tokens, micros);
            // The least that a machine this slow for prompts can do.
            let least = alone + per_token * LEAST_TOKENS as f64;
            slow += usize::from(micros > (2.0 * alone).max(least * 1.2));
            left -= tokens;
            steps += 1;
            prop_assert!(steps <= 2 + prompt + prompt / 8, "the prompt makes no progress");
        }
        // The first prompt step, with an unknown cost, and the steps until the average has forgotten it.
        prop_assert!(slow <= 3 + steps / 12, "{slow} of {steps} steps are slow");
    }
}

#[test]
fn prompt_without_decoding_rows_gets_the_whole_budget() {
    assert_eq!(Pace::default().prefill_tokens(0, 1, 512), 512);
}

#[test]
fn different_row_count_or_old_figure_is_measured_again() {
    let mut pace = Pace::default();
    assert_eq!(pace.prefill_tokens(1, 1, 512), 0);
    pace.observe(1, 0, 1000.0);
    assert_eq!(pace.prefill_tokens(1, 1, 512), FIRST_TOKENS);
    pace.observe(1, 16, 2600.0);
    assert_eq!(pace.prefill_tokens(1, 1, 512), 4);
    assert_eq!(pace.prefill_tokens(2, 1, 512), 4);
    assert_eq!(pace.prefill_tokens(8, 1, 512), 0);
    for _ in 0..STALE_STEPS {
        pace.observe(1, 7, 1700.0);
    }
    assert_eq!(pace.prefill_tokens(1, 1, 512), 0, "an old figure is measured again");
}

#[test]
fn several_prompts_get_a_larger_share_than_one() {
    let mut pace = Pace::default();
    pace.observe(4, 0, 41_000.0);
    pace.observe(4, 24, 65_000.0);
    let mut tokens = |prompts| pace.prefill_tokens(4, prompts, 512);
    assert_eq!([0, 1, 2, 3, 8].map(&mut tokens), [16, 16, 131, 442, 512]);
}

#[test]
fn share_of_several_long_prompts_is_bounded_after_some_steps() {
    let mut pace = Pace::default();
    pace.observe(4, 0, 41_000.0);
    for _ in 0..CROWDED_STEPS {
        pace.observe(4, 512, 41_000.0 + 512_000.0);
        let full = pace.crowded < CROWDED_STEPS;
        assert_eq!(pace.prefill_tokens(4, 8, 512), if full { 512 } else { 82 });
    }
    assert_eq!([8, 2].map(|prompts| pace.prefill_tokens(4, prompts, 512)), [82, 82]);
    assert_eq!(pace.prefill_tokens(4, 1, 512), 16);
    // New prompts start a new count.
    assert_eq!(pace.prefill_tokens(4, 8, 512), 512);
}
