//! Calls of tools whose input is text. The model passes the text as the JSON argument `input`; clients get and send the text.

use ipc_proto::generate::Tool;
use serde_json::{Value, json};

/// Characters of an escape, at most: a surrogate pair.
const MAX_ESCAPE: usize = 12;
/// Characters of `\u` and its four digits.
const CODE: usize = 6;

/// The arguments that pass `text`.
pub fn arguments(text: &str) -> String {
    json!({ Tool::TEXT_ARGUMENT: text }).to_string()
}

/// Decodes the arguments of one call piece by piece. It gives whole characters only.
#[derive(Debug, Clone, Default)]
pub struct TextInput {
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Before the text: the arguments so far, and the same without white space.
    Head(String, String),
    /// Within the text. Holds the beginning of an escape.
    Inside(String),
    /// After the text.
    Done,
    /// The arguments have another form.
    Other(String),
}

impl Default for State {
    fn default() -> Self {
        Self::Head(String::new(), String::new())
    }
}

impl TextInput {
    /// Takes more of the arguments. Returns more of the text.
    pub fn push(&mut self, arguments: &str) -> String {
        let mut text = String::new();
        for c in arguments.chars() {
            self.push_char(c, &mut text);
        }
        text
    }

    /// Ends the call. Returns the rest of the text: arguments of another form are text as a whole.
    pub fn finish(&mut self) -> String {
        let State::Other(raw) = &self.state else { return String::new() };
        let text = match serde_json::from_str::<Value>(raw) {
            Ok(Value::Object(members)) if members.is_empty() => String::new(),
            Ok(value) => value[Tool::TEXT_ARGUMENT].as_str().unwrap_or(raw).to_owned(),
            Err(_) => raw.clone(),
        };
        self.state = State::Done;
        text
    }

    /// Whether the text has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn push_char(&mut self, c: char, text: &mut String) {
        match &mut self.state {
            State::Head(raw, head) => {
                raw.push(c);
                if !c.is_whitespace() {
                    head.push(c);
                }
                let opening = format!("{{{}:\"", Value::from(Tool::TEXT_ARGUMENT));
                if *head == opening {
                    self.state = State::Inside(String::new());
                } else if !opening.starts_with(&*head) {
                    self.state = State::Other(std::mem::take(raw));
                }
            }
            State::Inside(escape) if escape.is_empty() => match c {
                '"' => self.state = State::Done,
                '\\' => escape.push(c),
                c => text.push(c),
            },
            State::Inside(escape) => {
                escape.push(c);
                let Some(decoded) = decode(escape) else { return };
                let rest = escape.split_off(decoded.length);
                text.push_str(&decoded.text);
                self.state = State::Inside(String::new());
                rest.chars().for_each(|c| self.push_char(c, text));
            }
            State::Done => {}
            State::Other(raw) => raw.push(c),
        }
    }
}

/// The text of an escape, and its length in bytes.
struct Decoded {
    text: String,
    length: usize,
}

/// Decodes an escape. `None` if more of it follows. Half a surrogate pair becomes the replacement character.
fn decode(escape: &str) -> Option<Decoded> {
    let whole = |text: String| Some(Decoded { text, length: escape.len() });
    let parsed: Option<String> = serde_json::from_str(&format!("\"{escape}\"")).ok();
    if let Some(text) = parsed {
        return whole(text);
    }
    let is_code = escape.as_bytes().get(1) == Some(&b'u')
        && escape.as_bytes().get(2..CODE).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let may_continue = match escape.as_bytes() {
        [_] | [_, b'u'] => true,
        [_, b'u', digits @ ..] if escape.len() < CODE => digits.iter().all(u8::is_ascii_hexdigit),
        _ if is_code && escape.len() < MAX_ESCAPE => {
            let (first, second) = escape.split_at(CODE);
            let high = first[2..].to_ascii_lowercase();
            let is_high = high.starts_with('d') && matches!(high.as_bytes()[1], b'8'..=b'b');
            let digits = second.strip_prefix("\\u").unwrap_or_default();
            let begins = "\\u".starts_with(second) || !digits.is_empty();
            is_high && begins && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        _ => false,
    };
    if may_continue {
        return None;
    }
    if is_code {
        return Some(Decoded { text: char::REPLACEMENT_CHARACTER.to_string(), length: CODE });
    }
    // No escape of JSON.
    whole(escape.to_owned())
}

#[cfg(test)]
mod tests;
