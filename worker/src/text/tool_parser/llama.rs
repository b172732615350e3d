//! Llama 3: `{"name": …, "parameters": {…}}` as the whole answer, with or without `<|python_tag|>` before it. Semicolons
//! separate several calls.

use super::syntax::Markers;

const OPEN: &str = "<|python_tag|>";
pub(super) const MARKERS: Markers = Markers { open: &[OPEN], first: &['{'], close: &[], known_only: true };
