//! Writes models in the form of Codex's catalogue. Without it, Codex assumes a context of its own and sends neither its patch
//! tool nor parallel calls.

use ipc_proto::supervisor::{Details, ModelEntry, ReasoningControl};
use ipc_proto::worker::ModelKind;

use crate::protocols::openai::models::{CodexModel, ReasoningLevel, TruncationPolicy};

/// Codex sends a catalogued model these instructions instead of its own.
const INSTRUCTIONS: &str = "You are a coding agent in the user's terminal. Work on the task until it is done. Read files before \
                            you change them, and change them with apply_patch. Run commands to check your work. Do not undo \
                            changes that you did not make. Ask only if you cannot go on. End with a short report of what you did.";
/// Bytes of a tool's output that Codex keeps.
const MAX_RESULT_BYTES: u32 = 10_000;
/// The rest of the context is for the output.
const PROMPT_PERCENT: u32 = 95;

/// Returns the models that can chat.
pub fn catalogue(models: &[ModelEntry]) -> Vec<CodexModel> {
    let chats =
        |entry: &&ModelEntry| entry.details.kind == ModelKind::Generate && entry.details.capabilities.chat;
    models.iter().filter(chats).enumerate().map(|(at, entry)| model(at, entry)).collect()
}

fn model(priority: usize, entry: &ModelEntry) -> CodexModel {
    let levels = reasoning_levels(&entry.details);
    CodexModel {
        slug: entry.id.clone(),
        display_name: entry.id.clone(),
        description: None,
        default_reasoning_level: (!levels.is_empty()).then_some("medium"),
        supported_reasoning_levels: levels,
        default_reasoning_summary: "none",
        shell_type: "shell_command",
        visibility: "list",
        supported_in_api: true,
        priority,
        availability_nux: None,
        upgrade: None,
        base_instructions: INSTRUCTIONS,
        supports_reasoning_summaries: entry.details.capabilities.reasoning,
        support_verbosity: true,
        default_verbosity: None,
        apply_patch_tool_type: "freeform",
        web_search_tool_type: "text",
        truncation_policy: TruncationPolicy { mode: "bytes", limit: MAX_RESULT_BYTES },
        supports_parallel_tool_calls: true,
        supports_image_detail_original: false,
        // With true, Codex shows no tool of an MCP server until the model searches for it. Small models do not think of that.
        supports_search_tool: false,
        context_window: entry.context,
        max_context_window: entry.context,
        effective_context_window_percent: PROMPT_PERCENT,
        experimental_supported_tools: [],
        input_modalities: if entry.details.capabilities.vision { &["text", "image"] } else { &["text"] },
    }
}

/// Returns the levels that make a difference to the model.
fn reasoning_levels(details: &Details) -> Vec<ReasoningLevel> {
    let level = |(effort, description)| ReasoningLevel { effort, description };
    let levels: &[(&str, &str)] = match details.reasoning_control {
        ReasoningControl::Effort => {
            &[("low", "Thinks briefly"), ("medium", "Thinks"), ("high", "Thinks at length")]
        }
        ReasoningControl::Switch => &[("none", "Answers at once"), ("medium", "Thinks first")],
        ReasoningControl::Fixed if details.capabilities.reasoning => &[("medium", "Thinks first")],
        ReasoningControl::Fixed => &[],
    };
    levels.iter().copied().map(level).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(change: impl FnOnce(&mut ModelEntry)) -> ModelEntry {
        let mut entry = ModelEntry { id: "org/m".into(), context: Some(4096), ..ModelEntry::default() };
        entry.details.capabilities.chat = true;
        change(&mut entry);
        entry
    }

    fn shown(entry: ModelEntry) -> Value {
        serde_json::to_value(catalogue(&[entry])).unwrap()[0].take()
    }

    #[test]
    fn model_has_every_field_that_codex_requires() {
        let shown = shown(entry(|_| {}));
        for field in [
            "slug",
            "display_name",
            "supported_reasoning_levels",
            "shell_type",
            "visibility",
            "supported_in_api",
            "priority",
            "base_instructions",
            "supports_reasoning_summaries",
            "support_verbosity",
            "default_verbosity",
            "apply_patch_tool_type",
            "truncation_policy",
            "supports_parallel_tool_calls",
            "experimental_supported_tools",
        ] {
            assert!(shown.get(field).is_some(), "{field}");
        }
        assert_eq!((&shown["slug"], &shown["context_window"]), (&json!("org/m"), &json!(4096)));
        assert_eq!(shown["apply_patch_tool_type"], "freeform");
        assert_eq!(shown["truncation_policy"], json!({"mode": "bytes", "limit": 10_000}));
        assert_eq!(shown["input_modalities"], json!(["text"]));
    }

    #[test]
    fn model_that_reads_images_says_so() {
        let shown = shown(entry(|entry| entry.details.capabilities.vision = true));
        assert_eq!(shown["input_modalities"], json!(["text", "image"]));
    }

    #[test]
    fn reasoning_levels_are_those_of_the_template() {
        let levels = |control, reasoning| {
            let shown = shown(entry(|entry| {
                entry.details.reasoning_control = control;
                entry.details.capabilities.reasoning = reasoning;
            }));
            let levels = shown["supported_reasoning_levels"].as_array().unwrap().clone();
            levels.iter().map(|level| level["effort"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(levels(ReasoningControl::Effort, true), ["low", "medium", "high"]);
        assert_eq!(levels(ReasoningControl::Switch, true), ["none", "medium"]);
        assert_eq!(levels(ReasoningControl::Fixed, true), ["medium"]);
        assert!(levels(ReasoningControl::Fixed, false).is_empty());
    }

    #[test]
    fn models_that_cannot_chat_are_left_out() {
        let embeds = entry(|entry| entry.details.kind = ModelKind::Embed);
        let base = entry(|entry| entry.details.capabilities.chat = false);
        let priorities: Vec<_> =
            catalogue(&[embeds, entry(|_| {}), base, entry(|_| {})]).iter().map(|one| one.priority).collect();
        assert_eq!(priorities, [0, 1]);
    }
}
