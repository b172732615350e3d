//! Granite 3: `<|tool_call|>[{"name": …, "arguments": {…}}, …]`.

use super::syntax::Markers;

pub(super) const OPEN: &str = "<|tool_call|>";
pub(super) const MARKERS: Markers = Markers { open: &[OPEN], first: &[], close: &[], known_only: false };
