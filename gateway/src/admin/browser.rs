//! A short name for a browser, from its `User-Agent`, so that people recognise their sessions.

const MAX_CHARS: usize = 60;
const UNKNOWN: &str = "unknown browser";

/// Browsers by the product that only they name. Those that also name another's stand before it.
const BROWSERS: [(&str, &str); 9] = [
    ("EdgA/", "Edge"),
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
/// Systems likewise.
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// The name of the browser with this `User-Agent`, such as `Firefox, Linux`.
pub fn name(agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser}, {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => program(agent),
    }
}

/// The first product, as programs name themselves: `curl/8.5.0`.
fn program(agent: &str) -> String {
    let product = agent.split_whitespace().next().unwrap_or_default();
    let shown: String = product.chars().filter(char::is_ascii_graphic).take(MAX_CHARS).collect();
    if shown.is_empty() { UNKNOWN.to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_recognised() {
        for (agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Linux"),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                "Safari, macOS",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0",
                "Edge, Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome, Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile Safari/604.1",
                "Chrome, iPhone",
            ),
            ("curl/8.5.0", "curl/8.5.0"),
            ("", UNKNOWN),
            ("\u{1b}[31m", "[31m"),
        ] {
            assert_eq!(name(agent), expected);
        }
        assert_eq!(name(&"a".repeat(1000)).len(), MAX_CHARS);
    }
}
