//! Parses the fields that chat completions and completions share.

use std::collections::BTreeMap;

use ipc_proto::generate::{Generation, Priority, Sampling};
use ipc_proto::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::choices::Telemetry;
use super::output_format::FormatFields;
use crate::inference::labels::Labels;
use crate::inference::request::Streaming;
use crate::protocols::common::body::{Check, check_part};
use crate::protocols::common::checks::{refuse, stop_texts};
use crate::protocols::common::extensions::{ExtensionFields, Extensions};
use crate::protocols::common::labels;
use crate::protocols::common::sampling::SamplingFields;
use crate::protocols::common::unsupported::{Everywhere, Refused};

const MAX_STOP_TOKENS: usize = 64;
const MAX_ID_BYTES: usize = 128;

/// The fields of a request outside the other groups.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's and vLLM's, and so is their meaning")]
pub struct SharedFields {
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub n: Option<u32>,
    pub stop: Option<Stop>,
    pub logit_bias: Option<BTreeMap<String, f32>>,
    pub min_tokens: Option<u32>,
    pub ignore_eos: Option<bool>,
    pub stop_token_ids: Option<Vec<u32>>,
    pub user: Option<String>,
    pub safety_identifier: Option<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub prompt_cache_key: Option<String>,
    pub service_tier: Option<ServiceTier>,
    /// The client's id of the request, as in vLLM. The answer's id ends with it.
    pub request_id: Option<String>,
    /// The id of the conversation, as in vLLM.
    pub session_id: Option<String>,
    /// Reports in a stream how much of the prompt is computed, as in llama.cpp.
    pub return_progress: Option<bool>,
    /// Adds the timings so far to each chunk, as in llama.cpp.
    pub timings_per_token: Option<bool>,
}

/// One stop text or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum Stop {
    /// A string.
    One(String),
    /// A list of strings.
    Many(Vec<String>),
}

impl Stop {
    /// Returns the texts as a list.
    pub fn into_texts(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// Settings of a stream.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub struct StreamOptions {
    /// Adds a last chunk with the token counts.
    pub include_usage: Option<bool>,
    /// Adds the token counts so far to each chunk, as in vLLM.
    pub continuous_usage_stats: Option<bool>,
    /// Only `false` is accepted.
    pub include_obfuscation: Option<bool>,
}

/// The service tier of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub enum ServiceTier {
    Auto,
    Default,
    Flex,
    Scale,
    Priority,
    /// Another name for `priority`.
    Fast,
}

impl ServiceTier {
    /// Returns the tier that serves the request.
    pub fn served(self) -> &'static str {
        match self {
            // This server reserves no capacity, so "scale" has no effect.
            Self::Auto | Self::Default | Self::Scale => "default",
            Self::Flex => "flex",
            Self::Priority | Self::Fast => "priority",
        }
    }

    fn priority(self) -> Priority {
        match self {
            Self::Priority | Self::Fast => Priority::High,
            Self::Flex => Priority::Low,
            Self::Auto | Self::Default | Self::Scale => Priority::Normal,
        }
    }
}

/// The groups of fields that both requests flatten.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct FieldGroups {
    /// Fields outside the other groups.
    #[serde(flatten)]
    pub shared: SharedFields,
    /// Sampling fields.
    #[serde(flatten)]
    pub sampling: SamplingFields,
    /// Constraints of the output.
    #[serde(flatten)]
    pub format: FormatFields,
    /// Extensions of every protocol.
    #[serde(flatten)]
    pub extensions: ExtensionFields,
    /// Unsupported fields.
    #[serde(flatten)]
    pub unsupported: Refused<Everywhere>,
}

/// The parsed fields of all groups.
pub struct Parsed {
    /// A generation with the settings of these groups; the other settings have their defaults.
    pub generation: Generation,
    /// Extensions of every protocol.
    pub extensions: Extensions,
    /// Whether the request sets a priority, or a tier with other than normal priority.
    pub has_priority: bool,
    /// Set if the response is streamed.
    pub stream: Option<Streaming>,
    /// Labels for the audit record.
    pub labels: Labels,
    /// The client's key of requests with a common prefix.
    pub affinity: Option<String>,
    /// The tier that serves the request, if it names one.
    pub tier: Option<&'static str>,
    /// The telemetry in a stream's chunks.
    pub telemetry: Telemetry,
    /// The client's id of the request.
    pub request_id: Option<String>,
}

