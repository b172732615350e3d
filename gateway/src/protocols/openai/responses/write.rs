//! Writes Responses: builds items from events, for a stream or a complete response.

use std::borrow::Cow;

use ipc_proto::generate::{self, FinishReason, Part, TokenLogprob};
use ipc_proto::{Error, ErrorKind};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::dispatch::sse;
use crate::dispatch::writer::ResponseWriter;
use crate::inference::output::Output;
use crate::protocols::common::answer::unix_seconds;
use crate::protocols::common::field_names;
use crate::protocols::openai::responses::answer::{
    Failure, Incomplete, InputDetails, Item, OutputDetails, Response, Usage,
};
use crate::protocols::openai::responses::compaction::passes::CompactionSlot;
use crate::protocols::openai::responses::events::{Body, Event};
use crate::protocols::openai::responses::{answer, calls, sealed};
use crate::protocols::openai::tools::call_forms::{CallForm, CallForms, CallKind};
use crate::protocols::openai::tools::text_input::TextInput;
use crate::protocols::openai::write::to_logprobs;

mod compaction;

/// The fields of a response that are known before generation.
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    /// The response's id, `resp_…`.
    pub id: String,
    /// Seconds since the Unix epoch.
    pub created_at: u64,
    /// The model's name as the client gave it.
    pub model: String,
    /// The echoed request.
    pub echo: Map<String, Value>,
    /// Whether to return reasoning as encrypted content too.
    pub encrypt: bool,
    /// Whether to return reasoning as a summary.
    pub summarise: bool,
    /// The forms of calls.
    pub calls: CallForms,
    /// The kind of items that the model's output becomes.
    pub form: Form,
    /// The result of a compaction before the generation.
    pub compacted: CompactionSlot,
}

/// The kind of items that the model's output becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Messages, reasoning and calls.
    #[default]
    Answer,
    /// One compaction, which holds the output as a summary.
    Compaction,
    /// Nothing: the request only fills the prefix cache.
    Nothing,
}

/// Builds a response from events, and writes its stream.
#[derive(Debug)]
pub struct ResponseBuilder {
    head: ResponseHead,
    created: bool,
    sequence: u64,
    done: Vec<Item>,
    open: Option<Open>,
    status: Status,
    usage: Option<Usage>,
    /// The summary so far, of [`Form::Compaction`].
    summary: Option<Output>,
}

/// The item that later events may extend.
#[derive(Debug)]
struct Open {
    kind: Kind,
    id: String,
    text: String,
    /// The arguments of a call, as the model writes them.
    arguments: String,
    /// The tool of a call.
    form: CallForm,
    /// The text of a call of a custom tool.
    input: TextInput,
    logprobs: Vec<TokenLogprob>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Reasoning,
    Call,
}

/// The status of a response.
#[derive(Debug, Clone)]
enum Status {
    /// A background response that no worker has begun.
    Queued,
    Running,
    /// At this time, in seconds since the Unix epoch.
    Completed(u64),
    /// With the reason's name in the protocol.
    Incomplete(&'static str),
    Failed(Failure),
}

impl ResponseBuilder {
    /// Creates a response without events.
    pub fn new(head: ResponseHead) -> Self {
        Self {
            head,
            created: false,
            sequence: 0,
            done: Vec::new(),
            open: None,
            status: Status::Running,
            usage: None,
            summary: None,
        }
    }

    /// Begins the response as queued, until [`ResponseWriter::open`].
    pub fn queue(&mut self, buffer: &mut Vec<u8>) {
        self.status = Status::Queued;
        self.push_created(buffer);
        self.push_response(buffer, "response.queued");
    }

    /// Returns the response's id.
    pub fn id(&self) -> &str {
        &self.head.id
    }

