//! Writes Messages as JSON or as a stream of blocks.

use ipc_proto::Error;
use ipc_proto::generate::{self, FinishReason, Part};
use serde_json::{Map, Value};

use crate::dispatch::sse;
use crate::dispatch::writer::ResponseWriter;
use crate::inference::output::CompleteOutput;
use crate::protocols::anthropic::error;
use crate::protocols::anthropic::messages::compaction;
use crate::protocols::anthropic::messages::events::{Delta, Event, MessageDelta};
use crate::protocols::anthropic::messages::wire::{
    AnswerBlock, Diagnosis, Iteration, OutputDetails, Response, Unavailable, Usage,
};

/// The fields of a message that are known before generation, and the settings of its answer.
#[derive(Debug, Clone, Default)]
pub struct MessageHead {
    /// The message's id, `msg_…`.
    pub id: String,
    /// The request's id, for errors.
    pub request_id: String,
    /// The model's name as the client gave it.
    pub model: String,
    /// The stop texts.
    pub stops: Vec<String>,
    /// The client's limit of output tokens.
    pub max_tokens: u32,
    /// Whether to omit the text of thinking blocks.
    pub hide_thinking: bool,
    /// Whether the client requested cache diagnostics.
    pub diagnose: bool,
    /// Whether the client wants no output: the request only fills the cache.
    pub silent: bool,
    /// Whether the output is a summary of the conversation.
    pub summarises: bool,
    /// The changes of the tools during the conversation, as blocks.
    pub tool_changes: Vec<Value>,
    /// The compaction that was made before the answer, with its counts.
    pub compacted: Option<Compacted>,
}

/// A compaction that was made before the answer.
#[derive(Debug, Clone, Default)]
pub struct Compacted {
    /// The summary, if the model wrote a complete one.
    pub summary: Option<String>,
    /// The counts of the request for it.
    pub usage: generate::Usage,
}

impl MessageHead {
    /// Writes the complete message as JSON.
    ///
    /// # Errors
    /// Returns an error if JSON serialization fails.
    pub fn answer(&self, whole: CompleteOutput) -> serde_json::Result<Vec<u8>> {
        let mut content = self.first_blocks(&whole);
        let parts = if self.shows_output() { whole.output.parts } else { Vec::new() };
        for part in parts {
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
                (Part::Arguments(text), Some(AnswerBlock::ToolUse { input, .. })) => {
                    *input = parse_arguments(&text)
                }
                (Part::Arguments(text), _) => content.push(AnswerBlock::Text { text, citations: None }),
            }
        }
        let (stop_reason, stop_sequence) = self.stop_reason(whole.reason, whole.usage);
        let mut response = self.response(self.usage(whole.usage));
        response.content = content;
        response.stop_reason = Some(stop_reason);
        response.stop_sequence = stop_sequence;
        serde_json::to_vec(&response)
    }

    /// The blocks before the output: a compaction.
    fn first_blocks(&self, whole: &CompleteOutput) -> Vec<AnswerBlock> {
        let made = self.compacted.as_ref().map(|compacted| compacted.summary.clone());
        let asked = || self.summarises.then(|| compaction::summary_of(whole));
        made.or_else(asked).map(|summary| self.compaction_block(0, summary)).into_iter().collect()
    }

    /// Whether the parts of the output are blocks of the message.
    fn shows_output(&self) -> bool {
        !self.summarises && !self.silent
    }

    fn compaction_block(&self, index: usize, content: Option<String>) -> AnswerBlock {
        let (signature, tool_changes) = (self.signature(index), self.tool_changes.clone());
        AnswerBlock::Compaction { content, encrypted_content: None, signature, tool_changes }
    }

    fn usage(&self, usage: generate::Usage) -> Usage {
        let mut counts = to_usage(usage);
        if self.silent {
            counts.output_tokens = 0;
        }
        counts.iterations = self.compacted.as_ref().map(|compacted| {
            [to_iteration("compaction", to_usage(compacted.usage)), to_iteration("message", counts)]
        });
        counts
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

    fn stop_reason(&self, reason: FinishReason, usage: generate::Usage) -> (&'static str, Option<&str>) {
        match reason {
            _ if self.summarises => ("compaction", None),
            _ if self.silent => ("max_tokens", None),
            FinishReason::Stop => ("end_turn", None),
            FinishReason::StopText(at) => ("stop_sequence", self.stops.get(usize::from(at)).map(|s| &**s)),
            FinishReason::ToolCalls => ("tool_use", None),
            FinishReason::Length if usage.completion_tokens < self.max_tokens => {
                ("model_context_window_exceeded", None)
            }
            FinishReason::Length => ("max_tokens", None),
            FinishReason::Filtered => ("refusal", None),
        }
    }

    /// Returns an id that is unique in a whole conversation, unlike the model's own ids.
    fn call_id(&self, index: usize) -> String {
        format!("toolu_{}_{index}", self.id.trim_start_matches("msg_"))
    }

    /// Returns the signature of a thinking block. Clients send it back; neither they nor this server verify it.
    fn signature(&self, index: usize) -> String {
        format!("mlxd.{}.{index}", self.id.trim_start_matches("msg_"))
    }
}

