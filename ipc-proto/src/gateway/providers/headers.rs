//! Headers of every request to a provider, by their names.

use std::collections::BTreeMap;

use super::super::text::{is_header_name, is_header_value};

const MAX_HEADERS: usize = 32;
const MAX_VALUE: usize = 1000;
/// Headers that carry secrets, which `api_key` keeps.
const SECRETS: [&str; 5] = ["authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"];
/// Headers that the connection and the body decide.
const OWN: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "accept-encoding",
    "te",
    "upgrade",
];

/// Headers with their names in lower case. They are no secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "BTreeMap<String, String>")]
pub struct ProviderHeaders(BTreeMap<String, String>);

impl From<BTreeMap<String, String>> for ProviderHeaders {
    fn from(headers: BTreeMap<String, String>) -> Self {
        Self(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
    }
}

impl ProviderHeaders {
    /// Each header: its name and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Checks names and values.
    ///
    /// # Errors
    /// The problem, without a value.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.0.len() > MAX_HEADERS {
            return Err(format!("there are more than {MAX_HEADERS}"));
        }
        self.iter().try_for_each(|(name, value)| check(name, value))
    }
}

fn check(name: &str, value: &str) -> Result<(), String> {
    if !is_header_name(name) {
        return Err(format!("\"{name}\" is no name of a header"));
    }
    if SECRETS.contains(&name) {
        return Err(format!("{name} carries a secret, and headers are shown: use api_key"));
    }
    if OWN.contains(&name) {
        return Err(format!("{name} follows from the request"));
    }
    if value.is_empty() || value.len() > MAX_VALUE || !is_header_value(value) {
        return Err(format!("the value of {name} must have 1 to {MAX_VALUE} visible ASCII characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked_without_quoting_their_values() {
        let problem = |name: &str, value: &str| {
            ProviderHeaders::from(BTreeMap::from([(name.to_owned(), value.to_owned())])).check().err()
        };
        assert_eq!(problem("X-Title", "my mlxd"), None);
        assert_eq!(problem("anthropic-beta", "a-1,b-2"), None);
        for (name, value, part) in [
            ("", "hidden", "no name"),
            ("x y", "hidden", "no name"),
            ("Authorization", "hidden", "api_key"),
            ("Host", "hidden", "follows from"),
            ("x-a", "hidden\r\nx-b: c", "visible ASCII"),
            ("x-a", "", "visible ASCII"),
        ] {
            let problem = problem(name, value).unwrap();
            assert!(problem.contains(part) && !problem.contains("hidden"), "{problem}");
        }
    }
}
