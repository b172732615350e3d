//! The expected numbers are those of `ROPE_INIT_FUNCTIONS` in Transformers 5.24.0, for heads of 32 and base 10000.

use serde_json::{Value, json};

use super::*;
use crate::kernels::device_lock::device;

const WIDTH: i32 = 32;
const THETA: f32 = 10_000.0;
/// YaRN by 4 from 8192 tokens.
const YARN_8192: [f32; 16] = [
    1.0,
    0.562_341_33,
    0.316_227_76,
    0.177_827_94,
    0.1,
    0.056_234_13,
    0.031_622_78,
    0.015_877_495,
    0.007_857_143,
    0.003_815_887_5,
    0.001_807_015_9,
    0.000_825_629_74,
    0.000_357_142_88,
    0.000_140_585_33,
    7.905_695e-5,
    4.445_698_5e-5,
];

fn scaling(value: Value, lengths: [Option<f32>; 2]) -> RopeScaling {
    let [maximum, original] = lengths;
    let scaling: RopeScaling = serde_json::from_value(value).unwrap();
    scaling.with_lengths(ContextLengths { maximum, original })
}

fn assert_rope(rope: &Rope, frequencies: &[f32], scale: f32, case: &str) {
    let actual = rope.frequencies.as_slice::<f32>();
    assert_eq!(actual.len(), frequencies.len(), "{case}");
    for (actual, expected) in actual.iter().zip(frequencies) {
        assert!((actual / expected - 1.0).abs() < 1e-5, "{case}: {actual} instead of {expected}");
    }
    assert!((rope.scale - scale).abs() < 1e-5, "{case}: scale {}", rope.scale);
}

/// Qwen2's model card has its readers add YaRN by hand.
#[test]
fn yarn_without_original_length_counts_from_the_models() {
    let expected = [
        1.0,
        0.562_341_33,
        0.316_227_76,
        0.177_827_94,
        0.1,
        0.056_234_13,
        0.031_622_78,
        0.017_782_794,
        0.01,
        0.005_020_904_4,
        0.002_484_646_9,
        0.001_206_689_6,
        0.000_571_428_57,
        0.000_261_087_03,
        0.000_112_938_49,
        4.445_698_5e-5,
    ];
    let scaling = scaling(json!({"type": "yarn", "factor": 4.0}), [Some(32_768.0), None]);
    let rope = Rope::new(WIDTH, THETA, Some(&scaling)).unwrap();
    assert_rope(&rope, &expected, 1.138_629_4, "yarn from 32768");
}

#[test]
fn yarn_fields_follow_transformers() {
    for (case, fields, original, scale) in [
        (
            "length beside",
            json!({"factor": 4.0, "original_max_position_embeddings": 4096}),
            Some(8192.0),
            1.138_629_4,
        ),
        ("no factor", json!({"factor": null, "original_max_position_embeddings": 8192}), None, 1.138_629_4),
        (
            "mscale",
            json!({"factor": 4.0, "original_max_position_embeddings": 8192, "mscale": 0.5}),
            None,
            1.138_629_4,
        ),
        (
            "both mscales",
            json!({"factor": 4.0, "original_max_position_embeddings": 8192, "mscale": 0.5, "mscale_all_dim": 2.0}),
            None,
            0.837_195,
        ),
    ] {
        let mut fields = fields;
        fields["rope_type"] = "yarn".into();
        let scaling = scaling(fields, [Some(32_768.0), original]);
        assert_rope(&Rope::new(WIDTH, THETA, Some(&scaling)).unwrap(), &YARN_8192, scale, case);
    }
}

