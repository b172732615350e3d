use proptest::prelude::*;

use super::*;

proptest! {
    /// On a machine whose steps cost a fixed amount per row and per prompt token, a prompt comes to its end, and few steps
    /// take longer than twice what decoding alone takes.
    #[test]
    fn decoding_keeps_its_pace_and_the_prompt_its_progress(
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
            // What a machine that slow for prompts cannot avoid.
            let least = alone + per_token * LEAST_TOKENS as f64;
            slow += usize::from(micros > (2.0 * alone).max(least * 1.2));
            left -= tokens;
            steps += 1;
            prop_assert!(steps <= 2 + prompt + prompt / 8, "the prompt does not progress");
        }
        // The first one with a prompt, whose cost was not known, and what the blend takes to forget it.
        prop_assert!(slow <= 3 + steps / 12, "{slow} of {steps} steps are slow");
    }
}

#[test]
fn without_decoding_a_prompt_gets_all() {
    assert_eq!(Pace::default().prefill_tokens(0, 1, 512), 512);
}

#[test]
fn other_rows_than_were_measured_are_measured_again() {
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
    assert_eq!(pace.prefill_tokens(1, 1, 512), 0, "what is long ago is measured again");
}

#[test]
fn many_prompts_get_more_of_a_step_than_one() {
    let mut pace = Pace::default();
    pace.observe(4, 0, 41_000.0);
    pace.observe(4, 24, 65_000.0);
    let mut tokens = |prompts| pace.prefill_tokens(4, prompts, 512);
    assert_eq!([0, 1, 2, 3, 8].map(&mut tokens), [16, 16, 131, 442, 512]);
}

#[test]
fn many_long_prompts_get_more_only_at_first() {
    let mut pace = Pace::default();
    pace.observe(4, 0, 41_000.0);
    for _ in 0..CROWDED_STEPS {
        pace.observe(4, 512, 41_000.0 + 512_000.0);
        let full = pace.crowded < CROWDED_STEPS;
        assert_eq!(pace.prefill_tokens(4, 8, 512), if full { 512 } else { 82 });
    }
    assert_eq!([8, 2].map(|prompts| pace.prefill_tokens(4, prompts, 512)), [82, 82]);
    assert_eq!(pace.prefill_tokens(4, 1, 512), 16);
    // Others come later.
    assert_eq!(pace.prefill_tokens(4, 8, 512), 512);
}
