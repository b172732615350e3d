//! Checks requests and turns them into neutral ones. Pure.
//!
//! What has no effect on the output is let through; what would change it and is not built is refused by name, never
//! ignored.

use std::collections::BTreeMap;

use ipc_proto::generate::{
    ChatPrompt, Constraint, Generation, Logprobs, Priority, Prompt, Sampling, ToolChoice,
};
use ipc_proto::supervisor::KeepAlive;
use ipc_proto::{Error, Result};
use serde_json::{Value, json};

use self::choices::{Form, ValidChoices};
use self::formats::{Formats, formats};
use self::labels::Labels;
use self::thinking::Wish;
use self::tools::Tools;
use crate::api::openai::chat::{self, ServiceTier, Stop, StreamOptions};

pub mod anthropic;
pub mod choices;
pub mod embeddings;
mod foreign;
mod formats;
pub(crate) mod keep_alive;
pub mod labels;
pub mod prompts;
pub mod responses;
mod thinking;
mod tools;
mod turns;

pub use self::completions::completion;

/// A request that was checked. Only this module makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidRequest {
    /// The model's name as the client gave it.
    pub model: String,
    /// What to generate.
    pub generation: Generation,
    /// Further prompts, for each of which the same is generated.
    pub more_prompts: Vec<Prompt>,
    /// Outputs to generate for each prompt; at least 1.
    pub choices: u32,
    /// The client's part of the scope in which cached text is shared.
    pub cache_salt: String,
    /// Set when the answer is to be streamed.
    pub stream: Option<Streaming>,
    /// How long the model stays when it falls idle, where the request says.
    pub keep_alive: Option<KeepAlive>,
    /// What is recorded of its sender and purpose.
    pub labels: Labels,
    /// Requests of one name go to the same worker, whose cache knows their beginning.
    pub affinity: Option<String>,
}

impl ValidRequest {
    /// The same, with what its headers say of its sender. Requests of one conversation go to the same worker.
    #[must_use]
    pub fn sent_by(mut self, sender: Labels) -> Self {
        self.labels = self.labels.or(sender);
        self.affinity = self.affinity.or_else(|| self.labels.session.clone());
        self
    }
}

/// Prompts that are counted or shown, and not continued.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidPrompts {
    /// The model's name as the client gave it.
    pub model: String,
    /// What is looked at.
    pub prompts: Vec<Prompt>,
    /// How long the model stays when it falls idle, where the request says.
    pub keep_alive: Option<KeepAlive>,
    /// Milliseconds from its arrival after which it has failed.
    pub time_limit_ms: Option<u32>,
}

/// How to stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streaming {
    /// Whether a last chunk tells the token counts.
    pub include_usage: bool,
}

/// What both endpoints take for the choice of tokens, as the client gave it.
struct Asked<'a> {
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    min_p: Option<f32>,
    seed: Option<i64>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    logit_bias: Option<&'a BTreeMap<String, f32>>,
}

/// An [`Asked`] of either request.
macro_rules! asked {
    ($request:expr) => {
        asked!($request, top_k: $request.top_k, logit_bias: $request.logit_bias.as_ref())
    };
    ($request:expr, top_k: $top_k:expr, logit_bias: $logit_bias:expr) => {
        Asked {
            temperature: $request.temperature,
            top_p: $request.top_p,
            top_k: $top_k,
            min_p: $request.min_p,
            seed: $request.seed,
            repetition_penalty: $request.repetition_penalty.or($request.repeat_penalty),
            presence_penalty: $request.presence_penalty,
            frequency_penalty: $request.frequency_penalty,
            logit_bias: $logit_bias,
        }
    };
}
use asked;

/// The settings of either request that other servers have beside OpenAI's, and ours.
macro_rules! extras {
    ($request:expr) => {
        extras(Extras {
            constraint: formats::constraint(formats!($request))?,
            stop_tokens: $request.stop_token_ids.take().unwrap_or_default(),
            min_tokens: $request.min_tokens,
            ignore_eos: $request.ignore_eos,
            priority: $request.priority,
            service_tier: $request.service_tier,
            cache_salt: $request.cache_salt.take(),
            timeout: $request.timeout,
        })
    };
}

// After the macros, which it uses.
mod completions;

/// What `extras!` gathers.
#[derive(Default)]
struct Extras {
    constraint: Option<Constraint>,
    stop_tokens: Vec<u32>,
    min_tokens: Option<u32>,
    ignore_eos: Option<bool>,
    priority: Option<chat::Priority>,
    service_tier: Option<ServiceTier>,
    cache_salt: Option<String>,
    timeout: Option<f64>,
}

