//! Command R7B and Command A: `<|START_ACTION|>[{"tool_call_id": "0", "tool_name": …, "parameters": {…}}, …]<|END_ACTION|>`.

use super::syntax::Markers;

pub(super) const OPEN: &str = "<|START_ACTION|>";
pub(super) const CLOSE: &str = "<|END_ACTION|>";
pub(super) const MARKERS: Markers = Markers { open: &[OPEN], first: &[], close: &[CLOSE], known_only: false };
