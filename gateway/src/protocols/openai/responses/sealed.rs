//! What a model thought, in a form that clients hand back unread. It is their own text, so nothing is secret in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const MARK: &str = "mlxd1.";

/// `text` as an opaque string.
pub fn seal(text: &str) -> String {
    format!("{MARK}{}", STANDARD.encode(text))
}

/// The text in what [`seal`] made; `None` for what others made.
pub fn open(sealed: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(sealed.strip_prefix(MARK)?).ok()?).ok()
}
