//! Writes chat completions: reasoning, text and calls of each choice.

use ipc_proto::generate::{Alternative, Delta, FinishReason, Part, TokenLogprob};

use crate::dispatch::sse;
use crate::inference::output::CompleteOutput;
use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::chat::wire::{
    Answer, Choice, Chunk, ChunkChoice, CustomCall, CustomDelta, FunctionCall, FunctionDelta, PromptProgress,
    Timings, ToolCall, ToolDelta,
};
use crate::protocols::openai::choices::{AnswerForm, Echo};
use crate::protocols::openai::tools::call_forms::CallKind;
use crate::protocols::openai::tools::text_input::TextInput;
use crate::protocols::openai::usage::Usage;
use crate::protocols::openai::write::{AnswerHead, ChunkWriter, FINGERPRINT, TextChunk, clamp_logprob};

impl ChunkWriter {
    pub(in crate::protocols::openai) fn push_chat_opening(&self, buffer: &mut Vec<u8>, choice: usize) {
        let delta = chat::Delta { role: Some("assistant"), content: Some(""), ..chat::Delta::default() };
        self.push_chat(buffer, choice, delta, None);
    }

    /// Pushes the text of the last message, if it is echoed.
    pub(in crate::protocols::openai) fn push_chat_echo(&self, buffer: &mut Vec<u8>, choice: usize) {
        if let Echo::Text(text) = self.head.form.echo_of_prompt(0) {
            let delta = chat::Delta { content: Some(text), ..chat::Delta::default() };
            self.push_chat(buffer, choice, delta, None);
        }
    }

    pub(in crate::protocols::openai) fn push_chat_progress(
        &self,
        buffer: &mut Vec<u8>,
        choice: usize,
        progress: PromptProgress,
    ) {
        let index = choice as u32;
        let delta = chat::Delta::default();
        let choices = [ChunkChoice { index, delta, logprobs: None, finish_reason: None }];
        let chunk = self.head.chat_chunk(&choices, self.chunk_usage(choice));
        sse::push(buffer, &Chunk { prompt_progress: Some(progress), ..chunk });
    }

    /// Pushes a chunk for each part. The first chunk has the log probabilities.
    pub(in crate::protocols::openai) fn push_chat_delta(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
        delta: &Delta,
    ) {
        if let [Part::Text(text)] = &delta.parts[..]
            && delta.answer_logprobs().is_empty()
            && !self.head.form.telemetry.is_in_each_chunk()
        {
            return self.push_chat_text(buffer, choice, text);
        }
        let mut logprobs = choice_logprobs(delta.answer_logprobs());
        let AnswerForm { legacy, hide_reasoning, .. } = self.head.form;
        let shown = |part: &&Part| !(hide_reasoning && matches!(part, Part::Reasoning(_)));
        for part in delta.parts.iter().filter(shown) {
            if let Part::Call { name, .. } = part {
                self.end_custom_call(buffer, choice);
                let is_custom = self.head.form.calls.form(name).kind == CallKind::Custom;
                let progress = &mut self.choices[choice];
                progress.calls += 1;
                progress.input = is_custom.then(TextInput::default);
            }
            if let (Part::Arguments(arguments), Some(input)) = (part, &mut self.choices[choice].input) {
                let text = input.push(arguments);
                self.push_custom_input(buffer, choice, &text);
                continue;
            }
            let progress = &self.choices[choice];
            let call =
                CallAt { index: progress.calls.saturating_sub(1), is_custom: progress.input.is_some() };
            let delta = part_delta(part, call, legacy);
            self.push_chat(buffer, choice, delta, logprobs.take());
        }
        if let Some(logprobs) = logprobs {
            self.push_chat(buffer, choice, chat::Delta::default(), Some(logprobs));
        }
    }

