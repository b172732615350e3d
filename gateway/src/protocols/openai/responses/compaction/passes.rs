//! Has the model write a summary: in one turn after the conversation, or part by part where the conversation does not fit.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ipc_proto::generate::{ChatPrompt, Generation, Part, Prompt, Role, Usage};
use ipc_proto::prompt::TokenizeRequest;
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};

use super::{Summary, is_compactable, ordinary_turn, part_turn, transcript};
use crate::access::Tenant;
use crate::dispatch::deliver::{self, Job};
use crate::dispatch::dispatcher::time_left_ms;
use crate::dispatch::{Services, Target};
use crate::inference::output::Output;
use crate::inference::request::InferenceRequest;
use crate::inference::request_id::RequestId;

/// A summary has at most this part of the context: an eighth.
const SUMMARY_PART: u32 = 8;
/// And at most this number of tokens.
const MAX_SUMMARY_TOKENS: u32 = 2048;
/// An automatic compaction without a threshold begins at three quarters of the context.
const DEFAULT_THRESHOLD: (u32, u32) = (3, 4);
/// The first guess of a token's length in bytes.
const TOKEN_BYTES: usize = 4;
/// A part of a transcript has at least this number of bytes.
const MIN_PART_BYTES: usize = 64;

/// Writes summaries for one request.
pub struct Compactor {
    services: Services,
    sender: (RequestId, Tenant),
    endpoint: &'static str,
    /// The client's request. Its settings apply to every pass.
    request: InferenceRequest,
    started: Instant,
}

/// The last pass of a compaction, and the cost of the earlier ones.
#[derive(Debug)]
pub struct LastPass {
    /// Its output is the summary.
    pub request: InferenceRequest,
    /// The result of the earlier passes, for the builder of the response.
    pub outcome: CompactionResult,
}

/// The result of a compaction before the response begins.
#[derive(Debug, Clone, Default)]
pub struct CompactionResult {
    /// The summary, if it is complete.
    pub summary: Option<Summary>,
    /// The token counts of the passes before the response's own generation.
    pub usage: Usage,
    /// The limit of the user messages that stay beside the summary, in bytes.
    pub kept_bytes: usize,
}

/// A slot for the outcome. The preparation of a job fills it, and the builder of the response reads it.
pub type CompactionSlot = Arc<OnceLock<CompactionResult>>;

/// The number of tokens of a conversation, and of the context.
struct Size {
    tokens: u32,
    context: u32,
}

impl Compactor {
    /// Creates a compactor for a client's request to `endpoint`.
    pub fn new(
        services: Services,
        sender: (RequestId, Tenant),
        endpoint: &'static str,
        request: InferenceRequest,
    ) -> Self {
        Self { services, sender, endpoint, request, started: Instant::now() }
    }

    /// Runs all passes but the last, which the caller runs.
    ///
    /// # Errors
    /// An unknown or broken model, a conversation that its template refuses, a failed pass.
    pub async fn prepare(&self) -> Result<LastPass> {
        let chat = self.chat()?;
        self.prepare_for(chat).await
    }

    /// Has a summary written.
    ///
    /// # Errors
    /// Those of [`Self::prepare`].
    pub async fn summarise(&self, chat: &ChatPrompt) -> Result<CompactionResult> {
        let LastPass { request, mut outcome } = self.prepare_for(chat).await?;
        let (text, usage) = self.run(request).await?;
        outcome.usage = sum(outcome.usage, usage);
        outcome.summary = Some(Summary { text, kept_bytes: outcome.kept_bytes, before_question: false });
        Ok(outcome)
    }

    /// The client's conversation.
    ///
    /// # Errors
    /// A prompt that is no conversation.
    pub fn chat(&self) -> Result<&ChatPrompt> {
        match &self.request.generation.prompt {
            Prompt::Chat(chat) => Ok(chat),
            _ => Err(Error::invalid(Field::Messages, "only a conversation can be compacted")),
        }
    }

    /// Returns the client's request, with a summary in place of earlier turns if its prompt has more than `threshold` tokens.
    ///
    /// # Errors
    /// Those of [`Self::prepare`].
    pub async fn compact_above(
        self,
        threshold: Option<u32>,
        slot: CompactionSlot,
    ) -> Result<InferenceRequest> {
        let chat = self.chat()?;
        let Size { tokens, context } = self.measure(chat).await?;
        let (over, under) = DEFAULT_THRESHOLD;
        let threshold = threshold.unwrap_or_else(|| context / under * over);
        if tokens <= threshold || !is_compactable(&chat.messages) {
            return Ok(self.request);
        }
        let mut covered = chat.clone();
        let question = covered.messages.pop_if(|last| last.role == Role::User);
        let mut outcome = self.summarise(&covered).await?;
        if let Some(summary) = &mut outcome.summary {
            summary.before_question = question.is_some();
            covered.messages.extend(question);
            summary.apply(&mut covered.messages);
        }
        let tool_choice = chat.tool_choice.clone();
        // Clients take the counts of a response for the length of the conversation.
        outcome.usage = Usage::default();
        // Nothing else fills the slot.
        let _ = slot.set(outcome);
        let generation = self.request.generation.clone();
        let prompt = Prompt::Chat(ChatPrompt { tool_choice, ..covered });
        let generation = Generation { prompt, time_limit_ms: self.time_left()?, ..generation };
        Ok(InferenceRequest { generation, ..self.request })
    }

