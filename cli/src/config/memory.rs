//! Sizes of memory as people write them.

use super::ConfigError;

/// Nothing runs in less.
const LEAST: u64 = 64 << 20;

/// Bytes of `12GiB`, `8000MB`, `500m`, `60%` (of the machine's memory) or a plain number of bytes.
pub(super) fn parse(name: &'static str, text: &str) -> Result<u64, ConfigError> {
    let problem = |problem: String| ConfigError::Value { name, problem };
    let bytes = bytes(text.trim(), supervisor::physical_memory());
    let bytes = bytes
        .ok_or_else(|| problem(format!("\"{text}\" is no size of memory; write 12GiB, 8000MB or 60%")))?;
    match bytes {
        LEAST.. => Ok(bytes),
        _ => Err(problem(format!("\"{text}\" is too little for any model; 64MiB is the least"))),
    }
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
    fn sizes_are_read_as_people_write_them() {
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
        let error = parse("--memory", "1MiB").unwrap_err().to_string();
        assert!(error.starts_with("--memory") && error.contains("too little"), "{error}");
    }
}
