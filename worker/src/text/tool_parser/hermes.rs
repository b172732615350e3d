//! Hermes, Qwen 2.5 and 3, SmolLM3: `<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>`. Small models (Qwen2.5-Coder)
//! often omit the tags, or write a fence in their place.

use super::syntax::Markers;

pub(super) const OPEN: &str = "<tool_call>";
pub(super) const CLOSE: &str = "</tool_call>";
pub(super) const MARKERS: Markers =
    Markers { open: &[OPEN], first: &['{', '`'], close: &[CLOSE], known_only: false };
