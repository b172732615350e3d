//! Parses the sampling fields, which have the same names in every protocol.

use std::collections::BTreeMap;

use ipc_proto::generate::Sampling;
use ipc_proto::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

const MAX_BIASES: usize = 1024;

/// The sampling fields of a request. [`SamplingFields::parse`] checks their ranges.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's and vLLM's, and so is their meaning")]
pub struct SamplingFields {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub seed: Option<i64>,
    pub repetition_penalty: Option<f32>,
    /// llama.cpp's name for `repetition_penalty`.
    pub repeat_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
}

impl SamplingFields {
    /// Parses the fields into the neutral form.
    ///
    /// # Errors
    /// Returns an error for a value outside its range.
    pub fn parse(&self, logit_bias: Option<&BTreeMap<String, f32>>) -> Result<Sampling> {
        let repetition_penalty = self.repetition_penalty.or(self.repeat_penalty);
        Ok(Sampling {
            temperature: within("temperature", self.temperature, 0.0, 2.0)?,
            // In OpenAI's API 0 means the likeliest token, but a probability mass of 0 would leave no token.
            top_p: within("top_p", self.top_p, 0.0, 1.0)?.map(|p| p.max(f32::MIN_POSITIVE)),
            top_k: top_k(self.top_k)?,
            min_p: within("min_p", self.min_p, 0.0, 1.0)?,
            // -1 draws a seed in vLLM and llama.cpp.
            seed: self.seed.filter(|seed| *seed != -1).map(i64::cast_unsigned),
            repetition_penalty: within("repetition_penalty", repetition_penalty, 0.01, 100.0)?,
            presence_penalty: within("presence_penalty", self.presence_penalty, -2.0, 2.0)?,
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?,
            logit_bias: logit_bias.map_or_else(|| Ok(Vec::new()), parse_logit_bias)?,
        })
    }
}

fn within(name: &str, value: Option<f32>, low: f32, high: f32) -> Result<Option<f32>> {
    match value {
        Some(number) if !(low..=high).contains(&number) => {
            Err(Error::invalid(name, format!("{name} must lie between {low} and {high}, not {number}")))
        }
        value => Ok(value),
    }
}

/// Converts -1, which keeps all tokens in other local servers, to 0.
fn top_k(value: Option<i64>) -> Result<Option<u32>> {
    let Some(k) = value else { return Ok(None) };
    let k = if k == -1 { 0 } else { k };
    let k = u32::try_from(k).map_err(|_| Error::invalid("top_k", "top_k must be -1, 0 or positive"))?;
    Ok(Some(k))
}

/// Parses pairs of a token id, which is a JSON key, and the bias of its logit.
fn parse_logit_bias(fields: &BTreeMap<String, f32>) -> Result<Vec<(u32, f32)>> {
    let invalid = |text: String| Error::invalid("logit_bias", format!("logit_bias: {text}"));
    if fields.len() > MAX_BIASES {
        return Err(invalid(format!("at most {MAX_BIASES} tokens, not {}", fields.len())));
    }
    let mut biases = Vec::with_capacity(fields.len());
    for (token, bias) in fields {
        let id = token.parse().map_err(|_| invalid(format!("\"{token}\" is no token id")))?;
        if !(-100.0..=100.0).contains(bias) {
            return Err(invalid(format!("{bias} does not lie between -100 and 100")));
        }
        biases.push((id, *bias));
    }
    Ok(biases)
}
