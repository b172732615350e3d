//! The JSON types of the web UI's conversations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::Body;
use crate::store::chats::ChatSummary;

/// The query of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatQuery {
    /// A text in the title or the turns.
    pub search: Option<String>,
    /// The `next` of an earlier page.
    pub after: Option<String>,
    /// The conversations of a page.
    pub limit: Option<u32>,
}

/// A page of conversations.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChatSummaries {
    /// Pinned ones first, then the latest.
    pub chats: Vec<ChatSummary>,
    /// The `after` of the next page; null on the last one.
    pub next: Option<String>,
}

/// A conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoredChat")]
pub struct Chat {
    /// All but the turns.
    #[serde(flatten)]
    pub summary: ChatSummary,
    /// The turns, as the page wrote them.
    pub body: Value,
}

/// A conversation to store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatInput {
    /// 1 to 200 characters.
    pub title: String,
    /// Whether it stands before the others.
    #[serde(default)]
    pub pinned: bool,
    /// The revision that the change is based on; 0 for a new conversation.
    pub revision: u32,
    /// The turns: any object.
    pub body: Value,
}

impl Body for ChatInput {}

/// A change of the title or of the pin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatMark {
    /// The new title, in 1 to 200 characters.
    pub title: Option<String>,
    /// Whether it stands before the others.
    pub pinned: Option<bool>,
}

impl Body for ChatMark {}