const MAX_STOPS: usize = 16;
const MAX_SALT_BYTES: usize = 256;
const MAX_TOP_LOGPROBS: u8 = 20;
/// A day.
const MAX_TIMEOUT_SECONDS: f64 = 86_400.0;
const MAX_STOP_BYTES: usize = 1024;
const MAX_BIASES: usize = 1024;
const MAX_STOP_TOKENS: usize = 64;
const MAX_MODEL_BYTES: usize = 512;

/// Checks a chat request.
///
/// # Errors
/// Naming the field that is wrong.
pub fn chat(mut request: chat::Request) -> Result<ValidChoices> {
    refused(&request)?;
    let labels = labels::of_body(&request.user, &request.safety_identifier, request.metadata.as_ref())?;
    let affinity = labels::first(&[("prompt_cache_key", &request.prompt_cache_key)])?;
    let tools = tools::of(&mut request)?;
    let wish = Wish::of_chat(&request)?;
    let hide_reasoning = wish.hidden;
    let reasoning_budget = wish.budget;
    let template_kwargs = template_kwargs(&mut request, wish);
    let candidates = choices::count("n", request.n)?;
    let sampling = sampling(&asked!(request))?;
    foreign::refuse(&request.foreign, &sampling)?;
    let (mut extras, cache_salt) = extras!(request)?;
    let logprobs = logprobs(request.logprobs, request.top_logprobs)?;
    let background = turns::is_background_task(&request.messages);
    if background && request.priority.is_none() && extras.priority == Priority::Normal {
        extras.priority = Priority::Low;
    }
    let continues = continues(&request)?;
    let messages = turns::of(request.messages)?;
    turns::continued("continue_final_message", continues, &messages)?;
    let max_tokens = match (request.max_completion_tokens, request.max_tokens) {
        (Some(tokens), _) => limit("max_completion_tokens", Some(tokens))?,
        (None, tokens) => limit("max_tokens", tokens)?,
    };
    let Tools { tools, choice: tool_choice, parallel: parallel_calls, legacy } = tools;
    let calls = matches!(tool_choice, ToolChoice::Required | ToolChoice::Named(_));
    if calls && extras.constraint.is_some() {
        let text = "response_format: an answer that must call a function cannot have a format as well";
        return Err(Error::invalid("response_format", text));
    }
    if continues && (calls || extras.constraint.is_some()) {
        let text =
            "continue_final_message: an answer with a format, or that must call a function, begins anew";
        return Err(Error::invalid("continue_final_message", text));
    }
    let prompt = ChatPrompt {
        messages,
        tools,
        tool_choice,
        parallel_calls,
        template_kwargs,
        continues,
        sanitize_control_tokens: request.sanitize_control_tokens,
    };
    let generation = Generation {
        prompt: Prompt::Chat(prompt),
        sampling,
        stop: stop(request.stop)?,
        max_tokens,
        logprobs,
        reasoning_budget,
        ..extras
    };
    let stream = streaming(request.stream, request.stream_options)?;
    let tier = request.service_tier.map(tier_name);
    let form = Form {
        candidates,
        told: candidates,
        legacy,
        logprobs: logprobs.is_some(),
        tier,
        hide_reasoning,
        ..Form::default()
    };
    let keep_alive = keep_alive::checked(request.keep_alive)?;
    let model = model(request.model)?;
    let choices = candidates as u32;
    let more_prompts = Vec::new();
    let request = ValidRequest {
        model,
        generation,
        more_prompts,
        choices,
        cache_salt,
        stream,
        keep_alive,
        labels,
        affinity,
    };
    ValidChoices::new(request, form)
}

/// What changes the answer and is not built.
fn refused(request: &chat::Request) -> Result<()> {
    refuse("modalities", &request.modalities, &[json!(["text"])])?;
    refuse("audio", &request.audio, &[])?;
    refuse("prediction", &request.prediction, &[])?;
    refuse("web_search_options", &request.web_search_options, &[])?;
    refuse("verbosity", &request.verbosity, &[json!("medium")])?;
    refuse("store", &request.store.map(Value::Bool), &[json!(false)])?;
    refuse("prompt_cache_retention", &request.prompt_cache_retention, &retentions())?;
    refuse("prompt_cache_options", &request.prompt_cache_options, &[])?;
    refuse("moderation", &request.moderation, &[])
}