/// Writes a stream of blocks.
#[derive(Debug)]
pub struct MessageWriter {
    head: MessageHead,
    opened: bool,
    open: Option<Kind>,
    /// The number of blocks so far, including the open one.
    count: u32,
    /// The text of a summary so far. It is one block and one delta, at the end.
    summary: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Call,
    Compaction,
}

impl MessageWriter {
    /// Creates the writer of an empty stream.
    pub fn new(head: MessageHead) -> Self {
        Self { head, opened: false, open: None, count: 0, summary: String::new() }
    }

    fn push_part(&mut self, buffer: &mut Vec<u8>, part: &Part) {
        match part {
            Part::Text(text) | Part::Reasoning(text) | Part::Arguments(text) if text.is_empty() => {}
            Part::Text(text) if self.head.summarises => self.summary.push_str(text),
            _ if !self.head.shows_output() => {}
            Part::Text(text) => self.push_text(buffer, text),
            Part::Reasoning(text) => {
                self.ensure_open(buffer, Kind::Thinking);
                if !self.head.hide_thinking {
                    self.push_delta(buffer, Delta::ThinkingDelta { thinking: text });
                }
            }
            Part::Call { name, .. } => {
                self.close_block(buffer);
                let id = self.head.call_id(self.count as usize);
                let input = Value::Object(Map::new());
                self.open_block(buffer, Kind::Call, AnswerBlock::ToolUse { id, name: name.clone(), input });
            }
            Part::Arguments(text) if self.open == Some(Kind::Call) => {
                self.push_delta(buffer, Delta::InputJsonDelta { partial_json: text });
            }
            // Arguments without a call become text.
            Part::Arguments(text) => self.push_text(buffer, text),
        }
    }

    fn push_text(&mut self, buffer: &mut Vec<u8>, text: &str) {
        self.ensure_open(buffer, Kind::Text);
        self.push_delta(buffer, Delta::TextDelta { text });
    }

    /// Closes the open block unless it is of `kind`, and opens one.
    fn ensure_open(&mut self, buffer: &mut Vec<u8>, kind: Kind) {
        if self.open == Some(kind) {
            return;
        }
        self.close_block(buffer);
        let block = match kind {
            Kind::Thinking => AnswerBlock::Thinking { thinking: String::new(), signature: String::new() },
            Kind::Text | Kind::Call | Kind::Compaction => {
                AnswerBlock::Text { text: String::new(), citations: None }
            }
        };
        self.open_block(buffer, kind, block);
    }

    fn open_block(&mut self, buffer: &mut Vec<u8>, kind: Kind, content_block: AnswerBlock) {
        push(buffer, &Event::ContentBlockStart { index: self.count, content_block });
        self.count += 1;
        self.open = Some(kind);
    }

