//! Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and from v11 on `[TOOL_CALLS]name[ARGS]{…}`, repeated.

use super::named::NamedForm;
use super::syntax::Markers;

pub(super) const OPEN: &str = "[TOOL_CALLS]";
pub(super) const ARGS: &str = "[ARGS]";
const CALL_ID: &str = "[CALL_ID]";
/// Markers inside a call.
pub(super) const INNER: [&str; 2] = [ARGS, CALL_ID];
pub(super) const MARKERS: Markers = Markers { open: &[OPEN], first: &[], close: &[], known_only: false };
pub(super) const FORMS: [NamedForm; 1] = [NamedForm {
    begin: "",
    end: ARGS,
    name: |head| head.split_once(CALL_ID).map_or(head, |(name, _)| name),
    placeholder: None,
}];
