//! References whose definition has a name that is escaped in them, such as `#/$defs/a~1b`. llguidance does not unescape. Pure.

use serde_json::Value;

use super::{DEFINITIONS, for_children_mut};

/// Copies each definition that a reference names by an escaped name to that name.
pub(super) fn copy_escaped(root: &mut Value) {
    let mut escaped = Vec::new();
    collect(root, &mut escaped);
    let copies: Vec<_> = escaped
        .into_iter()
        .filter_map(|(keyword, name)| {
            Some((keyword, root.get(keyword)?.get(unescape(&name)?)?.clone(), name))
        })
        .collect();
    for (keyword, definition, name) in copies {
        root[keyword][name] = definition;
    }
}

/// The escaped names in references, each with the keyword that holds its definition.
fn collect(schema: &mut Value, escaped: &mut Vec<(&'static str, String)>) {
    for_children_mut(schema, &mut |child| collect(child, escaped));
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return };
    for keyword in DEFINITIONS {
        let path =
            reference.strip_prefix("#/").and_then(|rest| rest.strip_prefix(keyword)?.strip_prefix('/'));
        let name = path.and_then(|path| path.split('/').next()).unwrap_or_default();
        if name.contains(['~', '%']) {
            escaped.push((keyword, name.to_owned()));
        }
    }
}

/// The name that stands escaped in a fragment (RFC 3986, section 2.1) as a part of a JSON pointer (RFC 6901, section 3).
fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(String::from_utf8(bytes).ok()?.replace("~1", "/").replace("~0", "~"))
}
