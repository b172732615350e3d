//! `GET /v1/models` in Anthropic's form.

#![expect(missing_docs, reason = "the names and their meaning are Anthropic's")]

use ipc_proto::supervisor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The query of a page of models.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Query {
    pub limit: Option<usize>,
    pub after_id: Option<String>,
    pub before_id: Option<String>,
}

/// A page of models.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicModelList")]
pub struct List {
    pub data: Vec<Model>,
    pub has_more: bool,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicModel")]
pub struct Model {
    pub r#type: &'static str,
    pub id: String,
    pub display_name: String,
    pub created_at: String,
    pub lifecycle: &'static str,
    pub deprecated_at: Option<()>,
    pub retires_at: Option<()>,
    /// The line whose place an alias takes, such as `opus` in `claude-opus-5-5`.
    pub line: Option<&'static str>,
    /// The maximum of prompt and output together, in tokens.
    pub max_input_tokens: Option<u32>,
    pub max_tokens: Option<u32>,
    pub capabilities: Capabilities,
}

/// The features of a model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicCapabilities")]
pub struct Capabilities {
    pub batch: Support,
    pub citations: Support,
    pub code_execution: Support,
    pub compaction: Compaction,
    pub context_management: ContextManagement,
    pub effort: Effort,
    pub image_input: Support,
    pub pdf_input: Support,
    pub server_tools: ServerTools,
    pub structured_outputs: Support,
    pub thinking: Thinking,
}

/// Whether a feature is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicSupport")]
pub struct Support {
    pub supported: bool,
}

/// Part of [`Capabilities`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicCompaction")]
pub struct Compaction {
    pub supported: bool,
    pub summarize: Support,
}

/// Part of [`Capabilities`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicContextManagement")]
pub struct ContextManagement {
    pub supported: bool,
    pub clear_thinking_20251015: Support,
    pub clear_tool_uses_20250919: Support,
    pub compact_20260112: Support,
}

/// Part of [`Capabilities`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicEffort")]
pub struct Effort {
    pub supported: bool,
    pub low: Support,
    pub medium: Support,
    pub high: Support,
    pub xhigh: Support,
    pub max: Support,
}

/// Part of [`Capabilities`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicServerTools")]
pub struct ServerTools {
    pub supported: bool,
    pub code_execution: Support,
    pub web_search: Support,
}

/// Part of [`Capabilities`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicThinking")]
pub struct Thinking {
    pub supported: bool,
    pub types: ThinkingTypes,
}

/// Part of [`Thinking`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicThinkingTypes")]
pub struct ThinkingTypes {
    pub adaptive: Support,
    pub between_tools: Support,
    pub disabled: Support,
    pub enabled: Support,
}

const YES: Support = Support { supported: true };
const NO: Support = Support { supported: false };

impl From<supervisor::Capabilities> for Capabilities {
    fn from(model: supervisor::Capabilities) -> Self {
        let supervisor::Capabilities { chat, reasoning, vision, .. } = model;
        let (chats, reasons) = (Support { supported: chat }, Support { supported: reasoning });
        Self {
            batch: NO,
            citations: NO,
            code_execution: NO,
            compaction: Compaction { supported: chat, summarize: chats },
            context_management: ContextManagement {
                supported: chat,
                clear_thinking_20251015: chats,
                clear_tool_uses_20250919: NO,
                compact_20260112: chats,
            },
            // The template gets three efforts: those above `high` equal it.
            effort: Effort {
                supported: reasoning,
                low: reasons,
                medium: reasons,
                high: reasons,
                xhigh: reasons,
                max: reasons,
            },
            image_input: Support { supported: vision },
            pdf_input: NO,
            server_tools: ServerTools { supported: false, code_execution: NO, web_search: NO },
            structured_outputs: chats,
            thinking: Thinking {
                supported: reasoning,
                types: ThinkingTypes {
                    adaptive: reasons,
                    between_tools: YES,
                    disabled: YES,
                    enabled: reasons,
                },
            },
        }
    }
}

/// Returns the line of Anthropic's models whose place the name `id` takes.
pub fn line(id: &str) -> Option<&'static str> {
    let lines = ["haiku", "sonnet", "opus", "fable", "mythos"];
    let mut words = id.split(|character: char| !character.is_ascii_alphanumeric());
    if !id.contains("claude") {
        return lines.into_iter().find(|line| *line == id);
    }
    words.find_map(|word| lines.into_iter().find(|line| *line == word))
}
