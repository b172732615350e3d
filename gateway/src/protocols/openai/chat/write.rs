//! Chat: reasoning, text and calls of each choice.

use ipc_proto::generate::{Alternative, Delta, FinishReason, Part, TokenLogprob};

use crate::dispatch::sse;
use crate::inference::output::Whole;
use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::chat::wire::{
    Answer, Choice, Chunk, ChunkChoice, FunctionCall, FunctionDelta, Timings, ToolCall, ToolDelta,
};
use crate::protocols::openai::choices::Form;
use crate::protocols::openai::usage::Usage;
use crate::protocols::openai::write::{Chunks, FINGERPRINT, Head, finite};

impl Chunks {
    pub(in crate::protocols::openai) fn chat_opening(&self, buffer: &mut Vec<u8>, choice: usize) {
        let delta = chat::Delta { role: Some("assistant"), content: Some(""), ..chat::Delta::default() };
        self.chat(buffer, choice, delta, None);
    }

    /// A chunk for each part; log probabilities come with the first.
    pub(in crate::protocols::openai) fn chat_delta(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
        delta: &Delta,
    ) {
        let mut logprobs = told(delta.answer_logprobs());
        let Form { legacy, hide_reasoning, .. } = self.head.form;
        let shown = |part: &&Part| !(hide_reasoning && matches!(part, Part::Reasoning(_)));
        for part in delta.parts.iter().filter(shown) {
            if matches!(part, Part::Call { .. }) {
                self.choices[choice].calls += 1;
            }
            let delta = written(part, self.choices[choice].calls.saturating_sub(1), legacy);
            self.chat(buffer, choice, delta, logprobs.take());
        }
        if let Some(logprobs) = logprobs {
            self.chat(buffer, choice, chat::Delta::default(), Some(logprobs));
        }
    }

    pub(in crate::protocols::openai) fn chat_end(
        &self,
        buffer: &mut Vec<u8>,
        choice: usize,
        reason: FinishReason,
        timings: Option<Timings>,
    ) {
        let finish_reason = Some(name(reason, self.head.form.legacy));
        let index = choice as u32;
        let choice = ChunkChoice { index, delta: chat::Delta::default(), logprobs: None, finish_reason };
        sse::push(buffer, &Chunk { timings, ..self.head.chat_chunk(&[choice], self.no_usage()) });
    }

    fn chat(
        &self,
        buffer: &mut Vec<u8>,
        choice: usize,
        delta: chat::Delta,
        logprobs: Option<chat::Logprobs>,
    ) {
        let choice = ChunkChoice { index: choice as u32, delta, logprobs, finish_reason: None };
        sse::push(buffer, &self.head.chat_chunk(&[choice], self.no_usage()));
    }
}

/// What a part adds; `call` is the number of the last call.
fn written(part: &Part, call: u32, legacy: bool) -> chat::Delta<'_> {
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

impl Head {
    pub(in crate::protocols::openai) fn chat_counts(
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
        }
    }

    pub(in crate::protocols::openai) fn chat_answer(
        &self,
        all: Vec<(usize, Whole)>,
        usage: Usage,
        timings: Option<Timings>,
    ) -> chat::Response<'_> {
        let choice = |(index, (_, whole)): (usize, (usize, Whole))| Choice {
            index: index as u32,
            finish_reason: name(whole.reason, self.form.legacy),
            logprobs: told(&whole.output.logprobs),
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

fn message(parts: Vec<Part>, form: &Form) -> Answer {
    let Form { legacy, hide_reasoning, .. } = *form;
    let (mut text, mut reasoning) = (String::new(), String::new());
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

/// `None` where none were asked for.
fn told(logprobs: &[TokenLogprob]) -> Option<chat::Logprobs> {
    let content = each_told(logprobs);
    if content.is_empty() { None } else { Some(chat::Logprobs { content, refusal: None }) }
}

/// Log probabilities in OpenAI's form.
pub(crate) fn each_told(logprobs: &[TokenLogprob]) -> Vec<chat::TokenLogprob> {
    let one = |told: &Alternative| chat::TokenText {
        token: String::from_utf8_lossy(&told.bytes).into_owned(),
        logprob: finite(told.logprob.unwrap_or(0.0)),
        bytes: told.bytes.clone(),
    };
    let all = logprobs.iter().map(|told| chat::TokenLogprob {
        token: one(&told.token),
        top_logprobs: told.top.iter().map(one).collect(),
    });
    all.collect()
}

fn name(reason: FinishReason, legacy: bool) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopText(_) => "stop",
        FinishReason::ToolCalls if legacy => "function_call",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Length => "length",
    }
}