    /// Returns the fields that are known before generation.
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Returns the response in its present state.
    pub fn response(&self) -> Response<'_> {
        let (status, error, incomplete) = match &self.status {
            Status::Queued => ("queued", None, None),
            Status::Running => ("in_progress", None, None),
            Status::Completed(_) => ("completed", None, None),
            Status::Incomplete(reason) => ("incomplete", None, Some(Incomplete { reason })),
            Status::Failed(failure) => ("failed", Some(failure.clone()), None),
        };
        let completed_at = if let Status::Completed(at) = self.status { Some(at) } else { None };
        Response {
            id: &self.head.id,
            object: "response",
            created_at: self.head.created_at,
            completed_at,
            status,
            error,
            incomplete_details: incomplete,
            model: &self.head.model,
            output: Cow::Borrowed(&self.done),
            usage: self.usage,
            echo: &self.head.echo,
        }
    }

    fn push_event(&mut self, buffer: &mut Vec<u8>, name: &'static str, body: Body) {
        push(buffer, &mut self.sequence, name, body);
    }

    /// Pushes an event with the whole response.
    fn push_response(&mut self, buffer: &mut Vec<u8>, name: &'static str) {
        let mut sequence = self.sequence;
        push(buffer, &mut sequence, name, Body::Response { response: self.response() });
        self.sequence = sequence;
    }

