//! Seed-OSS: `<seed:tool_call>\n<function=name>\n<parameter=key>value</parameter>\n</function>\n</seed:tool_call>`.

use super::qwen_xml;
use super::syntax::Markers;
use super::xml::XmlTags;

pub(super) const OPEN: &str = "<seed:tool_call>";
pub(super) const CLOSE: &str = "</seed:tool_call>";
pub(super) const TAGS: XmlTags = XmlTags { own_lines: false, close: CLOSE, ..qwen_xml::TAGS };
pub(super) const MARKERS: Markers =
    Markers { open: &[OPEN, TAGS.function], first: &[], close: &[CLOSE], known_only: false };
