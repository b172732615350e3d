//! Models without a format of their own: `{"name": …, "arguments": {…}}`, or a list of such objects, as the whole answer, bare
//! or in a fence.

use super::syntax::Markers;

pub(super) const MARKERS: Markers =
    Markers { open: &[], first: &['{', '[', '`'], close: &[], known_only: true };
