//! Sizes of memory as people write them.

use serde::de::{Deserialize, Deserializer, Error};

/// No model fits into less.
const LEAST: u64 = 64 << 20;

/// Reads the setting, a text.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(source)?;
    parse(&text).map(Some).map_err(D::Error::custom)
}

/// Bytes of `12GiB`, `8000MB`, `500m`, `60%` (of the machine's memory) or a plain number of bytes.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let bytes = bytes(text.trim(), supervisor::physical_memory())
        .ok_or_else(|| format!("\"{text}\" is no size of memory; write 12GiB, 8000MB or 60%"))?;
    if bytes < LEAST {
        return Err(format!("\"{text}\" is too little for any model; 64MiB is the least"));
    }
    Ok(bytes)
}

fn bytes(text: &str, physical: u64) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "%" if number <= 100.0 => physical as f64 / 100.0,
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_with_any_usual_unit_is_parsed() {
        for (text, expected) in [
            ("12GiB", 12 << 30),
            ("1.5g", 3 << 29),
            ("8000 MB", 8_000_000_000),
            ("512m", 512 << 20),
            ("67108864", 64 << 20),
            ("50%", 500 << 20),
        ] {
            assert_eq!(bytes(text, 1000 << 20), Some(expected), "{text}");
        }
        for text in ["", "many", "-5GiB", "5 elephants", "120%", "1.2.3g"] {
            assert_eq!(bytes(text, 1000 << 20), None, "{text}");
        }
        let error = parse("1MiB").unwrap_err();
        assert!(error.contains("too little"), "{error}");
    }
}
