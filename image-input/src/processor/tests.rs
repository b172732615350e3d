//! Processors against what Transformers' make of the same files.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::picture::{Limits, Picture, decode};
use crate::processor::{Detail, Processor};

fn golden(path: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs of image tokens as `token*count`.
fn short(text: &str, token: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(token) {
        out += &rest[..at];
        rest = &rest[at..];
        let mut count = 0;
        while let Some(after) = rest.strip_prefix(token) {
            rest = after;
            count += 1;
        }
        out += &format!("{token}*{count}");
    }
    out + rest
}

fn sha256(pixels: &[f32]) -> String {
    use sha2::Digest;
    let bytes: Vec<u8> = pixels.iter().flat_map(|value| value.to_le_bytes()).collect();
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn processors_give_what_transformers_give() {
    let cases: Vec<Value> = serde_json::from_slice(&golden("prepared.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let file = |name: &str| Some(&case[name]).filter(|value| !value.is_null());
        let processor =
            Processor::new(&case["config"], file("preprocessor"), file("processor")).unwrap().unwrap();
        for (name, want) in case["results"].as_object().unwrap() {
            let picture = decode(&golden(&format!("pictures/{name}")), Limits::default()).unwrap();
            let got = processor.prepare(&picture, Detail::Auto);
            let case = format!("{} {name}", case["name"]);
            if want.get("error").is_some() {
                assert!(got.is_err(), "{case}");
                continue;
            }
            let got = got.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(json!(got.shape), want["shape"], "{case}");
            assert_eq!(json!(got.grid), want["grid"], "{case}");
            assert_eq!(short(&got.text, processor.image_token()), want["text"].as_str().unwrap(), "{case}");
            assert_eq!(u64::from(got.features), want["features"].as_u64().unwrap(), "{case}");
            if sha256(&got.pixels) != want["sha256"].as_str().unwrap() {
                let samples = want["samples"].as_object().unwrap().iter();
                let samples: Vec<_> = samples
                    .map(|(at, value)| {
                        (got.pixels[at.parse::<usize>().unwrap()], value.as_f64().unwrap() as f32)
                    })
                    .collect();
                wrong.push(format!("{case}: pixels differ, (here, there) {samples:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cases() -> Vec<Value> {
    serde_json::from_slice(&golden("prepared.json")).unwrap()
}

fn new(kind: &str, preprocessor: &Value) -> Result<Processor, String> {
    Processor::new(&json!({"model_type": kind}), Some(preprocessor), None).map(Option::unwrap)
}

fn plain(width: u32, height: u32) -> Picture {
    let rgb = (0..3 * width * height).map(|at| (at % 251) as u8).collect();
    Picture { width, height, rgb }
}

#[test]
fn other_models_have_no_processor() {
    for config in [json!({"model_type": "llama"}), json!({"model_type": "qwen2_5_omni"}), json!({}), json!(7)]
    {
        assert!(Processor::new(&config, None, None).unwrap().is_none());
    }
}

#[test]
fn every_family_has_defaults() {
    let kinds = [
        "idefics3",
        "smolvlm",
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "qwen3_vl_moe",
        "qwen3_5",
        "qwen3_5_moe",
    ];
    for kind in
        kinds.into_iter().chain(["gemma3", "llava", "mistral3", "pixtral", "internvl", "paligemma", "gemma4"])
    {
        let processor = Processor::new(&json!({"model_type": kind}), None, None).unwrap().unwrap();
        let prepared = processor.prepare(&plain(50, 30), Detail::Auto).unwrap();
        let tokens = prepared.text.matches(processor.image_token()).count();
        assert_eq!(prepared.features as usize, tokens, "{kind}");
        assert_eq!(prepared.shape.iter().product::<usize>(), prepared.pixels.len(), "{kind}");
        assert!(!processor.placeholder().is_empty());
    }
}

#[test]
fn fields_that_are_not_supported_are_named() {
    let refused = [
        ("qwen2_vl", json!({"do_resize": false}), "do_resize is false, which is not supported"),
        (
            "gemma3",
            json!({"resample": 0}),
            "resample is 0; 1 (Lanczos), 2 (bilinear) and 3 (bicubic) are supported",
        ),
        ("gemma3", json!({"size": {"longest_edge": 7}}), "size has no height and width"),
        ("smolvlm", json!({"size": {"shortest_edge": 7}}), "size is"),
        ("smolvlm", json!({"max_image_size": {"longest_edge": 1}}), "max_image_size.longest_edge is 1"),
        ("qwen3_vl", json!({"patch_size": -1}), "patch_size is -1, which is no number that can be used"),
        ("qwen3_vl", json!({"patch_size": 1 << 20}), "patch_size is 1048576"),
        ("qwen3_vl", json!({"image_std": [1, 1]}), "image_std is [1,1]; three numbers are expected"),
        ("qwen3_vl", json!({"image_std": 0}), "image_std holds a zero"),
        (
            "llava",
            json!({"image_processor_type": "BitImageProcessor"}),
            "image_processor_type is BitImageProcessor",
        ),
        ("llava", json!({"do_pad": true}), "do_pad is true"),
        ("llava", json!({"do_center_crop": false}), "do_center_crop is false"),
        ("internvl", json!({"max_patches": 1000}), "max_patches is 1000"),
        ("gemma4", json!({"max_soft_tokens": 71}), "max_soft_tokens is 71"),
    ];
    for (kind, preprocessor, words) in refused {
        let error = new(kind, &preprocessor).unwrap_err();
        assert!(error.starts_with(words), "{kind}: {error}");
    }
}

#[test]
fn nested_settings_come_first() {
    let config = json!({"model_type": "gemma3"});
    let side = |side: u32| json!({"size": {"height": side, "width": side}});
    let of = |preprocessor: &Value, processor: &Value| {
        let processor = Processor::new(&config, Some(preprocessor), Some(processor)).unwrap().unwrap();
        processor.prepare(&plain(9, 9), Detail::Auto).unwrap().shape[3]
    };
    let nested = |side: Value| json!({"image_processor": side});
    assert_eq!(of(&side(28), &json!({})), 28);
    assert_eq!(of(&side(28), &nested(side(42))), 42);
    // The file itself may be given for its part.
    assert_eq!(of(&nested(side(56)), &json!({})), 56);
}

#[test]
fn rows_are_rounded_half_to_even() {
    // 70 / 28 is 2.5 and 98 / 28 is 3.5.
    let processor = new("qwen2_vl", &json!({"min_pixels": 784})).unwrap();
    assert_eq!(processor.prepare(&plain(70, 98), Detail::Auto).unwrap().grid, [1, 8, 4]);
}

#[test]
fn low_detail_has_at_most_512_pixels_a_side() {
    let processor = new("qwen2_vl", &json!({})).unwrap();
    let grid = |width, height, detail| processor.prepare(&plain(width, height), detail).unwrap().grid;
    assert_eq!(grid(1024, 700, Detail::Auto), [1, 50, 74]);
    assert_eq!(grid(1024, 700, Detail::High), [1, 50, 74]);
    assert_eq!(grid(1024, 700, Detail::Low), [1, 24, 36]);
    assert_eq!(grid(500, 300, Detail::Low), grid(500, 300, Detail::Auto));
}

#[test]
fn digests_tell_images_apart() {
    let processor = new("qwen2_vl", &json!({})).unwrap();
    let digest = |picture: &Picture| processor.prepare(picture, Detail::Auto).unwrap().digest;
    let mut other = plain(60, 60);
    let first = digest(&other);
    assert_eq!(first, digest(&plain(60, 60)));
    other.rgb[0] ^= 255;
    assert_ne!(first, digest(&other));
    assert_ne!(first, digest(&plain(60, 88)));
}

#[test]
fn long_and_narrow_pictures_are_refused_and_cost_nothing() {
    for case in cases() {
        let file = |name: &str| Some(&case[name]).filter(|value| !value.is_null());
        let processor =
            Processor::new(&case["config"], file("preprocessor"), file("processor")).unwrap().unwrap();
        for (width, height) in [(1, 4_000_000), (4_000_000, 1)] {
            let start = std::time::Instant::now();
            let result = processor.prepare(&plain(width, height), Detail::Auto);
            assert!(start.elapsed() < std::time::Duration::from_secs(3), "{} {result:?}", case["name"]);
        }
    }
}

proptest! {
    #[test]
    fn pictures_of_any_shape_are_prepared_or_refused(
        case in prop::sample::select(cases()),
        width in 1..90_u32,
        height in 1..700_u32,
        turned: bool,
        detail in prop::sample::select(vec![Detail::Auto, Detail::Low, Detail::High]),
    ) {
        let (width, height) = if turned { (height, width) } else { (width, height) };
        let file = |name: &str| Some(&case[name]).filter(|value| !value.is_null());
        let processor = Processor::new(&case["config"], file("preprocessor"), file("processor")).unwrap().unwrap();
        if let Ok(prepared) = processor.prepare(&plain(width, height), detail) {
            prop_assert_eq!(prepared.shape.iter().product::<usize>(), prepared.pixels.len());
            prop_assert_eq!(prepared.text.matches(processor.image_token()).count(), prepared.features as usize);
        }
    }

    /// Settings are files that someone downloaded.
    #[test]
    fn settings_never_make_it_panic(
        kind in prop::sample::select(vec!["idefics3", "qwen2_vl", "gemma3", "llava", "mistral3", "internvl", "paligemma", "gemma4"]),
        name in prop::sample::select(vec![
            "size", "patch_size", "merge_size", "temporal_patch_size", "min_pixels", "max_pixels", "max_image_size", "crop_size",
            "image_mean", "image_std", "rescale_factor", "min_patches", "max_patches", "pooling_kernel_size", "resample",
        ]),
        key in prop::sample::select(vec!["shortest_edge", "longest_edge", "height", "width", "max_pixels"]),
        number in prop_oneof![Just(json!(0)), Just(json!(-1)), Just(json!(1e300)), Just(json!("x")), (1..40_u32).prop_map(|x| json!(x)),
            any::<u64>().prop_map(|x| json!(x)), Just(json!([14, 14])), Just(json!([0.5, 0.5, 0.5])), Just(json!(16384))],
        bare: bool,
    ) {
        let value = if bare { number.clone() } else { json!({key: number.clone()}) };
        let mut file = serde_json::Map::new();
        file.insert(name.into(), value);
        let config = json!({"model_type": kind, "vision_config": {"patch_size": 14, "image_size": 28}});
        if let Ok(Some(processor)) = Processor::new(&config, Some(&Value::Object(file)), None) {
            let _ = processor.prepare(&plain(70, 50), Detail::Auto);
        }
    }
}
