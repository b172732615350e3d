//! The forms of texts that several settings share.

/// Whether a text is an address of HTTP without user, query and fragment.
pub(super) fn is_address(url: &str) -> bool {
    let host = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#', ' ']))
}

/// The longest name of a provider or a backend, in bytes.
const MAX_NAME: usize = 100;

/// Whether a text can be the name of a provider or a backend.
pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_plain)
}

/// Whether a text can be the name of a header.
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
}

/// Whether a text can be the value of a header: visible ASCII and spaces.
pub(super) fn is_header_value(value: &str) -> bool {
    value.bytes().all(|c| c == b' ' || c.is_ascii_graphic())
}