impl FieldGroups {
    /// The checks that blame a field of these groups.
    pub const PARTS: &'static [Check] = &[
        check_part::<SharedFields>,
        check_part::<SamplingFields>,
        check_part::<FormatFields>,
        check_part::<ExtensionFields>,
    ];

    /// Parses all groups.
    ///
    /// # Errors
    /// Returns an error that names the invalid field.
    pub fn parse(self) -> Result<Parsed> {
        let Self { shared, sampling, format, extensions, unsupported } = self;
        let labels = labels::from_body(&shared.user, &shared.safety_identifier, shared.metadata.as_ref())?;
        let session = labels::first_label(&[("session_id", &shared.session_id)])?;
        let affinity = labels::first_label(&[("prompt_cache_key", &shared.prompt_cache_key)])?;
        let telemetry = telemetry(&shared);
        let sampling: Sampling = sampling.parse(shared.logit_bias.as_ref())?;
        unsupported.check(&sampling)?;
        let stop_tokens = shared.stop_token_ids.unwrap_or_default();
        if stop_tokens.len() > MAX_STOP_TOKENS {
            let text = format!("stop_token_ids: at most {MAX_STOP_TOKENS}, not {}", stop_tokens.len());
            return Err(Error::invalid("stop_token_ids", text));
        }
        let constraint = format.parse()?;
        let extensions = extensions.parse()?;
        let tier = shared.service_tier;
        let priority = extensions.priority.or(tier.map(ServiceTier::priority)).unwrap_or_default();
        let generation = Generation {
            sampling,
            stop: stop_texts("stop", shared.stop.map(Stop::into_texts).unwrap_or_default())?,
            stop_tokens,
            min_tokens: shared.min_tokens.unwrap_or(0),
            ignore_eos: shared.ignore_eos.unwrap_or(false),
            constraint,
            priority,
            time_limit_ms: extensions.time_limit_ms,
            report_progress: telemetry.needs_progress(),
            ..Generation::default()
        };
        Ok(Parsed {
            has_priority: extensions.priority.is_some() || priority != Priority::Normal,
            generation,
            extensions,
            stream: parse_streaming(shared.stream, shared.stream_options)?,
            labels: Labels { session, ..labels },
            affinity,
            telemetry,
            request_id: request_id(shared.request_id)?,
            tier: tier.map(ServiceTier::served),
        })
    }
}

/// Returns the telemetry of a stream. An answer that is not streamed has all of it at its end.
fn telemetry(shared: &SharedFields) -> Telemetry {
    let is_set = |flag: Option<bool>| shared.stream == Some(true) && flag == Some(true);
    Telemetry {
        usage: is_set(shared.stream_options.and_then(|options| options.continuous_usage_stats)),
        timings: is_set(shared.timings_per_token),
        progress: is_set(shared.return_progress),
    }
}

fn request_id(id: Option<String>) -> Result<Option<String>> {
    let is_id =
        |id: &String| (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    if id.as_ref().is_some_and(|id| !is_id(id)) {
        let text = format!("request_id must have 1 to {MAX_ID_BYTES} printable ASCII characters");
        return Err(Error::invalid("request_id", text));
    }
    Ok(id)
}

fn parse_streaming(stream: Option<bool>, options: Option<StreamOptions>) -> Result<Option<Streaming>> {
    let StreamOptions { include_usage, include_obfuscation, .. } = options.unwrap_or_default();
    let obfuscation = include_obfuscation.map(Value::Bool);
    refuse("stream_options.include_obfuscation", &obfuscation, &[json!(false)])?;
    if stream.unwrap_or(false) {
        return Ok(Some(Streaming { include_usage: include_usage.unwrap_or(false) }));
    }
    if options.is_some() {
        return Err(Error::invalid("stream_options", "stream_options is only allowed with stream: true"));
    }
    Ok(None)
}
