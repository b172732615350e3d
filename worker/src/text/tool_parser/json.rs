//! Models without a form of their own: `{"name": …, "arguments": {…}}` or a list of such as the whole answer, bare or in a
//! fence.

use super::Markers;

pub(super) const MARKERS: Markers =
    Markers { open: &[], first: &['{', '[', '`'], close: &[], known_only: true };
