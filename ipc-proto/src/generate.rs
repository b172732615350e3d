//! What is asked of a model and what comes back, free of any vendor's field names.
//!
//! Every client protocol is translated into [`GenerateRequest`] and out of [`Event`].

use serde::{Deserialize, Serialize};

use crate::Error;

/// A request's number, unique within one step-frame connection; the gateway gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// One text generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateRequest {
    /// Names the request on the step-frame connection.
    pub id: RequestId,
    /// What to continue.
    pub prompt: Prompt,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Texts that end the generation; they are not part of the output.
    pub stop: Vec<String>,
    /// At most this many tokens; `None` goes on to the end of the context.
    pub max_tokens: Option<u32>,
}

/// What the model continues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// Plain text, tokenised with the model's special tokens (BOS) as its tokenizer adds them.
    Text(String),
    /// A conversation, rendered with the model's chat template.
    Chat(ChatPrompt),
}

/// A conversation before the chat template.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChatPrompt {
    /// In order of time.
    pub messages: Vec<Message>,
    /// Extra variables for the template, as a JSON object in text form (`None`: no extras). Text, because
    /// bincode cannot carry self-describing values.
    pub template_kwargs: Option<String>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// The speaker's name where several share a role.
    pub name: Option<String>,
}

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Instructions that stand above the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
}

impl Role {
    /// The name that chat templates compare with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// How the next token is chosen. `None` takes what the model's `generation_config.json` says, else the neutral
/// value given at each field.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 is greedy; neutral 1.
    pub temperature: Option<f32>,
    /// Keep the smallest set of tokens with this probability mass, in (0, 1]; neutral 1.
    pub top_p: Option<f32>,
    /// Keep the k likeliest tokens; neutral 0, which keeps all.
    pub top_k: Option<u32>,
    /// Keep tokens at least this fraction as likely as the likeliest, in [0, 1]; neutral 0.
    pub min_p: Option<f32>,
    /// Same seed, same text. `None` draws one.
    pub seed: Option<u64>,
    /// Logits of tokens in prompt or output are divided by it where positive, multiplied where negative; neutral 1.
    pub repetition_penalty: Option<f32>,
    /// Taken from the logit of each token in the output; neutral 0.
    pub presence_penalty: Option<f32>,
    /// Taken from it as often as the token is there; neutral 0.
    pub frequency_penalty: Option<f32>,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
}

/// What a generation tells while it runs. A request has any number of `Text`, then exactly one `Finished` or
/// `Failed`; nothing follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// More text: whole characters, never part of a stop text.
    Text {
        /// Index (from 0) of the generated token that released this text.
        index: u32,
        /// The text, never empty.
        text: String,
    },
    /// The generation ended as it should.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
    },
    /// The generation ended by a failure.
    Failed(Error),
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FinishReason {
    /// The model ended its turn or a stop text came.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
}

/// Token counts of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: u32,
    /// Of these, tokens whose KV came from the prefix cache.
    pub cached_tokens: u32,
    /// Tokens generated, the ending one included.
    pub completion_tokens: u32,
}
