//! GLM 4.5 to 4.7: `<tool_call>name\n<arg_key>key</arg_key>\n<arg_value>value</arg_value>\n</tool_call>`.

use super::hermes;
use super::syntax::Markers;
use super::xml::XmlTags;

pub(super) const TAGS: XmlTags = XmlTags {
    function: "",
    name_end: "\n",
    parameter: "<arg_key>",
    key_end: "</arg_key>",
    value: "<arg_value>",
    value_end: "</arg_value>",
    own_lines: false,
    end: hermes::CLOSE,
    close: hermes::CLOSE,
};
pub(super) const MARKERS: Markers =
    Markers { open: &[hermes::OPEN], first: &[], close: &[hermes::CLOSE], known_only: false };
