use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::text::grammar::tests::{SMOLLM2, schema};

fn accepts(bounds: &Value, text: &str) -> bool {
    SMOLLM2.accepts(&schema(&bounds.to_string()), text)
}

#[test]
fn bounded_numbers_may_have_exponents() {
    let positive = json!({"type": "number", "exclusiveMinimum": 0});
    let unit = json!({"type": "number", "minimum": -1, "exclusiveMaximum": 1});
    let tiny = json!({"type": "number", "exclusiveMinimum": 1.25e-7, "maximum": 3e-6});
    for (bounds, text, expected) in [
        (&positive, "1e-7", true),
        (&positive, "1E-07", true),
        (&positive, "6.02e+23", true),
        (&positive, "2.5e0", true),
        (&positive, "0.25", true),
        (&positive, "-1e-7", false),
        (&positive, "0", false),
        (&positive, "0e5", false),
        (&positive, "1e400", false),
        (&unit, "-1e0", true),
        (&unit, "-9.99e-1", true),
        (&unit, "9.99e-1", true),
        (&unit, "1e0", false),
        (&unit, "-1.1e0", false),
        (&unit, "1e-300", true),
        (&tiny, "1.25e-7", false),
        (&tiny, "1.2500e-7", false),
        (&tiny, "1.2501e-7", true),
        (&tiny, "1.3e-7", true),
        (&tiny, "1.2e-7", false),
        (&tiny, "3.00e-6", true),
        (&tiny, "3.01e-6", false),
        (&tiny, "0.000001", true),
    ] {
        assert_eq!(accepts(bounds, text), expected, "{text} of {bounds}");
    }
}

#[test]
fn bounds_beyond_64_bits_hold() {
    let single =
        json!({"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38});
    let double =
        json!({"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308});
    let unsigned = json!({"type": "integer", "minimum": 0, "maximum": u64::MAX});
    let signed = json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX});
    let large = json!({"type": "integer", "minimum": 1e20, "exclusiveMaximum": 1e21});
    let wide = json!({"type": "integer", "minimum": -1e38, "exclusiveMaximum": 1e300});
    for (bounds, text, expected) in [
        (&single, "12.5", true),
        (&single, "3.4e38", true),
        (&single, "3.5e38", false),
        (&single, "-3.402823466385288e38", true),
        (&double, "1.7e307", true),
        (&double, "1e309", false),
        (&unsigned, "18446744073709551615", true),
        (&unsigned, "18446744073709551616", false),
        (&unsigned, "9999999999999999999", true),
        (&unsigned, "-1", false),
        (&unsigned, "0", true),
        (&signed, "-9223372036854775808", true),
        (&signed, "-9223372036854775809", false),
        (&signed, "9223372036854775807", true),
        (&signed, "9223372036854775808", false),
        (&signed, "7", true),
        (&large, "100000000000000000000", true),
        (&large, "99999999999999999999", false),
        (&large, "999999999999999999999", true),
        (&large, "1000000000000000000000", false),
        (&wide, "-12", true),
        (&wide, "9999999999999999999999999999999999999", true),
        (&wide, "100000000000000000000000000000000000000", false),
    ] {
        assert_eq!(accepts(bounds, text), expected, "{text} of {bounds}");
    }
}

#[test]
fn numbers_inside_other_schemas_may_have_exponents() {
    let positive = json!({"type": "number", "exclusiveMinimum": 0});
    for (schema, text) in [
        (json!({"properties": {"a": positive}, "type": "object", "required": ["a"]}), r#"{"a": 1e-7}"#),
        (json!({"type": "array", "items": {"anyOf": [positive, {"type": "null"}]}}), "[1e-7, null, 2]"),
        (json!({"$ref": "#/$defs/P", "$defs": {"P": positive}}), "1e-7"),
        (json!({"oneOf": [positive, {"type": "string"}]}), "1e-7"),
        (json!({"type": "object", "additionalProperties": positive}), r#"{"b": 1e-7}"#),
    ] {
        assert!(accepts(&schema, text), "{schema}");
    }
}

#[test]
fn numbers_that_are_intersected_keep_their_bounds() {
    let both = json!({"allOf": [{"type": "number", "minimum": 1}, {"type": "number", "maximum": 2}]});
    assert!(accepts(&both, "1.5") && !accepts(&both, "2.5"));
    let overlapping = json!({"oneOf": [{"type": "number", "minimum": 1}, {"type": "number", "maximum": 2}]});
    assert!(SMOLLM2.grammars.compile(&schema(&overlapping.to_string())).unwrap_err().contains("anyOf"));
}

/// Exponents near those of the bounds.
fn number() -> impl Strategy<Value = (i32, i32)> {
    (-99_999i32..99_999, -6i32..6)
}

static CASES: LazyLock<ProptestConfig> = LazyLock::new(|| ProptestConfig::with_cases(150));

proptest! {
    #![proptest_config(CASES.clone())]

    #[test]
    fn text_with_exponent_is_accepted_within_bounds(low in number(), high in number(), text in number(), exclusive: bool) {
        let value = |(digits, exponent): (i32, i32)| format!("{digits}e{exponent}").parse::<f64>().unwrap();
        let (low, high) = (value(low).min(value(high)), value(low).max(value(high)));
        prop_assume!(low < high && text.0 != 0);
        let text = format!("{:e}", value(text));
        let (minimum, maximum) = if exclusive { ("exclusiveMinimum", "exclusiveMaximum") } else { ("minimum", "maximum") };
        let bounds = json!({"type": "number", minimum: low, maximum: high});
        let number: f64 = text.parse().unwrap();
        let expected = if exclusive { low < number && number < high } else { low <= number && number <= high };
        prop_assert_eq!(accepts(&bounds, &text), expected, "{} of {}", text, bounds);
    }

    #[test]
    fn integer_is_accepted_within_bounds(low in -300i64..300, span in 0i64..400, near in -410i64..410, negative: bool) {
        // The same digits further on, so that the bounds are beyond 2^53.
        let base: i128 = if negative { -9_007_199_254_741_000_000 } else { 9_007_199_254_741_000_000 };
        let [low, high, value] = [low, low + span, near].map(|value| base + i128::from(value));
        let bounds = format!(r#"{{"type": "integer", "minimum": {low}, "maximum": {high}}}"#);
        let accepted = SMOLLM2.accepts(&schema(&bounds), &value.to_string());
        prop_assert_eq!(accepted, low <= value && value <= high, "{} of {}", value, bounds);
    }
}
