//! Reads streams of Anthropic's Messages.

use ipc_proto::generate::{Event, FinishReason, Part, Usage};
use ipc_proto::{ErrorKind, Result};
use serde_json::Value;

use super::super::count_at;
use super::super::failure::message;
use super::super::translator::{Events, Pieces, Translator, broken, json, reported};

/// The state of one stream.
pub(in super::super) struct Messages {
    /// The texts that end the output, as the request gave them.
    stops: Vec<String>,
    pieces: Pieces,
    usage: Usage,
    finish: Option<FinishReason>,
    /// A call has begun and has no arguments yet.
    is_bare_call: bool,
}

impl Messages {
    /// A stream whose request had these stop texts.
    pub(in super::super) fn new(stops: &[String]) -> Self {
        Self {
            stops: stops.to_vec(),
            pieces: Pieces::default(),
            usage: Usage::default(),
            finish: None,
            is_bare_call: false,
        }
    }

    fn read_block(&mut self, block: &Value) -> Result<Vec<Part>> {
        if block["type"] != "tool_use" {
            return Ok(Vec::new());
        }
        let (Some(id), Some(name)) = (block["id"].as_str(), block["name"].as_str()) else {
            return Err(broken("sent a call without id and name"));
        };
        self.is_bare_call = true;
        Ok(vec![Part::Call { id: id.to_owned(), name: name.to_owned() }])
    }

    fn read_delta(&mut self, delta: &Value) -> Vec<Part> {
        let text = |name: &str| delta[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        match delta["type"].as_str() {
            Some("text_delta") => text("text").map(Part::Text),
            Some("thinking_delta") => text("thinking").map(Part::Reasoning),
            Some("input_json_delta") => {
                let arguments = text("partial_json").map(Part::Arguments);
                self.is_bare_call &= arguments.is_none();
                arguments
            }
            // Signatures and citations have no neutral form.
            _ => None,
        }
        .into_iter()
        .collect()
    }

    /// The end of a block. A call without arguments has none in its stream.
    fn end_block(&mut self) -> Vec<Part> {
        let is_bare = std::mem::take(&mut self.is_bare_call);
        if is_bare { vec![Part::Arguments("{}".into())] } else { Vec::new() }
    }

    fn read_usage(&mut self, usage: &Value) {
        let newest = |known: &mut u32, count: u32| *known = (*known).max(count);
        let cached = count_at(usage, "/cache_read_input_tokens");
        let written = count_at(usage, "/cache_creation_input_tokens");
        // The protocol counts cached tokens apart.
        let prompt = count_at(usage, "/input_tokens").saturating_add(cached).saturating_add(written);
        newest(&mut self.usage.prompt_tokens, prompt);
        newest(&mut self.usage.cached_tokens, cached);
        newest(&mut self.usage.cache_written_tokens, written);
        newest(&mut self.usage.completion_tokens, count_at(usage, "/output_tokens"));
        newest(&mut self.usage.reasoning_tokens, count_at(usage, "/output_tokens_details/thinking_tokens"));
    }

    fn read_stop(&self, delta: &Value) -> Option<FinishReason> {
        let stop = delta["stop_sequence"].as_str();
        let at = stop.and_then(|stop| self.stops.iter().position(|text| text == stop));
        Some(match delta["stop_reason"].as_str()? {
            "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
            "tool_use" => FinishReason::ToolCalls,
            "refusal" => FinishReason::Filtered,
            "stop_sequence" => {
                at.and_then(|at| u8::try_from(at).ok()).map_or(FinishReason::Stop, FinishReason::StopText)
            }
            _ => FinishReason::Stop,
        })
    }
}

impl Translator for Messages {
    fn event(&mut self, data: &str) -> Result<Events> {
        let event = json(data)?;
        let parts = match event["type"].as_str() {
            Some("message_start") => {
                self.read_usage(&event["message"]["usage"]);
                Vec::new()
            }
            Some("content_block_start") => self.read_block(&event["content_block"])?,
            Some("content_block_delta") => self.read_delta(&event["delta"]),
            Some("content_block_stop") => self.end_block(),
            Some("message_delta") => {
                self.read_usage(&event["usage"]);
                self.finish = self.read_stop(&event["delta"]).or(self.finish);
                Vec::new()
            }
            Some("error") => {
                let text = message(&event).unwrap_or_else(|| event.to_string());
                return Err(reported(kind_of(&event), &text));
            }
            _ => Vec::new(),
        };
        Ok(self.pieces.delta(parts).map(|event| (0, event)).into_iter().collect())
    }

    fn end(&mut self) -> Result<Events> {
        let reason = self.finish.ok_or_else(|| broken("ended its stream before the answer's end"))?;
        Ok(vec![(0, Event::Finished { reason, usage: self.usage })])
    }
}

/// The token counts of a whole answer.
pub(in super::super) fn usage_of(body: &Value) -> Usage {
    let mut counts = Messages::new(&[]);
    counts.read_usage(&body["usage"]);
    counts.usage
}

/// The kind of an error inside the stream.
fn kind_of(event: &Value) -> ErrorKind {
    match event["error"]["type"].as_str() {
        Some("overloaded_error") => ErrorKind::Overloaded,
        Some("rate_limit_error") => ErrorKind::RateLimited,
        _ => ErrorKind::Upstream,
    }
}