    fn push_created(&mut self, buffer: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.created, true) {
            self.push_response(buffer, "response.created");
        }
    }

    fn push_delta(&mut self, buffer: &mut Vec<u8>, delta: &generate::Delta) {
        let mut logprobs = &*delta.logprobs;
        for part in &delta.parts {
            // The first text of the step has the log probabilities.
            let part_logprobs =
                if matches!(part, Part::Text(_)) { std::mem::take(&mut logprobs) } else { &[] };
            self.push_part(buffer, part, part_logprobs);
        }
    }

    fn push_part(&mut self, buffer: &mut Vec<u8>, part: &Part, logprobs: &[TokenLogprob]) {
        match part {
            Part::Text(text) | Part::Reasoning(text) | Part::Arguments(text) if text.is_empty() => {}
            Part::Text(text) => self.push_text(buffer, text, logprobs),
            Part::Reasoning(text) => {
                let at = self.ensure_open(buffer, Kind::Reasoning);
                let (sequence, open) = (&mut self.sequence, &mut self.open);
                let Some(open) = open else { return };
                open.text.push_str(text);
                let (name, body) = reasoning_delta(&open.id, at, text, self.head.summarise);
                push(buffer, sequence, name, body);
            }
            Part::Call { name, .. } => {
                self.close_item(buffer, "completed");
                let form = self.head.calls.form(name);
                self.open_item(buffer, Kind::Call, form);
            }
            Part::Arguments(text) => match &mut self.open {
                Some(open) if open.kind == Kind::Call => {
                    let delta = open.push_arguments(text);
                    push_call_delta(buffer, &mut self.sequence, open, self.done.len(), &delta);
                }
                // Arguments without a call become text.
                _ => self.push_text(buffer, text, &[]),
            },
        }
    }

    fn push_text(&mut self, buffer: &mut Vec<u8>, text: &str, logprobs: &[TokenLogprob]) {
        let at = self.ensure_open(buffer, Kind::Message);
        let (sequence, open) = (&mut self.sequence, &mut self.open);
        let Some(open) = open else { return };
        open.text.push_str(text);
        open.logprobs.extend_from_slice(logprobs);
        let logprobs = to_logprobs(logprobs);
        let body =
            Body::TextDelta { item_id: &open.id, output_index: at, content_index: 0, delta: text, logprobs };
        push(buffer, sequence, "response.output_text.delta", body);
    }

    /// Closes the open item unless it is of `kind`, and opens one. Returns its index.
    fn ensure_open(&mut self, buffer: &mut Vec<u8>, kind: Kind) -> usize {
        if self.open.as_ref().is_none_or(|open| open.kind != kind) {
            self.close_item(buffer, "completed");
            self.open_item(buffer, kind, CallForm::default());
        }
        self.done.len()
    }

    fn open_item(&mut self, buffer: &mut Vec<u8>, kind: Kind, form: CallForm) {
        let at = self.done.len();
        let prefix = match kind {
            Kind::Message => "msg",
            Kind::Reasoning => "rs",
            Kind::Call => calls::id_prefix(form.kind),
        };
        let id = format!("{prefix}_{}_{at}", self.id_suffix());
        let input = TextInput::default();
        let (text, arguments) = (String::new(), String::new());
        let open = Open { kind, id, text, arguments, form, input, logprobs: Vec::new() };
        let mut item = self.build_item(&open, "in_progress", None);
        match &mut item {
            Item::Message { content, .. } => content.clear(),
            Item::Reasoning { summary, content, .. } => {
                summary.clear();
                content.clear();
            }
            Item::ToolSearchCall { arguments, .. } => *arguments = json!({}),
            Item::FunctionCall { .. } | Item::CustomToolCall { .. } | Item::Compaction { .. } => {}
        }
        self.push_event(buffer, "response.output_item.added", Body::Item { output_index: at, item });
        if let Some(part) = open.content_part(self.head.summarise) {
            let (name, body) = part_event(&open.id, at, part, true);
            self.push_event(buffer, name, body);
        }
        self.open = Some(open);
    }

    fn close_item(&mut self, buffer: &mut Vec<u8>, status: &'static str) {
        let Some(mut open) = self.open.take() else { return };
        let rest = open.end_arguments();
        push_call_delta(buffer, &mut self.sequence, &open, self.done.len(), &rest);
        // An end that comes within a call leaves it incomplete, whatever ended it.
        let status = if open.is_cut_off() { "incomplete" } else { status };
        let (output_index, item_id) = (self.done.len(), &*open.id);
        if let Some((name, body)) = done_event(&open, output_index, self.head.summarise) {
            push(buffer, &mut self.sequence, name, body);
        }
        if let Some(part) = open.content_part(self.head.summarise) {
            let (name, body) = part_event(item_id, output_index, part, false);
            push(buffer, &mut self.sequence, name, body);
        }
        let sealed = self.head.encrypt.then(|| sealed::seal(&open.text));
        let item = self.build_item(&open, status, sealed);
        let body = Body::Item { output_index, item: item.clone() };
        push(buffer, &mut self.sequence, "response.output_item.done", body);
        self.done.push(item);
    }

    fn build_item(&self, open: &Open, status: &'static str, encrypted_content: Option<String>) -> Item {
        let id = open.id.clone();
        let content: Vec<answer::Part> = open.content_part(self.head.summarise).into_iter().collect();
        match open.kind {
            Kind::Message => Item::Message { id, status, role: "assistant", content },
            Kind::Reasoning => {
                let (summary, content) =
                    if self.head.summarise { (content, Vec::new()) } else { (Vec::new(), content) };
                Item::Reasoning { id, status, summary, content, encrypted_content }
            }
            Kind::Call => {
                // Unique in a whole conversation, unlike the model's own ids.
                let call_id = format!("call_{}_{}", self.id_suffix(), self.done.len());
                calls::item((id, call_id, status), &open.form, &open.text)
            }
        }
    }

    fn id_suffix(&self) -> &str {
        self.head.id.trim_start_matches("resp_")
    }

    fn finish(&mut self, buffer: &mut Vec<u8>, reason: FinishReason, usage: generate::Usage) {
        let (item_status, status) = match reason {
            FinishReason::Length => ("incomplete", Status::Incomplete("max_output_tokens")),
            FinishReason::Filtered => ("incomplete", Status::Incomplete("content_filter")),
            _ => ("completed", Status::Completed(unix_seconds())),
        };
        self.close_item(buffer, item_status);
        self.status = status;
        self.usage = Some(to_usage(usage));
    }

    /// Ends a response without output. It generated one token, only to fill the prefix cache.
    fn finish_empty(&mut self, usage: generate::Usage) {
        self.status = Status::Completed(unix_seconds());
        self.usage = Some(to_usage(generate::Usage { completion_tokens: 0, reasoning_tokens: 0, ..usage }));
    }

    /// Records that the response could not be stored.
    pub fn mark_not_stored(&mut self) {
        self.head.echo.insert("store".into(), false.into());
    }
}