/// What is cached stays in memory.
fn retentions() -> [Value; 2] {
    [json!("in_memory"), json!("in-memory")]
}

/// Whether the last turn, which is the model's, is gone on with.
fn continues(request: &chat::Request) -> Result<bool> {
    match (request.continue_final_message, request.add_generation_prompt) {
        (Some(true), Some(true)) => {
            let text = "continue_final_message cannot be given together with add_generation_prompt";
            Err(Error::invalid("continue_final_message", text))
        }
        (continues, _) => Ok(continues.unwrap_or(false)),
    }
}

/// Variables of the chat template: thinking, documents and the client's own, which win.
fn template_kwargs(request: &mut chat::Request, wish: Wish) -> Option<String> {
    let mut own = serde_json::Map::new();
    if let Some(documents) = request.documents.take() {
        own.insert("documents".into(), documents.into());
    }
    if let Some(false) =
        request.add_generation_prompt.filter(|_| request.continue_final_message != Some(true))
    {
        own.insert("add_generation_prompt".into(), false.into());
    }
    own.extend(request.chat_template_kwargs.take().unwrap_or_default());
    wish.template_kwargs(Some(own))
}

fn tier_name(tier: ServiceTier) -> &'static str {
    match tier {
        // Nothing is set aside here that "scale" could mean.
        ServiceTier::Auto | ServiceTier::Default | ServiceTier::Scale => "default",
        ServiceTier::Flex => "flex",
        ServiceTier::Priority | ServiceTier::Fast => "priority",
    }
}

/// A generation that has these settings and no others, and the client's part of its cache scope.
fn extras(extras: Extras) -> Result<(Generation, String)> {
    let Extras {
        constraint,
        stop_tokens,
        min_tokens,
        ignore_eos,
        priority,
        service_tier,
        cache_salt,
        timeout,
    } = extras;
    if stop_tokens.len() > MAX_STOP_TOKENS {
        let text = format!("stop_token_ids: at most {MAX_STOP_TOKENS}, not {}", stop_tokens.len());
        return Err(Error::invalid("stop_token_ids", text));
    }
    let cache_salt = cache_salt.unwrap_or_default();
    if cache_salt.len() > MAX_SALT_BYTES {
        let text = format!("cache_salt must have at most {MAX_SALT_BYTES} bytes");
        return Err(Error::invalid("cache_salt", text));
    }
    let time_limit_ms = time_limit_ms(timeout)?;
    let generation = Generation {
        constraint,
        stop_tokens,
        min_tokens: min_tokens.unwrap_or(0),
        ignore_eos: ignore_eos.unwrap_or(false),
        priority: match (priority, service_tier) {
            (Some(chat::Priority::High), _) | (None, Some(ServiceTier::Priority | ServiceTier::Fast)) => {
                Priority::High
            }
            (Some(chat::Priority::Low), _) | (None, Some(ServiceTier::Flex)) => Priority::Low,
            (Some(chat::Priority::Normal) | None, _) => Priority::Normal,
        },
        time_limit_ms,
        ..Generation::default()
    };
    Ok((generation, cache_salt))
}

/// `timeout`, of any endpoint.
fn time_limit_ms(timeout: Option<f64>) -> Result<Option<u32>> {
    match timeout {
        None => Ok(None),
        // Rounded up: none is shorter than asked, and none is 0.
        Some(seconds) if seconds > 0.0 && seconds <= MAX_TIMEOUT_SECONDS => {
            Ok(Some((seconds * 1e3).ceil() as u32))
        }
        Some(_) => {
            let text = format!("timeout must be a number of seconds above 0, at most {MAX_TIMEOUT_SECONDS}");
            Err(Error::invalid("timeout", text))
        }
    }
}

fn logprobs(wanted: Option<bool>, top: Option<u8>) -> Result<Option<Logprobs>> {
    match (wanted.unwrap_or(false), top.unwrap_or(0)) {
        (_, top) if top > MAX_TOP_LOGPROBS => {
            let text = format!("top_logprobs must lie between 0 and {MAX_TOP_LOGPROBS}, not {top}");
            Err(Error::invalid("top_logprobs", text))
        }
        (true, top) => Ok(Some(Logprobs { top, prompt: false })),
        (false, 0) => Ok(None),
        (false, _) => Err(Error::invalid("top_logprobs", "top_logprobs is only allowed with logprobs: true")),
    }
}

