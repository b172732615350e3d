//! Describes a wrong value of TOML.

use ipc_proto::wording::TOML;

/// Describes the problem with the value at `path`, or with one inside it.
pub(crate) fn sentence(path: &str, error: &toml::de::Error) -> String {
    // The text of an error ends with the path inside the value, for which there is no other access.
    let text = error.to_string();
    match text.trim_end().rsplit_once("in `").and_then(|(_, inside)| inside.strip_suffix('`')) {
        Some(inside) => TOML.sentence(&format!("{path}.{inside}"), error.message()),
        None => TOML.sentence(path, error.message()),
    }
}