impl Open {
    /// Takes more of a call's arguments. Returns more of the text that the client gets.
    fn push_arguments(&mut self, arguments: &str) -> String {
        self.arguments.push_str(arguments);
        let delta = match self.form.kind {
            CallKind::Custom => self.input.push(arguments),
            CallKind::Function | CallKind::ToolSearch => arguments.to_owned(),
        };
        self.text.push_str(&delta);
        delta
    }

    /// Ends a call's arguments. Returns the rest of the text.
    fn end_arguments(&mut self) -> String {
        let is_custom = self.kind == Kind::Call && self.form.kind == CallKind::Custom;
        let rest = if is_custom { self.input.finish() } else { String::new() };
        self.text.push_str(&rest);
        rest
    }

    /// Whether the item is a call whose arguments are not a whole JSON value.
    fn is_cut_off(&self) -> bool {
        self.kind == Kind::Call && serde_json::from_str::<IgnoredAny>(&self.arguments).is_err()
    }

    /// Returns the content part of the item. Calls have none.
    fn content_part(&self, summarise: bool) -> Option<answer::Part> {
        let text = self.text.clone();
        match self.kind {
            Kind::Message => {
                let logprobs = to_logprobs(&self.logprobs);
                Some(answer::Part::OutputText { text, annotations: [], logprobs })
            }
            Kind::Reasoning if summarise => Some(answer::Part::SummaryText { text }),
            Kind::Reasoning => Some(answer::Part::ReasoningText { text }),
            Kind::Call => None,
        }
    }
}

impl ResponseWriter for ResponseBuilder {
    const EAGER: bool = true;

    fn set_model(&mut self, model: &str) {
        model.clone_into(&mut self.head.model);
    }

    fn passed(&mut self, events: u64) {
        self.sequence += events;
    }

    fn open(&mut self, buffer: &mut Vec<u8>, _: u32) {
        if matches!(self.status, Status::Queued) {
            self.status = Status::Running;
        }
        self.push_created(buffer);
        self.push_response(buffer, "response.in_progress");
        self.push_preface(buffer);
    }

    fn push(&mut self, buffer: &mut Vec<u8>, _: usize, event: &generate::Event) -> bool {
        self.push_created(buffer);
        self.push_preface(buffer);
        match event {
            generate::Event::Progress(_) | generate::Event::Prompt { .. } => {}
            generate::Event::Delta(delta) => match self.head.form {
                Form::Answer => self.push_delta(buffer, delta),
                Form::Compaction => self.push_summary(buffer, delta),
                Form::Nothing => {}
            },
            generate::Event::Finished { reason, usage } => match self.head.form {
                Form::Answer => self.finish(buffer, *reason, *usage),
                Form::Compaction => self.finish_summary(buffer, *usage),
                Form::Nothing => self.finish_empty(*usage),
            },
            generate::Event::Failed(failure) => self.fail(buffer, failure),
        }
        event.is_last()
    }

    fn end(&mut self, buffer: &mut Vec<u8>, stored: bool) {
        if !stored {
            self.mark_not_stored();
        }
        match self.status {
            Status::Completed(_) => self.push_response(buffer, "response.completed"),
            Status::Incomplete(_) => self.push_response(buffer, "response.incomplete"),
            Status::Queued | Status::Running | Status::Failed(_) => {}
        }
    }

    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error) {
        self.push_created(buffer);
        self.close_item(buffer, "incomplete");
        self.status = Status::Failed(to_failure(failure));
        self.push_response(buffer, "response.failed");
    }

    /// Clients measure the time since the last event, so a comment is not enough.
    fn keep_alive(&mut self, buffer: &mut Vec<u8>) {
        self.push_created(buffer);
        self.push_response(buffer, "response.in_progress");
    }
}

