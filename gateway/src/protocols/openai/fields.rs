//! Fields that chat completions and completions share.

use std::collections::BTreeMap;

use ipc_proto::generate::{Generation, Priority, Sampling};
use ipc_proto::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::output_format::FormatFields;
use crate::inference::labels::Labels;
use crate::inference::request::Streaming;
use crate::protocols::common::checks::{refuse, stop_texts};
use crate::protocols::common::extensions::{ExtensionFields, Extensions};
use crate::protocols::common::labels;
use crate::protocols::common::sampling::SamplingFields;
use crate::protocols::common::unsupported::{Everywhere, Refused};

const MAX_STOP_TOKENS: usize = 64;

/// The fields as clients send them.
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
}

/// One stop text or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum Stop {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// The contents of a stream besides text.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub struct StreamOptions {
    /// Whether a last chunk holds the token counts.
    pub include_usage: Option<bool>,
    /// Only `false` is accepted.
    pub include_obfuscation: Option<bool>,
}

/// The service tier that the client asks for.
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
    /// The tier that served the request.
    pub fn served(self) -> &'static str {
        match self {
            // No capacity is reserved that "scale" could mean.
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

/// The fields of all groups that both requests flatten.
pub struct Groups {
    /// Fields of both endpoints.
    pub shared: SharedFields,
    /// Sampling.
    pub sampling: SamplingFields,
    /// The form of the output.
    pub format: FormatFields,
    /// Extensions of all protocols.
    pub extensions: ExtensionFields,
    /// Fields that are not supported.
    pub unsupported: Refused<Everywhere>,
}

/// The checked fields of all groups.
pub struct Parsed {
    /// A generation with these settings and no others.
    pub generation: Generation,
    /// Extensions of all protocols.
    pub extensions: Extensions,
    /// Whether the request names a priority or a tier other than normal.
    pub has_priority: bool,
    /// Set if the answer is streamed.
    pub stream: Option<Streaming>,
    /// The sender and purpose.
    pub labels: Labels,
    /// The client's key for requests with one beginning.
    pub affinity: Option<String>,
    /// The tier that serves the request, if one was asked for.
    pub tier: Option<&'static str>,
}

impl Groups {
    /// The checked fields.
    ///
    /// # Errors
    /// Naming the field that is wrong.
    pub fn parse(self) -> Result<Parsed> {
        let Self { shared, sampling, format, extensions, unsupported } = self;
        let labels = labels::of_body(&shared.user, &shared.safety_identifier, shared.metadata.as_ref())?;
        let affinity = labels::first(&[("prompt_cache_key", &shared.prompt_cache_key)])?;
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
        let stop = match shared.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => vec![text],
            Some(Stop::Many(texts)) => texts,
        };
        let generation = Generation {
            sampling,
            stop: stop_texts("stop", stop)?,
            stop_tokens,
            min_tokens: shared.min_tokens.unwrap_or(0),
            ignore_eos: shared.ignore_eos.unwrap_or(false),
            constraint,
            priority,
            time_limit_ms: extensions.time_limit_ms,
            ..Generation::default()
        };
        Ok(Parsed {
            has_priority: extensions.priority.is_some() || priority != Priority::Normal,
            generation,
            extensions,
            stream: streaming(shared.stream, shared.stream_options)?,
            labels,
            affinity,
            tier: tier.map(ServiceTier::served),
        })
    }
}

fn streaming(stream: Option<bool>, options: Option<StreamOptions>) -> Result<Option<Streaming>> {
    let StreamOptions { include_usage, include_obfuscation } = options.unwrap_or_default();
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
