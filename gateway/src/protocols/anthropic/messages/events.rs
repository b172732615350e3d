//! The events of a streamed message.

#![expect(missing_docs, reason = "the names and their meaning are Anthropic's")]

use schemars::JsonSchema;
use serde::Serialize;

use crate::protocols::anthropic::messages::wire::{AnswerBlock, Response, Usage};

/// One event. Its `type` is also its SSE name.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "MessagesEvent")]
pub enum Event<'a> {
    MessageStart { message: Response<'a> },
    ContentBlockStart { index: u32, content_block: AnswerBlock },
    ContentBlockDelta { index: u32, delta: Delta<'a> },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: MessageDelta<'a>, usage: Usage },
    MessageStop,
    Ping,
}

impl Event<'_> {
    /// The SSE name, by which the SDKs distinguish events.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
        }
    }
}

/// The increment of a block.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "MessagesBlockDelta")]
pub enum Delta<'a> {
    TextDelta { text: &'a str },
    ThinkingDelta { thinking: &'a str },
    SignatureDelta { signature: &'a str },
    InputJsonDelta { partial_json: &'a str },
    CompactionDelta { content: Option<&'a str>, encrypted_content: Option<()> },
}

/// The end of a message.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessagesEnd")]
pub struct MessageDelta<'a> {
    pub stop_reason: &'static str,
    pub stop_sequence: Option<&'a str>,
    pub stop_details: Option<()>,
    pub container: Option<()>,
}