/// Returns the event with a delta of reasoning.
fn reasoning_delta<'a>(
    item_id: &'a str,
    at: usize,
    delta: &'a str,
    summarise: bool,
) -> (&'static str, Body<'a>) {
    if summarise {
        let body = Body::SummaryDelta { item_id, output_index: at, summary_index: 0, delta };
        return ("response.reasoning_summary_text.delta", body);
    }
    let body = Body::ReasoningDelta { item_id, output_index: at, content_index: 0, delta };
    ("response.reasoning_text.delta", body)
}

/// Pushes more of a call's arguments, unless it is empty.
fn push_call_delta(buffer: &mut Vec<u8>, sequence: &mut u64, open: &Open, at: usize, delta: &str) {
    let name = calls::delta_event(open.form.kind).filter(|_| open.kind == Kind::Call && !delta.is_empty());
    if let Some(name) = name {
        push(buffer, sequence, name, Body::ArgumentsDelta { item_id: &open.id, output_index: at, delta });
    }
}

/// Returns the event with an item's whole text.
fn done_event(open: &Open, output_index: usize, summarise: bool) -> Option<(&'static str, Body<'_>)> {
    let (item_id, content_index, text) = (&*open.id, 0, &*open.text);
    Some(match open.kind {
        Kind::Message => {
            let logprobs = to_logprobs(&open.logprobs);
            let body = Body::TextDone { item_id, output_index, content_index, text, logprobs };
            ("response.output_text.done", body)
        }
        Kind::Reasoning if summarise => {
            let body = Body::SummaryDone { item_id, output_index, summary_index: 0, text };
            ("response.reasoning_summary_text.done", body)
        }
        Kind::Reasoning => {
            let body = Body::ReasoningDone { item_id, output_index, content_index, text };
            ("response.reasoning_text.done", body)
        }
        Kind::Call => return calls::done_event(&open.form, (item_id, output_index), text),
    })
}

/// Returns the event that begins or ends a part.
fn part_event(item_id: &str, at: usize, part: answer::Part, begins: bool) -> (&'static str, Body<'_>) {
    let name = match (&part, begins) {
        (answer::Part::SummaryText { .. }, true) => "response.reasoning_summary_part.added",
        (answer::Part::SummaryText { .. }, false) => "response.reasoning_summary_part.done",
        (_, true) => "response.content_part.added",
        (_, false) => "response.content_part.done",
    };
    let body = match part {
        answer::Part::SummaryText { .. } => {
            Body::SummaryPart { item_id, output_index: at, summary_index: 0, part }
        }
        part => Body::Part { item_id, output_index: at, content_index: 0, part },
    };
    (name, body)
}

fn push(buffer: &mut Vec<u8>, sequence: &mut u64, r#type: &'static str, body: Body) {
    sse::push_named(buffer, r#type, &Event { r#type, sequence_number: *sequence, body });
    *sequence += 1;
}

/// Converts an error to a code that clients know. Codex shortens the conversation at `context_length_exceeded`. At
/// `rate_limit_exceeded` it waits for the time in the message.
fn to_failure(failure: &Error) -> Failure {
    let message = field_names::message(failure, field_names::responses);
    match failure.kind {
        ErrorKind::ContextLength => Failure { code: "context_length_exceeded", message },
        ErrorKind::Overloaded => {
            Failure { code: "rate_limit_exceeded", message: format!("{message}; try again in 1s") }
        }
        ErrorKind::InvalidRequest => Failure { code: "invalid_prompt", message },
        _ => Failure { code: "server_error", message },
    }
}

/// Converts token counts.
pub fn to_usage(usage: generate::Usage) -> Usage {
    Usage {
        input_tokens: usage.prompt_tokens,
        input_tokens_details: InputDetails {
            cached_tokens: usage.cached_tokens,
            cache_write_tokens: usage.cache_written_tokens,
        },
        output_tokens: usage.completion_tokens,
        output_tokens_details: OutputDetails { reasoning_tokens: usage.reasoning_tokens },
        total_tokens: usage.prompt_tokens + usage.completion_tokens,
    }
}

#[cfg(test)]
mod tests;