    async fn prepare_for(&self, chat: &ChatPrompt) -> Result<LastPass> {
        let turn = ordinary_turn(chat);
        let Size { tokens, context } = self.measure(&turn).await?;
        let room = (context / SUMMARY_PART).clamp(1, MAX_SUMMARY_TOKENS);
        let room = self.request.generation.max_tokens.map_or(room, |most| most.min(room));
        let kept_bytes = context as usize;
        let outcome = CompactionResult { kept_bytes, ..CompactionResult::default() };
        if tokens + room <= context {
            return Ok(LastPass { request: self.pass(turn, room)?, outcome });
        }
        self.prepare_in_parts(chat, (room, context), outcome).await
    }

    async fn prepare_in_parts(
        &self,
        chat: &ChatPrompt,
        (room, context): (u32, u32),
        mut outcome: CompactionResult,
    ) -> Result<LastPass> {
        let transcript = transcript(&chat.messages);
        let (mut rest, mut earlier) = (&*transcript, None);
        loop {
            let part = self.next_part(chat, earlier.as_deref(), rest, (room, context)).await?;
            rest = &rest[part.len()..];
            let request = self.pass(part_turn(chat, earlier.as_deref(), part), room)?;
            if rest.is_empty() {
                return Ok(LastPass { request, outcome });
            }
            let (text, usage) = self.run(request).await?;
            outcome.usage = sum(outcome.usage, usage);
            earlier = Some(text);
        }
    }

    /// Returns a beginning of `rest` that fits the context in one pass.
    async fn next_part<'a>(
        &self,
        chat: &ChatPrompt,
        earlier: Option<&str>,
        rest: &'a str,
        (room, context): (u32, u32),
    ) -> Result<&'a str> {
        let mut bytes = rest.len().min(context as usize * TOKEN_BYTES);
        loop {
            let part = &rest[..rest.floor_char_boundary(bytes)];
            let size = self.measure(&part_turn(chat, earlier, part)).await?;
            if size.tokens + room <= context {
                return Ok(part);
            }
            bytes /= 2;
            if bytes < MIN_PART_BYTES {
                let text = format!("this model's context of {context} tokens is too small for a compaction");
                return Err(Error::new(ErrorKind::ContextLength, Origin::Client, text));
            }
        }
    }

    async fn measure(&self, chat: &ChatPrompt) -> Result<Size> {
        let InferenceRequest { model, keep_alive, .. } = &self.request;
        let target = Target {
            model: model.clone(),
            sender: self.sender.1.clone(),
            keep_alive: *keep_alive,
            time_limit_ms: self.time_left()?,
            ..Target::default()
        };
        let prompt = Prompt::Chat(ChatPrompt { truncates: false, ..chat.clone() });
        let request = TokenizeRequest { prompt, add_special: false, parse_special: true, pieces: false };
        let tokenized = self.services.dispatcher.tokenize(&target, &request).await?;
        Ok(Size { tokens: tokenized.tokens.len() as u32, context: tokenized.max_context })
    }

    /// The request of one pass: the client's settings without those of its answer.
    fn pass(&self, turn: ChatPrompt, max_tokens: u32) -> Result<InferenceRequest> {
        let client = &self.request.generation;
        let mut sampling = client.sampling.clone();
        // Greedy, unless the client says otherwise.
        sampling.temperature.get_or_insert(0.0);
        let generation = Generation {
            prompt: Prompt::Chat(turn),
            sampling,
            max_tokens: Some(max_tokens),
            reasoning_budget: Some(max_tokens.div_ceil(2)),
            priority: client.priority,
            time_limit_ms: self.time_left()?,
            ..Generation::default()
        };
        Ok(InferenceRequest { generation, ..self.request.clone() })
    }

    async fn run(&self, request: InferenceRequest) -> Result<(String, Usage)> {
        let job = Job::new(self.services.clone(), self.sender.clone(), self.endpoint, request);
        let (outputs, _) = deliver::collect(job, |_| {}).await?;
        let output = outputs.into_iter().next().ok_or_else(no_summary)?;
        Ok((summary_text(&output.output)?, output.usage))
    }

    /// The rest of the client's time limit, in milliseconds.
    fn time_left(&self) -> Result<Option<u32>> {
        time_left_ms(self.request.generation.time_limit_ms, self.started)
    }
}

/// Returns the text of a summary, or the reasoning of a model that wrote nothing else.
///
/// # Errors
/// The output is empty.
pub fn summary_text(output: &Output) -> Result<String> {
    let reasoning = |part: &Part| if let Part::Reasoning(text) = part { Some(text.clone()) } else { None };
    let texts = [output.text(), output.parts.iter().filter_map(reasoning).collect()];
    let found = texts.iter().map(|text| text.trim()).find(|text| !text.is_empty());
    found.map(str::to_owned).ok_or_else(no_summary)
}

fn no_summary() -> Error {
    Error::new(ErrorKind::Internal, Origin::Worker, "the model wrote no summary")
}

/// Adds the token counts of two generations.
pub fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        prompt_tokens: one.prompt_tokens + other.prompt_tokens,
        cached_tokens: one.cached_tokens + other.cached_tokens,
        cache_written_tokens: one.cache_written_tokens + other.cache_written_tokens,
        completion_tokens: one.completion_tokens + other.completion_tokens,
        reasoning_tokens: one.reasoning_tokens + other.reasoning_tokens,
    }
}
