//! DeepSeek V3.1: `name<｜tool▁sep｜>{…}` between markers; R1 and V3: `function<｜tool▁sep｜>name` and the arguments in a fence.

use super::named::NamedForm;
use super::syntax::Markers;

pub(super) const OPEN: &str = "<｜tool▁calls▁begin｜>";
pub(super) const CALL: &str = "<｜tool▁call▁begin｜>";
pub(super) const NAME_END: &str = "<｜tool▁sep｜>";
pub(super) const CALL_END: &str = "<｜tool▁call▁end｜>";
pub(super) const CLOSE: &str = "<｜tool▁calls▁end｜>";
/// Before and after the arguments of R1.
pub(super) const FENCE: [&str; 2] = ["\n```json\n", "\n```"];
/// The type of a call, in R1's form.
pub(super) const KIND: &str = "function";
pub(super) const MARKERS: Markers =
    Markers { open: &[OPEN, CALL], first: &[], close: &["```", CALL_END, CLOSE], known_only: false };
pub(super) const FORMS: [NamedForm; 2] = [
    NamedForm { begin: CALL, end: NAME_END, name: |head| head, placeholder: Some(KIND) },
    NamedForm {
        begin: CALL,
        end: FENCE[0],
        name: |head| head.split_once(NAME_END).map_or(head, |(_, name)| name),
        placeholder: None,
    },
];