    /// Pushes a chunk of text that has no log probabilities, usage or timings.
    fn push_chat_text(&mut self, buffer: &mut Vec<u8>, choice: usize, text: &str) {
        let chunk_of = |content| chat::Delta { content: Some(content), ..chat::Delta::default() };
        if self.choices[choice].text_chunk.is_none() {
            let mut chunk = Vec::new();
            self.push_chat(&mut chunk, choice, chunk_of(""), None);
            self.choices[choice].text_chunk = TextChunk::split(chunk, "content");
        }
        match &self.choices[choice].text_chunk {
            Some(chunk) => chunk.push(buffer, text),
            None => self.push_chat(buffer, choice, chunk_of(text), None),
        }
    }

    /// Ends the last call if it is one of a custom tool.
    fn end_custom_call(&mut self, buffer: &mut Vec<u8>, choice: usize) {
        if let Some(mut input) = self.choices[choice].input.take() {
            let rest = input.finish();
            self.push_custom_input(buffer, choice, &rest);
        }
    }

    fn push_custom_input(&self, buffer: &mut Vec<u8>, choice: usize, input: &str) {
        if !input.is_empty() {
            let index = self.choices[choice].calls.saturating_sub(1);
            let custom = Some(CustomDelta { name: None, input });
            let call = ToolDelta { index, id: None, r#type: None, function: None, custom };
            let delta = chat::Delta { tool_calls: Some([call]), ..chat::Delta::default() };
            self.push_chat(buffer, choice, delta, None);
        }
    }

    pub(in crate::protocols::openai) fn push_chat_end(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
        reason: FinishReason,
        timings: Option<Timings>,
    ) {
        self.end_custom_call(buffer, choice);
        let finish_reason = Some(finish_reason_name(reason, self.head.form.legacy));
        let index = choice as u32;
        let choices = [ChunkChoice { index, delta: chat::Delta::default(), logprobs: None, finish_reason }];
        let chunk = self.head.chat_chunk(&choices, self.chunk_usage(choice));
        sse::push(buffer, &Chunk { timings: timings.or(self.chunk_timings()), ..chunk });
    }

    fn push_chat(
        &self,
        buffer: &mut Vec<u8>,
        choice: usize,
        delta: chat::Delta,
        logprobs: Option<chat::Logprobs>,
    ) {
        let choices = [ChunkChoice { index: choice as u32, delta, logprobs, finish_reason: None }];
        let chunk = self.head.chat_chunk(&choices, self.chunk_usage(choice));
        sse::push(buffer, &Chunk { timings: self.chunk_timings(), ..chunk });
    }
}

/// The last call of a choice.
#[derive(Clone, Copy)]
struct CallAt {
    index: u32,
    is_custom: bool,
}

/// Converts a part to a delta. `call` is the last call.
fn part_delta(part: &Part, call: CallAt, legacy: bool) -> chat::Delta<'_> {
    let calling = |id, name: Option<_>, arguments| {
        let function = FunctionDelta { name, arguments };
        if legacy {
            return chat::Delta { function_call: Some(function), ..chat::Delta::default() };
        }
        let kind = if call.is_custom { "custom" } else { "function" };
        let (function, custom) = if call.is_custom {
            (None, Some(CustomDelta { name, input: arguments }))
        } else {
            (Some(function), None)
        };
        let r#type = name.is_some().then_some(kind);
        let call = ToolDelta { index: call.index, id, r#type, function, custom };
        chat::Delta { tool_calls: Some([call]), ..chat::Delta::default() }
    };
    match part {
        Part::Text(text) => chat::Delta { content: Some(text), ..chat::Delta::default() },
        Part::Reasoning(text) => chat::Delta { reasoning_content: Some(text), ..chat::Delta::default() },
        Part::Call { id, name } => calling(Some(id.as_str()), Some(name.as_str()), ""),
        Part::Arguments(text) => calling(None, None, text),
    }
}

impl AnswerHead {
    pub(in crate::protocols::openai) fn chat_usage_chunk(
        &self,
        usage: Option<Option<Usage>>,
    ) -> Chunk<'_, ChunkChoice<'_>> {
        self.chat_chunk(&[], usage)
    }

    fn chat_chunk<'a, C>(&'a self, choices: &'a [C], usage: Option<Option<Usage>>) -> Chunk<'a, C> {
        Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            system_fingerprint: FINGERPRINT,
            service_tier: self.form.tier,
            usage,
            timings: None,
            prompt_progress: None,
        }
    }