#[test]
fn llama3_without_original_length_counts_from_the_models() {
    let expected = [
        1.0,
        0.562_341_33,
        0.316_227_76,
        0.177_827_94,
        0.1,
        0.056_234_13,
        0.031_622_78,
        0.012_067_86,
        0.003_086_760_6,
        0.000_702_926_66,
        0.000_395_284_73,
        0.000_222_284_93,
        0.000_125,
        7.029_266e-5,
        3.952_847e-5,
        2.222_849e-5,
    ];
    let fields =
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0});
    let scaling = scaling(fields, [Some(1024.0), None]);
    assert_rope(&Rope::new(WIDTH, THETA, Some(&scaling)).unwrap(), &expected, 1.0, "llama3");
}

/// Phi-4-mini: three quarters of a head are rotated.
#[test]
fn longrope_has_factors_for_texts_of_both_lengths() {
    let short = [
        1.0,
        0.421_962_6,
        0.179_536_22,
        0.076_923_08,
        0.033_154_204,
        0.014_362_9,
        0.006_25,
        0.002_730_346_8,
        0.001_196_908,
        0.000_526_315_8,
        0.000_232_079_5,
        0.000_102_592_116,
    ];
    let long = [
        1.0,
        0.421_962_6,
        0.165_725_75,
        0.05,
        0.013_261_68,
        0.003_590_725,
        0.001_428_571_4,
        0.000_580_198_7,
        0.000_239_381_6,
        0.000_1,
        4.219_627e-5,
        1.795_361_8e-5,
    ];
    let longrope = |extra: Value, original: Option<f32>| {
        let mut fields = json!({
            "type": "longrope",
            "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1],
            "long_factor": [1.0, 1.1, 1.3, 2.0, 3.5, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0],
        });
        fields.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        scaling(fields, [Some(131_072.0), original])
    };
    let other_original = json!({"original_max_position_embeddings": 8192});
    for (case, extra, scale) in [
        ("as published", json!({}), 1.190_238_1),
        ("factor", json!({"factor": 8.0}), 1.118_034),
        ("attention factor", json!({"attention_factor": 1.25}), 1.25),
        ("length beside", other_original, 1.190_238_1),
    ] {
        let rope = Rope::long(24, THETA, &longrope(extra, Some(4096.0))).unwrap();
        assert_rope(&rope, &short, scale, case);
        let extended = rope.extended.clone().unwrap();
        assert_eq!(extended.original_context, 4096);
        let extended = Rope { frequencies: extended.frequencies, extended: None, ..rope };
        assert_rope(&extended, &long, scale, case);
    }
    let scaling = scaling(json!({"type": "longrope"}), [Some(8192.0), Some(4096.0)]);
    assert!(Rope::long(24, THETA, &scaling).unwrap_err().contains("long_factor is missing"));
}

#[test]
fn neighbours_become_halves_within_the_rotated_part_of_each_head() {
    assert_eq!(halves_order(2, 6, 4), [0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11]);
    assert_eq!(halves_order(1, 4, 4), [0, 2, 1, 3]);
}

#[test]
fn widths_that_cannot_be_rotated_are_refused() {
    assert_eq!(check_width(8, 16), Ok(8));
    for width in [0, 7, 18, -2] {
        assert!(check_width(width, 16).unwrap_err().contains("partial_rotary_factor"), "{width}");
    }
}

/// Position 16 is the first of the second context of 16 tokens.
#[test]
fn queries_grow_from_the_end_of_the_original_context_on() {
    let _device = device();
    let rope = Rope::plain(4, 100.0).with_query_growth(0.5, 16.0);
    let like = Array::from_slice(&[0.0f32], &[1, 1]);
    let factors = |positions: &[f32]| {
        let rotation = rope.rotation(&Positions::new(positions), &like).unwrap();
        rotation.query_factors().map(|factors| {
            factors.eval().unwrap();
            factors.as_slice::<f32>().to_vec()
        })
    };
    assert_eq!(factors(&[0.0, 15.0]), None);
    let grown = factors(&[15.0, 16.0, 40.0]).unwrap();
    for (factor, contexts) in grown.iter().zip([1.0f32, 2.0, 3.0]) {
        assert!((factor - (1.0 + 0.5 * contexts.ln())).abs() < 1e-6, "{grown:?}");
    }
}
