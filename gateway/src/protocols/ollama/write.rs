//! Writes texts, reasoning and calls as Ollama does: a line of JSON for each piece, or one object.

use std::time::Instant;

use chrono::{SecondsFormat, Utc};
use ipc_proto::Error;
use ipc_proto::generate::{Delta, Event, FinishReason, Part, Usage};
use serde_json::{Map, Value};

use super::wire::{Answer, ChatResponse, Counts, End, Function, GenerateResponse, Problem, ToolCall};
use crate::dispatch::deliver::Served;
use crate::dispatch::json_line;
use crate::dispatch::writer::ResponseWriter;
use crate::inference::output::CompleteOutput;
use crate::protocols::common::field_names::{self, message};
use crate::protocols::openai::chat::wire::TokenLogprob;
use crate::protocols::openai::chat::write::to_logprobs;

/// The endpoint of a request, which determines the form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/api/chat`.
    Chat,
    /// `/api/generate`.
    Generate,
}

impl Endpoint {
    /// Returns the path of the endpoint.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/api/chat",
            Self::Generate => "/api/generate",
        }
    }
}

/// The common fields of an answer's lines, and the time of the first token.
#[derive(Debug, Clone)]
pub struct AnswerHead {
    endpoint: Endpoint,
    model: String,
    start: Instant,
    first_token: Option<Instant>,
}

/// A piece of an answer.
#[derive(Debug, Default)]
struct Piece {
    text: String,
    thinking: String,
    calls: Vec<ToolCall>,
    logprobs: Vec<TokenLogprob>,
}

impl AnswerHead {
    /// Replaces the client's name of the model by that of the route's model which answers.
    pub fn rename(&mut self, served: &Served) {
        served.rename(&mut self.model);
    }

    /// Creates the head of an answer to a request that arrives now. `model` is its name as the client gave it.
    pub fn new(endpoint: Endpoint, model: String) -> Self {
        Self { endpoint, model, start: Instant::now(), first_token: None }
    }

    /// Records the time of the first token.
    pub fn mark_token(&mut self) {
        self.first_token.get_or_insert_with(Instant::now);
    }

    /// Writes a complete answer.
    ///
    /// # Errors
    /// Returns an error if JSON serialization fails.
    pub fn answer(&self, whole: &CompleteOutput) -> serde_json::Result<Vec<u8>> {
        let mut calls = Calls::default();
        let mut piece = Piece { logprobs: to_logprobs(&whole.output.logprobs), ..Piece::default() };
        whole.output.parts.iter().for_each(|part| calls.add(part, &mut piece));
        calls.end(&mut piece);
        self.to_json(piece, self.end(whole.reason, whole.usage))
    }

    /// Writes the answer to a request that loads or unloads the model.
    ///
    /// # Errors
    /// Returns an error if JSON serialization fails.
    pub fn without_text(&self, reason: &'static str) -> serde_json::Result<Vec<u8>> {
        let end = End { done: true, done_reason: Some(reason), counts: None };
        self.to_json(Piece::default(), end)
    }

    fn end(&self, reason: FinishReason, usage: Usage) -> End {
        let now = Instant::now();
        let first = self.first_token.unwrap_or(now);
        let nanoseconds = |from: Instant, to: Instant| {
            u64::try_from(to.duration_since(from).as_nanos()).unwrap_or(u64::MAX)
        };
        let counts = Counts {
            total_duration: nanoseconds(self.start, now),
            prompt_eval_count: usage.prompt_tokens,
            prompt_eval_duration: nanoseconds(self.start, first),
            eval_count: usage.completion_tokens,
            eval_duration: nanoseconds(first, now),
        };
        let reason = match reason {
            FinishReason::Stop
            | FinishReason::StopText(_)
            | FinishReason::ToolCalls
            | FinishReason::Filtered => "stop",
            FinishReason::Length => "length",
        };
        End { done: true, done_reason: Some(reason), counts: Some(counts) }
    }

    fn to_json(&self, piece: Piece, end: End) -> serde_json::Result<Vec<u8>> {
        let created_at = &*Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true);
        let Piece { text, thinking, calls: tool_calls, logprobs } = piece;
        let model = &*self.model;
        match self.endpoint {
            Endpoint::Chat => {
                let message = Answer { role: "assistant", content: text, thinking, tool_calls };
                json_line::to_vec(&ChatResponse { model, created_at, message, end, logprobs })
            }
            Endpoint::Generate => json_line::to_vec(&GenerateResponse {
                model,
                created_at,
                response: text,
                thinking,
                end,
                logprobs,
            }),
        }
    }
}

