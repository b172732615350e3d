//! Settings of the local models that judge what a message is about, for conditions of routes.

use serde::de::Deserializer;

use super::within;

/// The models that judge where a route names none, and the bounds of all judging.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeSettings {
    /// The model of this machine that says whether a sentence is true of a message.
    pub model: Option<String>,
    /// The model of this machine that compares messages with examples.
    pub embedding_model: Option<String>,
    /// Milliseconds that all judging for one request may take together.
    #[serde(deserialize_with = "timeout_ms")]
    pub timeout_ms: u32,
    /// The greatest part of a message that is judged, in bytes.
    #[serde(deserialize_with = "max_prompt_bytes")]
    pub max_prompt_bytes: u32,
}

impl Default for JudgeSettings {
    fn default() -> Self {
        Self { model: None, embedding_model: None, timeout_ms: 1000, max_prompt_bytes: 4000 }
    }
}

fn timeout_ms<'de, D: Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
    within::<1, 60_000, _>(source)
}

fn max_prompt_bytes<'de, D: Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
    within::<16, 100_000, _>(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_with_the_bounds() {
        let parse =
            |text: &str| serde_json::from_str::<JudgeSettings>(text).map_err(|error| error.to_string());
        assert_eq!(parse("{}"), Ok(JudgeSettings::default()));
        for (text, part) in [
            (r#"{"timeout_ms": 0}"#, "between 1 and 60000"),
            (r#"{"max_prompt_bytes": 15}"#, "between 16 and 100000"),
            (r#"{"modell": "m"}"#, "modell"),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
