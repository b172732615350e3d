//! The JSON types of the web UI's conversations, folders and presets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::Body;
use crate::store::chats::ChatSummary;
use crate::store::folders::Folder;

/// The query of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatQuery {
    /// A text in the title or the turns.
    pub search: Option<String>,
    /// The id of a folder; empty for conversations of none.
    pub folder: Option<String>,
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

/// A change of what stands in the list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatMark {
    /// The new title, in 1 to 200 characters.
    pub title: Option<String>,
    /// Whether it stands before the others.
    pub pinned: Option<bool>,
    /// The id of its folder; empty for none.
    pub folder: Option<String>,
}

impl Body for ChatMark {}

/// Every folder.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatFolders")]
pub struct Folders {
    /// Sorted by name.
    pub folders: Vec<Folder>,
}

/// A folder to make or rename.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ChatFolderInput")]
#[serde(deny_unknown_fields)]
pub struct FolderInput {
    /// 1 to 100 characters, which no other folder has.
    pub name: String,
}

impl Body for FolderInput {}

/// A named system prompt with parameters.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatPreset")]
pub struct Preset {
    /// The id that the page gave it.
    pub id: String,
    /// The name.
    pub name: String,
    /// What it sets, as the page wrote it.
    pub body: Value,
}

/// Every preset.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatPresets")]
pub struct Presets {
    /// Sorted by name.
    pub presets: Vec<Preset>,
}

/// A preset to store.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ChatPresetInput")]
#[serde(deny_unknown_fields)]
pub struct PresetInput {
    /// 1 to 100 characters, which no other preset has.
    pub name: String,
    /// What it sets: any object.
    pub body: Value,
}

impl Body for PresetInput {}
