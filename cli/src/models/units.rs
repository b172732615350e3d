//! Sizes, rates and times for people, and sizes from people. Pure.

use std::time::Duration;

/// Bytes in decimal units, as disks and downloads are measured.
pub(crate) fn bytes(count: u64) -> String {
    let count = count as f64;
    match count {
        count if count >= 1e12 => format!("{:.1} TB", count / 1e12),
        count if count >= 1e9 => format!("{:.1} GB", count / 1e9),
        count if count >= 1e6 => format!("{:.1} MB", count / 1e6),
        count if count >= 1e3 => format!("{:.1} kB", count / 1e3),
        count => format!("{count} B"),
    }
}

/// A time in its two largest units.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1} s", time.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Reads a size such as 10MB, 1.5GB or 500kB; a number alone is bytes.
///
/// # Errors
/// Another text. The sentence says what is allowed.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no size: write for example 500kB, 10MB or 1.5GB");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_lowercase().as_str() {
        "" | "b" => 1e0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        _ => return Err(wrong()),
    };
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * factor;
    if bytes >= 1.0 { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_fitting_units() {
        assert_eq!(
            [0, 999, 1500, 2_500_000, 7_900_000_000].map(bytes),
            ["0 B", "999 B", "1.5 kB", "2.5 MB", "7.9 GB"]
        );
        let times = [300, 65_000, 7_260_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(times, ["0.3 s", "1 min 5 s", "2 h 1 min"]);
    }

    #[test]
    fn size_of_a_user_has_a_unit() {
        assert_eq!(parse_bytes("1.5GB"), Ok(1_500_000_000));
        assert_eq!(parse_bytes("500k"), Ok(500_000));
        assert_eq!(parse_bytes("7"), Ok(7));
        for wrong in ["", "fast", "10 parsecs", "-1", "0", "1.2.3MB"] {
            assert!(parse_bytes(wrong).unwrap_err().contains("10MB"), "{wrong}");
        }
    }
}
