//! Qwen3-Coder: `<tool_call>\n<function=name>\n<parameter=key>\nvalue\n</parameter>\n</function>\n</tool_call>`.

use super::hermes;
use super::syntax::Markers;
use super::xml::XmlTags;

pub(super) const TAGS: XmlTags = XmlTags {
    function: "<function=",
    name_end: ">",
    parameter: "<parameter=",
    key_end: ">",
    value: "",
    value_end: "</parameter>",
    own_lines: true,
    end: "</function>",
    close: hermes::CLOSE,
};
pub(super) const MARKERS: Markers =
    Markers { open: &[hermes::OPEN, TAGS.function], first: &[], close: &[hermes::CLOSE], known_only: false };
