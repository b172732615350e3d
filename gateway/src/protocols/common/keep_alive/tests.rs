use super::KeepAlive::{Seconds, Text};

use super::*;

fn neutral(asked: KeepAlive) -> Option<supervisor::KeepAlive> {
    parse(Some(asked)).ok().flatten()
}

#[test]
fn durations_parse_as_in_ollama() {
    assert_eq!(parse(None).unwrap(), None);
    for (number, seconds) in [(0.0, 0), (30.0, 30), (0.2, 1), (1e6, 1_000_000)] {
        assert_eq!(neutral(Seconds(number)), Some(supervisor::KeepAlive::Seconds(seconds)), "{number}");
    }
    for (text, seconds) in
        [("5m", 300), ("1h30m", 5400), ("24h", 86_400), ("90", 90), ("0", 0), ("1.5s", 2), ("10ms", 1)]
    {
        assert_eq!(neutral(Text(text.into())), Some(supervisor::KeepAlive::Seconds(seconds)), "{text}");
    }
    for asked in [Seconds(-1.0), Seconds(1e12), Text("-1".into()), Text("-1m".into())] {
        assert_eq!(neutral(asked.clone()), Some(supervisor::KeepAlive::Forever), "{asked:?}");
    }
}

#[test]
fn invalid_duration_is_refused() {
    let long = "1".repeat(100) + "s";
    for text in ["", "m", "5 m", "5x", "five", "1.2.3s", "--5m", "-", "inf", "NaN", "5m3", &long, "5µ", "é"]
    {
        let error = parse(Some(Text(text.into()))).unwrap_err();
        assert_eq!(error.field, Some("keep_alive".into()), "{text}");
    }
    assert!(parse(Some(Seconds(f64::NAN))).is_err());
}