/// The calls of an answer. Each is written when it is complete.
#[derive(Debug, Default)]
struct Calls {
    count: usize,
    open: Option<OpenCall>,
}

#[derive(Debug)]
struct OpenCall {
    id: String,
    name: String,
    arguments: String,
}

impl Calls {
    /// Adds a part to `piece`, or to the open call.
    fn add(&mut self, part: &Part, piece: &mut Piece) {
        match part {
            Part::Text(text) => piece.text.push_str(text),
            Part::Reasoning(text) => piece.thinking.push_str(text),
            Part::Call { id, name } => {
                self.end(piece);
                self.open = Some(OpenCall { id: id.clone(), name: name.clone(), arguments: String::new() });
            }
            Part::Arguments(text) => {
                if let Some(call) = &mut self.open {
                    call.arguments.push_str(text);
                }
            }
        }
    }

    /// Moves the open call to `piece`. A call that was cut off is dropped, as its arguments are no object.
    fn end(&mut self, piece: &mut Piece) {
        let Some(OpenCall { id, name, arguments }) = self.open.take() else { return };
        let arguments = match serde_json::from_str(&arguments) {
            Ok(Value::Object(fields)) => Value::Object(fields),
            _ if arguments.trim().is_empty() => Value::Object(Map::new()),
            _ => return,
        };
        piece.calls.push(ToolCall { id, function: Function { index: self.count, name, arguments } });
        self.count += 1;
    }
}

/// Writes a stream of lines.
#[derive(Debug)]
pub struct LineWriter {
    head: AnswerHead,
    calls: Calls,
}

impl LineWriter {
    /// Creates the writer of a stream.
    pub fn new(head: AnswerHead) -> Self {
        Self { head, calls: Calls::default() }
    }

    fn push_line(&self, buffer: &mut Vec<u8>, piece: Piece, end: End) {
        // Wire types hold strings, numbers and objects only, which always serialise.
        if let Ok(line) = self.head.to_json(piece, end) {
            buffer.extend_from_slice(&line);
            buffer.push(b'\n');
        }
    }

    fn push_delta(&mut self, buffer: &mut Vec<u8>, delta: &Delta) {
        let mut piece = Piece { logprobs: to_logprobs(delta.answer_logprobs()), ..Piece::default() };
        delta.parts.iter().for_each(|part| self.calls.add(part, &mut piece));
        if !piece.is_empty() {
            self.push_line(buffer, piece, End::default());
        }
    }
}

impl Piece {
    fn is_empty(&self) -> bool {
        let Self { text, thinking, calls, logprobs } = self;
        text.is_empty() && thinking.is_empty() && calls.is_empty() && logprobs.is_empty()
    }
}

impl ResponseWriter for LineWriter {
    const EAGER: bool = false;
    const MEDIA_TYPE: &'static str = "application/x-ndjson";

    fn set_model(&mut self, model: &str) {
        model.clone_into(&mut self.head.model);
    }

    fn open(&mut self, _: &mut Vec<u8>, _: u32) {}

    fn push(&mut self, buffer: &mut Vec<u8>, _: usize, event: &Event) -> bool {
        match event {
            Event::Progress(_) | Event::Prompt { .. } => {}
            Event::Delta(delta) => {
                self.head.mark_token();
                self.push_delta(buffer, delta);
            }
            Event::Finished { reason, usage } => {
                let mut piece = Piece::default();
                self.calls.end(&mut piece);
                if !piece.is_empty() {
                    self.push_line(buffer, piece, End::default());
                }
                self.push_line(buffer, Piece::default(), self.head.end(*reason, *usage));
                return true;
            }
            Event::Failed(failure) => {
                self.fail(buffer, failure);
                return true;
            }
        }
        false
    }

    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error) {
        let problem = Problem { error: message(failure, field_names::ollama) };
        if let Ok(line) = json_line::to_vec(&problem) {
            buffer.extend_from_slice(&line);
            buffer.push(b'\n');
        }
    }

    /// There are no comments in this form, so a keep-alive is a line without text.
    fn keep_alive(&mut self, buffer: &mut Vec<u8>) {
        self.push_line(buffer, Piece::default(), End::default());
    }

    fn loading(&mut self, _: &mut Vec<u8>, _: u64) {}
}

#[cfg(test)]
mod tests;
