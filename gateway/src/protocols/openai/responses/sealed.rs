//! Encodes reasoning as opaque content that clients send back. It is the client's own data, so it is not encrypted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const MARK: &str = "mlxd1.";

/// Encodes `text` as an opaque string.
pub fn seal(text: &str) -> String {
    format!("{MARK}{}", STANDARD.encode(text))
}

/// Decodes a string of [`seal`]. Returns `None` for strings of other servers.
pub fn open(sealed: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(sealed.strip_prefix(MARK)?).ok()?).ok()
}
