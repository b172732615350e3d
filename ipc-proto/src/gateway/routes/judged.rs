//! Conditions of routes that a local model judges: a sentence, and nearness to examples.

use super::Route;

/// The longest sentence, in bytes.
const MAX_SENTENCE: usize = 500;
/// The greatest number of examples of one route.
const MAX_EXAMPLES: usize = 64;
/// The longest example, in bytes.
const MAX_EXAMPLE: usize = 2000;

/// Nearness of a message to examples, by the vectors of an embedding model.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "RouteExamples"))]
#[serde(deny_unknown_fields)]
pub struct Similar {
    /// The examples. The nearest one counts.
    pub examples: Vec<String>,
    /// The least cosine of message and example, above 0 and up to 1.
    pub at_least: f64,
    /// The embedding model of this machine; otherwise that of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Route {
    /// Whether a condition needs a model that judges.
    pub fn is_judged(&self) -> bool {
        self.sentence.is_some() || self.similar.is_some()
    }

    pub(super) fn check_judged(&self) -> Result<(), String> {
        if let Some(sentence) = &self.sentence
            && (sentence.trim().is_empty() || sentence.len() > MAX_SENTENCE)
        {
            return Err(format!("sentence must have 1 to {MAX_SENTENCE} bytes"));
        }
        match &self.judge {
            Some(_) if self.sentence.is_none() => {
                return Err("judge: there is no sentence that it could judge".into());
            }
            Some(name) if name.is_empty() => return Err("judge: it is empty".into()),
            _ => {}
        }
        self.similar
            .as_ref()
            .map_or(Ok(()), |similar| similar.check().map_err(|problem| format!("similar: {problem}")))
    }
}

impl Similar {
    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_EXAMPLES).contains(&self.examples.len()) {
            return Err(format!("examples must be 1 to {MAX_EXAMPLES} texts"));
        }
        let fits = |text: &String| !text.trim().is_empty() && text.len() <= MAX_EXAMPLE;
        if !self.examples.iter().all(fits) {
            return Err(format!("each of examples must have 1 to {MAX_EXAMPLE} bytes"));
        }
        if !(self.at_least > 0.0 && self.at_least <= 1.0) {
            return Err("at_least must lie above 0 and not above 1".into());
        }
        if self.model.as_deref() == Some("") {
            return Err("model is empty".into());
        }
        Ok(())
    }
}
