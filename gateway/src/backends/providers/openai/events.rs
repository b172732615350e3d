//! Reads streams of OpenAI's chat completions and completions.

use ipc_proto::generate::{Alternative, Delta, Event, FinishReason, Part, TokenLogprob, Usage};
use ipc_proto::{ErrorKind, Result};
use serde_json::Value;

use super::super::count_at;
use super::super::failure::message;
use super::super::translator::{Events, Pieces, Translator, broken, json, reported};

/// The state of one stream.
pub(in super::super) struct Chat {
    choices: Vec<Choice>,
    usage: Usage,
}

#[derive(Default)]
struct Choice {
    pieces: Pieces,
    /// The index of the call whose arguments come now.
    call: Option<u64>,
    has_calls: bool,
    finish: Option<FinishReason>,
}

impl Chat {
    /// A stream of this number of choices.
    pub(in super::super) fn new(choices: usize) -> Self {
        Self { choices: (0..choices).map(|_| Choice::default()).collect(), usage: Usage::default() }
    }
}

impl Translator for Chat {
    fn event(&mut self, data: &str) -> Result<Events> {
        let chunk = json(data)?;
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            let text = message(&chunk).unwrap_or_else(|| error.to_string());
            return Err(reported(kind_of(error), &text));
        }
        if chunk.get("usage").is_some_and(Value::is_object) {
            self.usage = read_usage(&chunk["usage"]);
        }
        let mut events = Events::new();
        for entry in chunk["choices"].as_array().into_iter().flatten() {
            let index = entry["index"].as_u64().unwrap_or(0) as usize;
            let choice = self.choices.get_mut(index);
            let choice =
                choice.ok_or_else(|| broken(&format!("sent choice {index}, which was not asked for")))?;
            events.extend(choice.read(entry)?.map(|event| (index, event)));
        }
        Ok(events)
    }

    fn end(&mut self) -> Result<Events> {
        let mut usage = self.usage;
        let mut events = Events::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let reason = choice.finish.ok_or_else(|| broken("ended its stream before the answer's end"))?;
            events.push((index, Event::Finished { reason, usage }));
            // The counts are for all choices together.
            usage = Usage { prompt_tokens: usage.prompt_tokens, ..Usage::default() };
        }
        Ok(events)
    }
}

impl Choice {
    /// The event of one choice's part of a chunk, if it says anything.
    fn read(&mut self, entry: &Value) -> Result<Option<Event>> {
        let delta = &entry["delta"];
        let mut parts = Vec::new();
        let mut text = |value: &Value, part: fn(String) -> Part| {
            if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
                parts.push(part(text.to_owned()));
            }
        };
        let reasoning =
            if delta["reasoning_content"].is_string() { "reasoning_content" } else { "reasoning" };
        text(&delta[reasoning], Part::Reasoning);
        text(&delta["content"], Part::Text);
        text(&delta["refusal"], Part::Text);
        text(&entry["text"], Part::Text);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            self.read_call(call, &mut parts)?;
        }
        if let Some(reason) = entry["finish_reason"].as_str() {
            self.finish = Some(self.read_reason(reason));
        }
        let logprobs: Vec<TokenLogprob> =
            entry["logprobs"]["content"].as_array().into_iter().flatten().map(read_logprob).collect();
        let event = self.pieces.delta(parts);
        Ok(match event {
            Some(Event::Delta(delta)) => Some(Event::Delta(Delta { logprobs, ..delta })),
            event => event,
        })
    }

    fn read_call(&mut self, call: &Value, parts: &mut Vec<Part>) -> Result<()> {
        let function = &call["function"];
        let index = call["index"].as_u64().unwrap_or(0);
        if self.call != Some(index) {
            if self.call.is_some_and(|last| index < last) {
                return Err(broken("sent arguments of a call after the next one had begun"));
            }
            let name = function["name"].as_str();
            let name = name.ok_or_else(|| broken("sent a call without the function's name"))?.to_owned();
            let id = call["id"].as_str().filter(|id| !id.is_empty());
            let id = id.map_or_else(|| format!("call_{}", uuid::Uuid::new_v4().simple()), str::to_owned);
            parts.push(Part::Call { id, name });
            (self.call, self.has_calls) = (Some(index), true);
        }
        if let Some(arguments) = function["arguments"].as_str().filter(|text| !text.is_empty()) {
            parts.push(Part::Arguments(arguments.to_owned()));
        }
        Ok(())
    }

    fn read_reason(&self, reason: &str) -> FinishReason {
        match reason {
            "length" => FinishReason::Length,
            "content_filter" => FinishReason::Filtered,
            // Some servers say "stop" after a call.
            _ if self.has_calls => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        }
    }
}

/// The token counts of a whole answer.
pub(in super::super) fn usage_of(body: &Value) -> Usage {
    read_usage(&body["usage"])
}

/// The kind of an error inside a stream.
pub(super) fn kind_of(error: &Value) -> ErrorKind {
    match error["code"].as_str() {
        Some("context_length_exceeded") => ErrorKind::ContextLength,
        Some("rate_limit_exceeded") => ErrorKind::RateLimited,
        _ => ErrorKind::Upstream,
    }
}

fn read_usage(usage: &Value) -> Usage {
    Usage {
        prompt_tokens: count_at(usage, "/prompt_tokens"),
        cached_tokens: count_at(usage, "/prompt_tokens_details/cached_tokens"),
        cache_written_tokens: count_at(usage, "/prompt_tokens_details/cache_write_tokens"),
        completion_tokens: count_at(usage, "/completion_tokens"),
        reasoning_tokens: count_at(usage, "/completion_tokens_details/reasoning_tokens"),
    }
}

fn read_logprob(entry: &Value) -> TokenLogprob {
    let top = entry["top_logprobs"].as_array().into_iter().flatten().map(read_alternative).collect();
    TokenLogprob { token: read_alternative(entry), top }
}

fn read_alternative(entry: &Value) -> Alternative {
    let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
    let bytes = entry["bytes"].as_array().map(|bytes| bytes.iter().filter_map(byte).collect());
    let text = || entry["token"].as_str().unwrap_or_default().as_bytes().to_vec();
    Alternative {
        bytes: bytes.unwrap_or_else(text),
        logprob: entry["logprob"].as_f64().map(|value| value as f32),
    }
}
