//! Small models of every architecture with random weights. They cover every branch of a model quickly.

use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, argmax, device, distance, follow, goldens, load, prefill, step};
use crate::made::{MADE, Toy};

pub(crate) const ARCHITECTURES: [&str; 19] = [
    "llama",
    "llama-tied",
    "qwen2",
    "gemma3_text",
    "mistral",
    "qwen3",
    "smollm3",
    "gemma",
    "gemma2",
    "phi3",
    "mixtral",
    "qwen3_moe",
    "qwen3-yarn",
    "llama-yarn",
    "gpt_oss",
    "gemma3",
    "mistral3",
    "lfm2",
    "qwen3_5",
];
const FORMS: [&str; 4] = ["fp32", "bf16", "4bit", "8bit"];
/// Other quantisations: other widths, mlx-lm's mixed recipes, MXFP4 as written by mlx-community and by OpenAI.
const QUANTIZED: [&str; 8] = [
    "llama-2bit",
    "llama-3bit",
    "llama-5bit",
    "llama-6bit",
    "llama-mixed46",
    "gemma3-mixed36",
    "gpt_oss-mxfp4",
    "gpt_oss-openai",
];
/// Unordered blocks, some adjacent.
const BLOCKS: [u32; 4] = [9, 3, 4, 1];

/// All toys.
fn architectures() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.into_iter().chain(MADE)
}

fn assert_parity(name: &str, precision: Precision, tolerance: f32) {
    let toy = Toy::open(name);
    let golden = Golden::load(toy.path());
    let mut runner = load(toy.path(), precision);
    let mut sequence = Sequence::new(&golden.prompt, &BLOCKS);
    let logits = prefill(&mut runner, &mut sequence, usize::MAX);
    let off = distance(&logits, &golden.logits);
    assert!(off <= tolerance, "{name} as {precision:?}: logits are off by {off}");
    // Half precision changes leads, so compare only logits there.
    if tolerance <= 1e-3 {
        let checked = follow(&mut runner, &mut sequence, logits, &golden.greedy, &golden.leads);
        assert!(checked >= 40, "{name}: only {checked} tokens have a clear lead");
    }
}

#[test]
fn logits_and_greedy_text_match_mlx_lm() {
    let _device = device();
    for architecture in architectures() {
        for form in FORMS {
            assert_parity(&format!("{architecture}-{form}"), Precision::Float32, 1e-3);
        }
    }
}

#[test]
fn native_precision_matches_mlx_lm() {
    let _device = device();
    for architecture in architectures() {
        for form in ["fp32", "4bit", "8bit"] {
            assert_parity(&format!("{architecture}-{form}"), Precision::Native, 1e-3);
        }
        // Logits range over about ±10; bf16 has 8 bits of precision.
        assert_parity(&format!("{architecture}-bf16"), Precision::Native, 0.6);
    }
}

#[test]
fn every_quantisation_matches_mlx_lm() {
    let _device = device();
    for name in QUANTIZED {
        for precision in [Precision::Float32, Precision::Native] {
            assert_parity(name, precision, 1e-3);
        }
    }
}

#[test]
fn prefill_in_chunks_of_any_length_matches_mlx_lm() {
    let _device = device();
    for architecture in architectures() {
        let toy = Toy::open(&format!("{architecture}-fp32"));
        let golden = Golden::load(toy.path());
        let mut runner = load(toy.path(), Precision::Float32);
        for max_tokens in [1, 2, 7, 31, 32, 33, 39] {
            let mut sequence = Sequence::new(&golden.prompt, &BLOCKS);
            let off = distance(&prefill(&mut runner, &mut sequence, max_tokens), &golden.logits);
            assert!(off <= 1e-3, "{architecture} in chunks of {max_tokens}: off by {off}");
        }
    }
}

/// Prefilling and decoding rows of different lengths share a step; their blocks are interleaved.
#[test]
fn row_does_not_depend_on_other_rows() {
    let _device = device();
    for architecture in architectures() {
        let toy = Toy::open(&format!("{architecture}-fp32"));
        let golden = Golden::load(toy.path());
        let mut runner = load(toy.path(), Precision::Float32);
        let lengths = [40, 1, 17, 33];
        let alone: Vec<Vec<Vec<f32>>> = lengths
            .map(|length| {
                let mut sequence = Sequence::new(&golden.prompt[..length], &BLOCKS);
                let mut all = vec![prefill(&mut runner, &mut sequence, usize::MAX)];
                for _ in 0..5 {
                    sequence.push(argmax(&all[all.len() - 1]));
                    all.push(step(&mut runner, &mut [&mut sequence], 1).remove(0));
                }
                all
            })
            .into();
        let mut rows: Vec<Sequence> = (0u32..)
            .zip(lengths)
            .map(|(row, length)| {
                let blocks: Vec<u32> = (0..4).map(|block| 20 + block * 4 + row).collect();
                Sequence::new(&golden.prompt[..length], &blocks)
            })
            .collect();
        let mut generated = [0; 4];
        // One row joins per step, in chunks of at most 24 tokens.
        for at in 0..20 {
            let present = rows.len().min(at + 1);
            let mut running: Vec<(usize, &mut Sequence)> =
                rows[..present].iter_mut().enumerate().filter(|(row, _)| generated[*row] <= 5).collect();
            if running.is_empty() {
                break;
            }
            let whole: Vec<usize> =
                running.iter().filter(|(_, row)| row.ends_within(24)).map(|(at, _)| *at).collect();
            let mut only: Vec<&mut Sequence> = running.iter_mut().map(|(_, row)| &mut **row).collect();
            let logits = step(&mut runner, &mut only, 24);
            for (row, logits) in whole.into_iter().zip(logits) {
                let off = distance(&logits, &alone[row][generated[row]]);
                assert!(off <= 1e-4, "{architecture}, row {row}, token {}: off by {off}", generated[row]);
                rows[row].push(argmax(&logits));
                generated[row] += 1;
            }
        }
        assert_eq!(generated, [6; 4]);
    }
}

/// mlx-lm omits the windows of Mistral and Phi 3, so its results are valid only if the window is not shorter than the text.
#[test]
fn window_shorter_than_the_text_changes_logits() {
    let _device = device();
    for name in ["mistral-fp32", "phi3-fp32"] {
        let golden = goldens().join(name);
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(golden.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
        let config = std::fs::read_to_string(golden.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let golden = Golden::load(&golden);
        for (window, reaches) in [(40, true), (39, false)] {
            config["sliding_window"] = window.into();
            std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
            let mut runner = load(folder.path(), Precision::Float32);
            let mut sequence = Sequence::new(&golden.prompt, &BLOCKS);
            let off = distance(&prefill(&mut runner, &mut sequence, usize::MAX), &golden.logits);
            assert_eq!(off <= 1e-3, reaches, "{name}, a window of {window}: off by {off}");
        }
    }
}
