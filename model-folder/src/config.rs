//! Values of config.json with which no model computes anything.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// Sizes, and their range. The largest published models stay far below the ends.
const SIZES: [(&str, RangeInclusive<i64>); 12] = [
    ("num_hidden_layers", 1..=10_000),
    ("num_attention_heads", 1..=65_536),
    ("num_key_value_heads", 1..=65_536),
    ("head_dim", 1..=65_536),
    ("hidden_size", 1..=(1 << 20)),
    ("intermediate_size", 1..=(1 << 24)),
    ("moe_intermediate_size", 1..=(1 << 24)),
    ("n_routed_experts", 1..=65_536),
    ("n_shared_experts", 0..=65_536),
    ("rotary_dim", 2..=65_536),
    ("sliding_window_pattern", 1..=10_000),
    ("vocab_size", 1..=(1 << 26)),
];
/// Numbers above 0.
const POSITIVE: [&str; 11] = [
    "rope_theta",
    "rope_local_base_freq",
    "global_rope_theta",
    "local_rope_theta",
    "partial_rotary_factor",
    "embedding_multiplier",
    "attention_multiplier",
    "residual_multiplier",
    "logits_scaling",
    "logit_scale",
    "routed_scaling_factor",
];
/// Numbers of at least 0.
const NOT_NEGATIVE: [&str; 3] = ["rms_norm_eps", "layer_norm_eps", "norm_eps"];
/// Objects with the settings of rotary embeddings, and numbers in them above 0, or lists of such numbers.
const ROPE: [&str; 2] = ["rope_scaling", "rope_parameters"];
const ROPE_POSITIVE: [&str; 9] = [
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "alpha",
    "short_factor",
    "long_factor",
];

/// The first field with an impossible value, as a sentence. Looks into the language model of a vision model, too.
pub fn impossible(config: &Value) -> Option<String> {
    let nested = config.get("text_config").and_then(Value::as_object);
    config.as_object().into_iter().chain(nested).find_map(impossible_field)
}

fn impossible_field(fields: &Map<String, Value>) -> Option<String> {
    let size = |(name, range): &(&str, RangeInclusive<i64>)| {
        let value = fields.get(*name)?;
        // A number beyond i64 is no size either. Other types are the loader's business.
        let fits = value.as_i64().map_or(!value.is_u64(), |size| range.contains(&size));
        (!fits)
            .then(|| format!("{name} is {value}: it must be between {} and {}", range.start(), range.end()))
    };
    let positive = |name: &&str| not_positive("", name, fields.get(*name)?);
    let negative = |name: &&str| {
        let value = fields.get(*name)?;
        value.as_f64().filter(|number| *number < 0.0)?;
        Some(format!("{name} is {value}: it must not be negative"))
    };
    let rope = |name: &&str| impossible_rope(name, fields.get(*name)?);
    let sizes = SIZES.iter().find_map(size);
    let numbers = sizes.or_else(|| POSITIVE.iter().find_map(positive));
    numbers.or_else(|| NOT_NEGATIVE.iter().find_map(negative)).or_else(|| ROPE.iter().find_map(rope))
}

/// The object may hold one for each kind of layer.
fn impossible_rope(path: &str, settings: &Value) -> Option<String> {
    settings.as_object()?.iter().find_map(|(name, value)| match value {
        Value::Object(_) => impossible_rope(&format!("{path}.{name}"), value),
        Value::Array(items) if ROPE_POSITIVE.contains(&name.as_str()) => {
            items.iter().find_map(|item| not_positive(path, name, item))
        }
        _ if ROPE_POSITIVE.contains(&name.as_str()) => not_positive(path, name, value),
        _ => None,
    })
}

fn not_positive(path: &str, name: &str, value: &Value) -> Option<String> {
    value.as_f64().filter(|number| *number <= 0.0)?;
    let dot = if path.is_empty() { "" } else { "." };
    Some(format!("{path}{dot}{name} is {value}: it must be above 0"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn impossible_values_are_named() {
        for (config, expected) in [
            (json!({"rope_theta": 0}), "rope_theta is 0: it must be above 0"),
            (json!({"rope_theta": -1.0}), "rope_theta is -1.0: it must be above 0"),
            (json!({"rms_norm_eps": -1.0}), "rms_norm_eps is -1.0: it must not be negative"),
            (json!({"rope_scaling": {"factor": 0.0}}), "rope_scaling.factor is 0.0: it must be above 0"),
            (
                json!({"rope_parameters": {"full_attention": {"rope_theta": 0}}}),
                "rope_parameters.full_attention.rope_theta is 0: it must be above 0",
            ),
            (json!({"rope_scaling": {"long_factor": [1.0, 0.0]}}), "rope_scaling.long_factor is 0.0"),
            (json!({"rope_scaling": {"alpha": 0}}), "rope_scaling.alpha is 0: it must be above 0"),
            (json!({"logits_scaling": 0.0}), "logits_scaling is 0.0: it must be above 0"),
            (json!({"partial_rotary_factor": -0.5}), "partial_rotary_factor is -0.5: it must be above 0"),
            (json!({"n_shared_experts": -1}), "n_shared_experts is -1: it must be between 0 and 65536"),
            (json!({"num_hidden_layers": 0}), "num_hidden_layers is 0: it must be between 1 and 10000"),
            (json!({"num_hidden_layers": 1_000_000}), "num_hidden_layers is 1000000"),
            (json!({"head_dim": 1_000_000_000}), "head_dim is 1000000000"),
            (json!({"hidden_size": 1u64 << 40}), "hidden_size is 1099511627776"),
            (json!({"hidden_size": u64::MAX}), "hidden_size is 18446744073709551615"),
            (json!({"text_config": {"num_hidden_layers": -1}}), "num_hidden_layers is -1"),
        ] {
            let found = impossible(&config).unwrap_or_default();
            assert!(found.starts_with(expected), "{config}: {found}");
        }
    }

    #[test]
    fn usual_and_missing_values_are_fine() {
        for config in [
            json!({}),
            json!({"rope_theta": null, "rms_norm_eps": 0.0, "head_dim": null, "rope_scaling": null}),
            json!({"num_hidden_layers": 126, "hidden_size": 16_384, "vocab_size": 262_208, "rope_theta": 5e5}),
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "mscale": 0.0, "beta_fast": 32}}),
            json!({"hidden_size": "64"}),
        ] {
            assert_eq!(impossible(&config), None, "{config}");
        }
    }
}