fn refuse(name: &str, value: &Option<Value>, neutral: &[Value]) -> Result<()> {
    match value {
        Some(value) if !value.is_null() && !neutral.contains(value) => {
            Err(Error::invalid(name, format!("{name} is not supported by this server yet")))
        }
        _ => Ok(()),
    }
}

fn model(name: String) -> Result<String> {
    if name.is_empty() || name.len() > MAX_MODEL_BYTES || name.contains('\0') {
        return Err(Error::invalid("model", "model must be a model's id (GET /v1/models lists them)"));
    }
    Ok(name)
}

fn limit(name: &str, tokens: Option<u32>) -> Result<Option<u32>> {
    match tokens {
        Some(0) => Err(Error::invalid(name, format!("{name} must be at least 1"))),
        tokens => Ok(tokens),
    }
}

fn sampling(asked: &Asked) -> Result<Sampling> {
    let within = |name: &str, value: Option<f32>, low: f32, high: f32| match value {
        Some(number) if !(low..=high).contains(&number) => {
            Err(Error::invalid(name, format!("{name} must lie between {low} and {high}, not {number}")))
        }
        value => Ok(value),
    };
    let top_k = match asked.top_k {
        // -1 is what other local servers take for "all".
        None | Some(-1) => asked.top_k.map(|_| 0),
        Some(k) => {
            Some(u32::try_from(k).map_err(|_| Error::invalid("top_k", "top_k must be -1, 0 or positive"))?)
        }
    };
    Ok(Sampling {
        temperature: within("temperature", asked.temperature, 0.0, 2.0)?,
        // Nothing is left at 0; OpenAI takes it, and means the likeliest token.
        top_p: within("top_p", asked.top_p, 0.0, 1.0)?.map(|p| p.max(f32::MIN_POSITIVE)),
        top_k,
        min_p: within("min_p", asked.min_p, 0.0, 1.0)?,
        seed: asked.seed.map(i64::cast_unsigned),
        repetition_penalty: within("repetition_penalty", asked.repetition_penalty, 0.01, 100.0)?,
        presence_penalty: within("presence_penalty", asked.presence_penalty, -2.0, 2.0)?,
        frequency_penalty: within("frequency_penalty", asked.frequency_penalty, -2.0, 2.0)?,
        logit_bias: logit_bias(asked.logit_bias.unwrap_or(&BTreeMap::new()))?,
    })
}

/// Token ids, which JSON has as strings, and what is added to their logits.
fn logit_bias(asked: &BTreeMap<String, f32>) -> Result<Vec<(u32, f32)>> {
    let wrong = |text: String| Error::invalid("logit_bias", format!("logit_bias: {text}"));
    if asked.len() > MAX_BIASES {
        return Err(wrong(format!("at most {MAX_BIASES} tokens, not {}", asked.len())));
    }
    let pair = |(token, bias): (&String, &f32)| {
        let id = token.parse().map_err(|_| wrong(format!("\"{token}\" is no token id")))?;
        match (-100.0..=100.0).contains(bias) {
            true => Ok((id, *bias)),
            false => Err(wrong(format!("{bias} does not lie between -100 and 100"))),
        }
    };
    asked.iter().map(pair).collect()
}

fn stop(stop: Option<Stop>) -> Result<Vec<String>> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Many(texts)) => texts,
    };
    if stops.len() > MAX_STOPS {
        return Err(Error::invalid("stop", format!("stop: at most {MAX_STOPS} texts, not {}", stops.len())));
    }
    if stops.iter().any(|text| text.is_empty() || text.len() > MAX_STOP_BYTES) {
        let text = format!("stop: every text must have between 1 and {MAX_STOP_BYTES} bytes");
        return Err(Error::invalid("stop", text));
    }
    Ok(stops)
}

fn streaming(stream: Option<bool>, options: Option<StreamOptions>) -> Result<Option<Streaming>> {
    let StreamOptions { include_usage, include_obfuscation } = options.unwrap_or_default();
    let obfuscation = include_obfuscation.map(Value::Bool);
    refuse("stream_options.include_obfuscation", &obfuscation, &[json!(false)])?;
    match (stream.unwrap_or(false), options) {
        (true, _) => Ok(Some(Streaming { include_usage: include_usage.unwrap_or(false) })),
        (false, Some(_)) => {
            Err(Error::invalid("stream_options", "stream_options is only allowed with stream: true"))
        }
        (false, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
