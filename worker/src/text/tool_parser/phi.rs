//! Phi 4: `<|tool_call|>[{"name": …, "arguments": {…}}, …]<|/tool_call|>`, or `functools` before the list.

use super::syntax::Markers;

pub(super) const OPEN: &str = "<|tool_call|>";
pub(super) const CLOSE: &str = "<|/tool_call|>";
pub(super) const MARKERS: Markers =
    Markers { open: &[OPEN, "functools["], first: &[], close: &[CLOSE], known_only: false };
