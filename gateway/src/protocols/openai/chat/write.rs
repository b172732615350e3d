//! Writes chat completions: reasoning, text and calls of each choice.

use ipc_proto::generate::{Alternative, Delta, FinishReason, Part, TokenLogprob};

use crate::dispatch::sse;
use crate::inference::output::CompleteOutput;
use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::chat::wire::{
    Answer, Choice, Chunk, ChunkChoice, FunctionCall, FunctionDelta, Progress, Timings, ToolCall, ToolDelta,
};
use crate::protocols::openai::choices::{AnswerForm, Echo};
use crate::protocols::openai::usage::Usage;
use crate::protocols::openai::write::{AnswerHead, ChunkWriter, FINGERPRINT, clamp_logprob};

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
        progress: Progress,
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
        let mut logprobs = choice_logprobs(delta.answer_logprobs());
        let AnswerForm { legacy, hide_reasoning, .. } = self.head.form;
        let shown = |part: &&Part| !(hide_reasoning && matches!(part, Part::Reasoning(_)));
        for part in delta.parts.iter().filter(shown) {
            if matches!(part, Part::Call { .. }) {
                self.choices[choice].calls += 1;
            }
            let delta = part_delta(part, self.choices[choice].calls.saturating_sub(1), legacy);
            self.push_chat(buffer, choice, delta, logprobs.take());
        }
        if let Some(logprobs) = logprobs {
            self.push_chat(buffer, choice, chat::Delta::default(), Some(logprobs));
        }
    }

    pub(in crate::protocols::openai) fn push_chat_end(
        &self,
        buffer: &mut Vec<u8>,
        choice: usize,
        reason: FinishReason,
        timings: Option<Timings>,
    ) {
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

/// Converts a part to a delta. `call` is the index of the last call.
fn part_delta(part: &Part, call: u32, legacy: bool) -> chat::Delta<'_> {
    let calling = |id, name, arguments| {
        let function = FunctionDelta { name, arguments };
        if legacy {
            return chat::Delta { function_call: Some(function), ..chat::Delta::default() };
        }
        let kind = if name.is_some() { Some("function") } else { None };
        let call = ToolDelta { index: call, id, r#type: kind, function };
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
    let mut calls: Vec<ToolCall> = Vec::new();
    for part in parts {
        match part {
            Part::Text(more) => text.push_str(&more),
            Part::Reasoning(more) => reasoning.push_str(&more),
            Part::Call { id, name } => {
                let function = FunctionCall { name, arguments: String::new() };
                calls.push(ToolCall { id, r#type: "function", function });
            }
            Part::Arguments(more) => {
                if let Some(call) = calls.last_mut() {
                    call.function.arguments.push_str(&more);
                }
            }
        }
    }
    let content = if text.is_empty() && !calls.is_empty() { None } else { Some(text) };
    let function_call = if legacy && !calls.is_empty() { Some(calls.swap_remove(0).function) } else { None };
    Answer {
        role: "assistant",
        content,
        refusal: None,
        reasoning_content: Some(reasoning).filter(|text| !text.is_empty() && !hide_reasoning),
        tool_calls: if legacy { Vec::new() } else { calls },
        function_call,
    }
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
    }
}
