//! Messages: events → JSON or a stream of blocks.

use ipc_proto::Error;
use ipc_proto::generate::{self, FinishReason, Part};
use serde_json::{Map, Value};

use crate::dispatch::sse;
use crate::dispatch::writer::Wire;
use crate::inference::output::Whole;
use crate::protocols::anthropic::error;
use crate::protocols::anthropic::messages::events::{Delta, Event, MessageDelta};
use crate::protocols::anthropic::messages::wire::{
    AnswerBlock, Diagnosis, OutputDetails, Response, Unavailable, Usage,
};

/// What is known of an answer before there is one.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The message's id.
    pub id: String,
    /// The request's name, for errors.
    pub request_id: String,
    /// The model's name as the client gave it.
    pub model: String,
    /// The texts that end the generation.
    pub stops: Vec<String>,
    /// Tokens that the client allowed.
    pub max_tokens: u32,
    /// What the model thinks is not shown; that it thought is.
    pub hide_thinking: bool,
    /// Whether the client asked about the cache.
    pub diagnose: bool,
}

impl Head {
    /// The whole answer as JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn answer(&self, whole: Whole) -> serde_json::Result<Vec<u8>> {
        let mut content: Vec<AnswerBlock> = Vec::new();
        for part in whole.output.parts {
            match (part, content.last_mut()) {
                (Part::Text(text), _) => content.push(AnswerBlock::Text { text, citations: None }),
                (Part::Reasoning(text), _) => {
                    let thinking = if self.hide_thinking { String::new() } else { text };
                    content
                        .push(AnswerBlock::Thinking { thinking, signature: self.signature(content.len()) });
                }
                (Part::Call { name, .. }, _) => {
                    let input = Value::Object(Map::new());
                    content.push(AnswerBlock::ToolUse { id: self.call_id(content.len()), name, input });
                }
                (Part::Arguments(text), Some(AnswerBlock::ToolUse { input, .. })) => *input = parsed(&text),
                (Part::Arguments(text), _) => content.push(AnswerBlock::Text { text, citations: None }),
            }
        }
        let (stop_reason, stop_sequence) = self.stop(whole.reason, whole.usage);
        let mut response = self.response(counts(whole.usage));
        response.content = content;
        response.stop_reason = Some(stop_reason);
        response.stop_sequence = stop_sequence;
        serde_json::to_vec(&response)
    }

    fn response(&self, usage: Usage) -> Response<'_> {
        let unknown = Diagnosis { cache_miss_reason: Unavailable { r#type: "unavailable" } };
        Response {
            id: &self.id,
            r#type: "message",
            role: "assistant",
            model: &self.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            container: None,
            diagnostics: self.diagnose.then_some(unknown),
            usage,
        }
    }

    fn stop(&self, reason: FinishReason, usage: generate::Usage) -> (&'static str, Option<&str>) {
        match reason {
            FinishReason::Stop => ("end_turn", None),
            FinishReason::StopText(at) => ("stop_sequence", self.stops.get(usize::from(at)).map(|s| &**s)),
            FinishReason::ToolCalls => ("tool_use", None),
            FinishReason::Length if usage.completion_tokens < self.max_tokens => {
                ("model_context_window_exceeded", None)
            }
            FinishReason::Length => ("max_tokens", None),
        }
    }

    /// Unique over a whole conversation, which the model's own ids need not be.
    fn call_id(&self, index: usize) -> String {
        format!("toolu_{}_{index}", self.id.trim_start_matches("msg_"))
    }

    /// Clients send it back with what was thought, and look no deeper; neither do we.
    fn signature(&self, index: usize) -> String {
        format!("mlxd.{}.{index}", self.id.trim_start_matches("msg_"))
    }
}

/// Writes a stream.
#[derive(Debug)]
pub struct Blocks {
    head: Head,
    opened: bool,
    open: Option<Kind>,
    /// Blocks so far, the open one included.
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Call,
}

impl Blocks {
    /// A stream that nothing has been written to.
    pub fn new(head: Head) -> Self {
        Self { head, opened: false, open: None, count: 0 }
    }

    fn part(&mut self, buffer: &mut Vec<u8>, part: &Part) {
        match part {
            Part::Text(text) | Part::Reasoning(text) | Part::Arguments(text) if text.is_empty() => {}
            Part::Text(text) => self.text(buffer, text),
            Part::Reasoning(text) => {
                self.enter(buffer, Kind::Thinking);
                if !self.head.hide_thinking {
                    self.delta(buffer, Delta::ThinkingDelta { thinking: text });
                }
            }
            Part::Call { name, .. } => {
                self.close(buffer);
                let id = self.head.call_id(self.count as usize);
                let input = Value::Object(Map::new());
                self.start(buffer, Kind::Call, AnswerBlock::ToolUse { id, name: name.clone(), input });
            }
            Part::Arguments(text) if self.open == Some(Kind::Call) => {
                self.delta(buffer, Delta::InputJsonDelta { partial_json: text });
            }
            // Arguments of nothing: shown rather than lost.
            Part::Arguments(text) => self.text(buffer, text),
        }
    }

