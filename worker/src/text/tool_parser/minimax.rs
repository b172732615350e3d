//! MiniMax M2, with one or several calls between the outer tags:
//! `<minimax:tool_call>\n<invoke name="name">\n<parameter name="key">value</parameter>\n</invoke>\n</minimax:tool_call>`.

use super::syntax::Markers;
use super::xml::XmlTags;

pub(super) const OPEN: &str = "<minimax:tool_call>";
pub(super) const CLOSE: &str = "</minimax:tool_call>";
pub(super) const TAGS: XmlTags = XmlTags {
    function: "<invoke name=\"",
    name_end: "\">",
    parameter: "<parameter name=\"",
    key_end: "\">",
    value: "",
    value_end: "</parameter>",
    own_lines: false,
    end: "</invoke>",
    close: CLOSE,
};
pub(super) const MARKERS: Markers =
    Markers { open: &[OPEN, TAGS.function], first: &[], close: &[CLOSE], known_only: false };
