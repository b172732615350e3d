//! Toy models with adapters made by mlx-lm's tuner: merged into dense weights, separate for quantised ones.

use std::path::Path;

use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, device, distance, follow, goldens, load, load_adapted, prefill};

const ADAPTERS: [(&str, &[&str]); 5] = [
    ("lora", &["llama-fp32", "llama-bf16", "llama-4bit"]),
    ("lora-some", &["llama-tied-fp32", "llama-tied-4bit"]),
    ("lora-experts", &["mixtral-fp32", "mixtral-4bit"]),
    ("dora", &["llama-tied-fp32", "llama-tied-4bit"]),
    ("full", &["llama-fp32"]),
];
const BLOCKS: [u32; 4] = [9, 3, 4, 1];

fn assert_parity(adapter: &Path, base: &str, precision: Precision) {
    let golden = Golden::load(&adapter.join(base));
    let base_folder = goldens().join(base);
    let mut plain = Sequence::new(&golden.prompt, &BLOCKS);
    let plain = prefill(&mut load(&base_folder, precision), &mut plain, usize::MAX);
    assert!(distance(&plain, &golden.logits) > 0.5, "{} changes nothing", adapter.display());

    let mut runner = load_adapted(&base_folder, Some(adapter.to_owned()), precision);
    let mut sequence = Sequence::new(&golden.prompt, &BLOCKS);
    let logits = prefill(&mut runner, &mut sequence, usize::MAX);
    let off = distance(&logits, &golden.logits);
    // Logits range over about ±10; bf16 has 8 bits of precision.
    let half = precision == Precision::Native && base.ends_with("bf16");
    assert!(
        off <= if half { 0.6 } else { 1e-3 },
        "{} on {base} as {precision:?}: off by {off}",
        adapter.display()
    );
    if !half {
        let checked = follow(&mut runner, &mut sequence, logits, &golden.greedy, &golden.leads);
        assert!(checked >= 40, "{}: only {checked} tokens have a clear lead", adapter.display());
    }
}

#[test]
fn adapted_models_match_mlx_lm() {
    let _device = device();
    for (adapter, bases) in ADAPTERS {
        let folder = goldens().join("adapters").join(adapter);
        for base in bases {
            for precision in [Precision::Float32, Precision::Native] {
                assert_parity(&folder, base, precision);
            }
        }
    }
}