    fn text(&mut self, buffer: &mut Vec<u8>, text: &str) {
        self.enter(buffer, Kind::Text);
        self.delta(buffer, Delta::TextDelta { text });
    }

    /// Makes the open block one of `kind`.
    fn enter(&mut self, buffer: &mut Vec<u8>, kind: Kind) {
        if self.open == Some(kind) {
            return;
        }
        self.close(buffer);
        let block = match kind {
            Kind::Thinking => AnswerBlock::Thinking { thinking: String::new(), signature: String::new() },
            Kind::Text | Kind::Call => AnswerBlock::Text { text: String::new(), citations: None },
        };
        self.start(buffer, kind, block);
    }

    fn start(&mut self, buffer: &mut Vec<u8>, kind: Kind, content_block: AnswerBlock) {
        push(buffer, &Event::ContentBlockStart { index: self.count, content_block });
        self.count += 1;
        self.open = Some(kind);
    }

    fn delta(&self, buffer: &mut Vec<u8>, delta: Delta) {
        push(buffer, &Event::ContentBlockDelta { index: self.count.saturating_sub(1), delta });
    }

    fn close(&mut self, buffer: &mut Vec<u8>) {
        let Some(kind) = self.open.take() else { return };
        let index = self.count.saturating_sub(1);
        if kind == Kind::Thinking {
            let signature = &self.head.signature(index as usize);
            self.delta(buffer, Delta::SignatureDelta { signature });
        }
        push(buffer, &Event::ContentBlockStop { index });
    }

    fn finish(&mut self, buffer: &mut Vec<u8>, reason: FinishReason, usage: generate::Usage) {
        self.close(buffer);
        let (stop_reason, stop_sequence) = self.head.stop(reason, usage);
        let delta = MessageDelta { stop_reason, stop_sequence, stop_details: None, container: None };
        push(buffer, &Event::MessageDelta { delta, usage: counts(usage) });
        push(buffer, &Event::MessageStop);
    }
}

impl Wire for Blocks {
    const EAGER: bool = true;

    fn open(&mut self, buffer: &mut Vec<u8>, prompt_tokens: u32) {
        // What of it was cached is not known yet; the end of the stream corrects it.
        let usage = Usage { input_tokens: prompt_tokens, ..Usage::default() };
        push(buffer, &Event::MessageStart { message: self.head.response(usage) });
        self.opened = true;
    }

    fn push(&mut self, buffer: &mut Vec<u8>, _: usize, event: &generate::Event) -> bool {
        if !self.opened && !matches!(event, generate::Event::Failed(_)) {
            self.open(buffer, 0);
        }
        match event {
            generate::Event::Prompt { .. } => {}
            generate::Event::Delta(delta) => delta.parts.iter().for_each(|part| self.part(buffer, part)),
            generate::Event::Finished { reason, usage } => self.finish(buffer, *reason, *usage),
            generate::Event::Failed(failure) => self.fail(buffer, failure),
        }
        event.is_last()
    }

    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error) {
        let status = crate::protocols::error::status(failure.kind).as_u16();
        let body = error::Body::new(failure, status, &self.head.request_id);
        sse::push_named(buffer, "error", &body);
    }

    fn keep_alive(&mut self, buffer: &mut Vec<u8>) {
        push(buffer, &Event::Ping);
    }
}

fn push(buffer: &mut Vec<u8>, event: &Event) {
    sse::push_named(buffer, event.name(), event);
}

fn counts(usage: generate::Usage) -> Usage {
    let cache = usage.cached_tokens + usage.cache_written_tokens;
    Usage {
        input_tokens: usage.prompt_tokens.saturating_sub(cache),
        cache_creation_input_tokens: usage.cache_written_tokens,
        cache_read_input_tokens: usage.cached_tokens,
        output_tokens: usage.completion_tokens,
        output_tokens_details: OutputDetails { thinking_tokens: usage.reasoning_tokens },
    }
}

/// The arguments of a call. A call that was cut short has none that could be given as an object; its text is not lost, in the
/// form that Anthropic names for it.
fn parsed(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(input)) => Value::Object(input),
        _ if arguments.trim().is_empty() => Value::Object(Map::new()),
        _ => serde_json::json!({ "INVALID_JSON": arguments }),
    }
}

#[cfg(test)]
mod tests;