    pub(in crate::protocols::openai) fn chat_answer(
        &self,
        all: Vec<(usize, CompleteOutput)>,
        usage: Usage,
        timings: Option<Timings>,
    ) -> chat::Response<'_> {
        let choice = |(index, (_, whole)): (usize, (usize, CompleteOutput))| Choice {
            index: index as u32,
            finish_reason: finish_reason_name(whole.reason, self.form.legacy),
            logprobs: choice_logprobs(&whole.output.logprobs),
            message: message(whole.output.parts, &self.form),
        };
        chat::Response {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: all.into_iter().enumerate().map(choice).collect(),
            usage,
            system_fingerprint: FINGERPRINT,
            service_tier: self.form.tier,
            timings,
        }
    }
}

fn message(parts: Vec<Part>, form: &AnswerForm) -> Answer {
    let AnswerForm { legacy, hide_reasoning, .. } = *form;
    let mut text = match form.echo_of_prompt(0) {
        Echo::Text(echoed) => echoed.clone(),
        Echo::None | Echo::Tokens => String::new(),
    };
    let mut reasoning = String::new();
    let mut calls: Vec<(String, FunctionCall)> = Vec::new();
    for part in parts {
        match part {
            Part::Text(more) => text.push_str(&more),
            Part::Reasoning(more) => reasoning.push_str(&more),
            Part::Call { id, name } => {
                calls.push((id, FunctionCall { name, arguments: String::new() }));
            }
            Part::Arguments(more) => {
                if let Some((_, call)) = calls.last_mut() {
                    call.arguments.push_str(&more);
                }
            }
        }
    }
    let content = if text.is_empty() && !calls.is_empty() { None } else { Some(text) };
    let function_call = if legacy && !calls.is_empty() { Some(calls.swap_remove(0).1) } else { None };
    let calls = if legacy { Vec::new() } else { calls };
    Answer {
        role: "assistant",
        content,
        refusal: None,
        reasoning_content: Some(reasoning).filter(|text| !text.is_empty() && !hide_reasoning),
        tool_calls: calls.into_iter().map(|(id, call)| tool_call(id, call, form)).collect(),
        function_call,
    }
}

/// Converts a call to one of a function or of a custom tool.
fn tool_call(id: String, call: FunctionCall, form: &AnswerForm) -> ToolCall {
    if form.calls.form(&call.name).kind != CallKind::Custom {
        return ToolCall { id, r#type: "function", function: Some(call), custom: None };
    }
    let mut text = TextInput::default();
    let begun = text.push(&call.arguments);
    let custom = CustomCall { name: call.name, input: begun + &text.finish() };
    ToolCall { id, r#type: "custom", function: None, custom: Some(custom) }
}

/// Returns `None` if there are no log probabilities.
fn choice_logprobs(logprobs: &[TokenLogprob]) -> Option<chat::Logprobs> {
    let content = to_logprobs(logprobs);
    if content.is_empty() { None } else { Some(chat::Logprobs { content, refusal: None }) }
}

/// Converts log probabilities to OpenAI's form.
pub(crate) fn to_logprobs(logprobs: &[TokenLogprob]) -> Vec<chat::TokenLogprob> {
    let token = |alternative: &Alternative| chat::TokenText {
        token: String::from_utf8_lossy(&alternative.bytes).into_owned(),
        logprob: clamp_logprob(alternative.logprob.unwrap_or(0.0)),
        bytes: alternative.bytes.clone(),
    };
    let all = logprobs.iter().map(|logprob| chat::TokenLogprob {
        token: token(&logprob.token),
        top_logprobs: logprob.top.iter().map(token).collect(),
    });
    all.collect()
}

fn finish_reason_name(reason: FinishReason, legacy: bool) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopText(_) => "stop",
        FinishReason::ToolCalls if legacy => "function_call",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Length => "length",
        FinishReason::Filtered => "content_filter",
    }
}
