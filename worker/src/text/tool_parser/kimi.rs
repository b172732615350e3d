//! Kimi K2: `<|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{…}<|tool_call_end|>` between markers.

use super::named::NamedForm;
use super::syntax::Markers;

pub(super) const OPEN: &str = "<|tool_calls_section_begin|>";
pub(super) const CALL: &str = "<|tool_call_begin|>";
pub(super) const NAME_END: &str = "<|tool_call_argument_begin|>";
pub(super) const CALL_END: &str = "<|tool_call_end|>";
pub(super) const CLOSE: &str = "<|tool_calls_section_end|>";
pub(super) const MARKERS: Markers =
    Markers { open: &[OPEN, CALL], first: &[], close: &[CALL_END, CLOSE], known_only: false };
pub(super) const FORMS: [NamedForm; 1] =
    [NamedForm { begin: CALL, end: NAME_END, name: function_name, placeholder: None }];

/// `functions.name:0` is the call's id.
fn function_name(id: &str) -> &str {
    let id = id.trim();
    let name = id.strip_prefix("functions.").unwrap_or(id);
    match name.rsplit_once(':') {
        Some((name, index)) if index.chars().all(|c| c.is_ascii_digit()) => name,
        _ => name,
    }
}