    fn push_delta(&self, buffer: &mut Vec<u8>, delta: Delta) {
        push(buffer, &Event::ContentBlockDelta { index: self.count.saturating_sub(1), delta });
    }

    fn close_block(&mut self, buffer: &mut Vec<u8>) {
        let Some(kind) = self.open.take() else { return };
        let index = self.count.saturating_sub(1);
        if kind == Kind::Thinking {
            let signature = &self.head.signature(index as usize);
            self.push_delta(buffer, Delta::SignatureDelta { signature });
        }
        push(buffer, &Event::ContentBlockStop { index });
    }

    fn push_compaction(&mut self, buffer: &mut Vec<u8>, summary: Option<&str>) {
        let block = self.head.compaction_block(self.count as usize, None);
        self.open_block(buffer, Kind::Compaction, block);
        self.push_delta(buffer, Delta::CompactionDelta { content: summary, encrypted_content: None });
        self.close_block(buffer);
    }

    fn finish(&mut self, buffer: &mut Vec<u8>, reason: FinishReason, usage: generate::Usage) {
        self.close_block(buffer);
        if self.head.summarises {
            let summary = compaction::summary(&self.summary, reason);
            self.push_compaction(buffer, summary.as_deref());
        }
        let (stop_reason, stop_sequence) = self.head.stop_reason(reason, usage);
        let delta = MessageDelta { stop_reason, stop_sequence, stop_details: None, container: None };
        push(buffer, &Event::MessageDelta { delta, usage: self.head.usage(usage) });
        push(buffer, &Event::MessageStop);
    }
}

impl ResponseWriter for MessageWriter {
    const EAGER: bool = true;

    fn set_model(&mut self, model: &str) {
        model.clone_into(&mut self.head.model);
    }

    fn open(&mut self, buffer: &mut Vec<u8>, prompt_tokens: u32) {
        // The number of cached tokens is unknown until the end of the stream, which corrects the counts.
        let usage = Usage { input_tokens: prompt_tokens, ..Usage::default() };
        push(buffer, &Event::MessageStart { message: self.head.response(usage) });
        self.opened = true;
        if let Some(compacted) = self.head.compacted.clone() {
            self.push_compaction(buffer, compacted.summary.as_deref());
        }
    }

    fn push(&mut self, buffer: &mut Vec<u8>, _: usize, event: &generate::Event) -> bool {
        if !self.opened && !matches!(event, generate::Event::Failed(_)) {
            self.open(buffer, 0);
        }
        match event {
            generate::Event::Progress(_) | generate::Event::Prompt { .. } => {}
            generate::Event::Delta(delta) => delta.parts.iter().for_each(|part| self.push_part(buffer, part)),
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

fn to_usage(usage: generate::Usage) -> Usage {
    let cache = usage.cached_tokens + usage.cache_written_tokens;
    Usage {
        input_tokens: usage.prompt_tokens.saturating_sub(cache),
        cache_creation_input_tokens: usage.cache_written_tokens,
        cache_read_input_tokens: usage.cached_tokens,
        output_tokens: usage.completion_tokens,
        output_tokens_details: OutputDetails { thinking_tokens: usage.reasoning_tokens },
        iterations: None,
    }
}

fn to_iteration(r#type: &'static str, counts: Usage) -> Iteration {
    Iteration {
        r#type,
        input_tokens: counts.input_tokens,
        cache_creation_input_tokens: counts.cache_creation_input_tokens,
        cache_read_input_tokens: counts.cache_read_input_tokens,
        output_tokens: counts.output_tokens,
    }
}

/// Parses the arguments of a call. A truncated call has no valid object, so its text is returned in the form that Anthropic
/// documents for this case.
fn parse_arguments(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(input)) => Value::Object(input),
        _ if arguments.trim().is_empty() => Value::Object(Map::new()),
        _ => serde_json::json!({ "INVALID_JSON": arguments }),
    }
}

#[cfg(test)]
mod tests;
