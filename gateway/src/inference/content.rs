//! The content of one request: its body as the client sent it, what went to a provider, and the output. It is collected only for keys
//! whose settings say so, and is for the request log alone. Nothing here prints it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipc_proto::generate::{Event, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes that are kept of each text, and of all outputs together.
pub const MAX_BYTES: usize = 256 << 10;
/// Outputs that are kept.
const MAX_OUTPUTS: usize = 128;

/// Collects the content of a request. Its reader, its attempts and its recorder share it.
#[derive(Default)]
pub struct Content(Mutex<Collected>);

/// What was collected so far.
#[derive(Clone, Default)]
pub struct Collected {
    request: Kept,
    sent: Option<(String, Kept)>,
    answer: Option<Kept>,
    outputs: Vec<StoredOutput>,
    output_bytes: usize,
    is_cut: bool,
}

/// The beginning of a text.
#[derive(Clone, Default)]
struct Kept {
    bytes: Vec<u8>,
    is_cut: bool,
}

/// The stored content of a request. Each text is its beginning, at most 256 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RequestContent")]
pub struct StoredContent {
    /// The body as the client sent it.
    pub request: String,
    /// What went to the provider that answered, or was asked last; null for a model of this machine.
    pub sent: Option<SentRequest>,
    /// The outputs, one for each choice.
    pub outputs: Vec<StoredOutput>,
    /// The provider's answer, where it was passed on as a whole.
    pub answer: Option<String>,
    /// Whether a text is longer than what is stored.
    pub cut: bool,
}

/// A request to a provider, without its headers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SentRequest {
    /// The address.
    pub url: String,
    /// The body.
    pub body: String,
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StoredOutput {
    /// The text of the answer.
    pub text: String,
    /// The reasoning before it.
    pub reasoning: String,
    /// The calls of functions.
    pub calls: Vec<StoredCall>,
}

/// One call of a function.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StoredCall {
    /// The function's name.
    pub name: String,
    /// Its arguments, as the model wrote them.
    pub arguments: String,
}

impl Content {
    /// The content of a request with this body.
    pub fn of_request(body: &[u8]) -> Self {
        let content = Self::default();
        content.add_request(body);
        content
    }

    /// Appends a piece of the client's body.
    pub fn add_request(&self, piece: &[u8]) {
        self.locked().request.add(piece);
    }

    /// Notes the request to a provider. It replaces that of an earlier attempt.
    pub fn set_sent(&self, url: String, body: &[u8]) {
        self.locked().sent = Some((url, Kept::of(body)));
    }

    /// Forgets the request to a provider: another model is asked.
    pub fn forget_sent(&self) {
        self.locked().sent = None;
    }

    /// Notes the answer of a provider that is passed on as a whole.
    pub fn set_answer(&self, body: &[u8]) {
        self.locked().answer = Some(Kept::of(body));
    }

    /// Adds an event of a choice to its output.
    pub fn add_event(&self, choice: usize, event: &Event) {
        if let Event::Delta(delta) = event {
            let mut collected = self.locked();
            delta.parts.iter().for_each(|part| collected.add_part(choice, part));
        }
    }

    /// What was collected. The client's body stays for a further record of the same request.
    pub fn take(&self) -> Collected {
        let mut collected = self.locked();
        let request = collected.request.clone();
        std::mem::replace(&mut *collected, Collected { request, ..Collected::default() })
    }

    fn locked(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content")
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl Collected {
    fn add_part(&mut self, choice: usize, part: &Part) {
        if choice >= MAX_OUTPUTS {
            self.is_cut = true;
            return;
        }
        if self.outputs.len() <= choice {
            self.outputs.resize_with(choice + 1, StoredOutput::default);
        }
        let text = match part {
            Part::Text(text)
            | Part::Reasoning(text)
            | Part::Arguments(text)
            | Part::Call { name: text, .. } => text,
        };
        let text = beginning(text, MAX_BYTES - self.output_bytes, &mut self.is_cut);
        self.output_bytes += text.len();
        let output = &mut self.outputs[choice];
        match part {
            Part::Text(_) => output.text.push_str(text),
            Part::Reasoning(_) => output.reasoning.push_str(text),
            Part::Call { .. } if text.is_empty() => {}
            Part::Call { .. } => {
                output.calls.push(StoredCall { name: text.to_owned(), ..StoredCall::default() });
            }
            Part::Arguments(_) => {
                if let Some(call) = output.calls.last_mut() {
                    call.arguments.push_str(text);
                }
            }
        }
    }
}

impl Kept {
    fn of(bytes: &[u8]) -> Self {
        let mut kept = Self::default();
        kept.add(bytes);
        kept
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = MAX_BYTES - self.bytes.len();
        self.is_cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The text, without a character that was cut in its middle.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        if self.is_cut { text.trim_end_matches('\u{fffd}').to_owned() } else { text.into_owned() }
    }
}

/// The beginning of a text, at most `room` bytes. Sets `is_cut` if that is not all of it.
fn beginning<'a>(text: &'a str, room: usize, is_cut: &mut bool) -> &'a str {
    *is_cut |= text.len() > room;
    &text[..text.floor_char_boundary(room)]
}

impl From<Collected> for StoredContent {
    fn from(collected: Collected) -> Self {
        let Collected { request, sent, answer, outputs, is_cut, .. } = collected;
        let cut = is_cut
            || request.is_cut
            || sent.as_ref().is_some_and(|(_, body)| body.is_cut)
            || answer.as_ref().is_some_and(|answer| answer.is_cut);
        Self {
            request: request.text(),
            sent: sent.map(|(url, body)| SentRequest { url, body: body.text() }),
            outputs,
            answer: answer.map(|answer| answer.text()),
            cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::generate::Delta;

    use super::*;

    fn delta(parts: Vec<Part>) -> Event {
        Event::Delta(Delta { parts, ..Delta::default() })
    }

    fn stored(content: &Content) -> StoredContent {
        content.take().into()
    }

    #[test]
    fn outputs_are_joined_by_choice_and_kind() {
        let content = Content::of_request(b"{\"model\"");
        content.add_request(b":\"m\"}");
        let call = Part::Call { id: "1".into(), name: "f".into() };
        content.add_event(1, &delta(vec![Part::Reasoning("hm".into()), Part::Text("a".into())]));
        content.add_event(1, &delta(vec![Part::Text("b".into()), call]));
        content.add_event(1, &delta(vec![Part::Arguments("{".into()), Part::Arguments("}".into())]));
        let stored = stored(&content);
        let calls = vec![StoredCall { name: "f".into(), arguments: "{}".into() }];
        let second = StoredOutput { text: "ab".into(), reasoning: "hm".into(), calls };
        assert_eq!(stored.outputs, [StoredOutput::default(), second]);
        assert_eq!((&*stored.request, stored.cut, &stored.sent), ("{\"model\":\"m\"}", false, &None));
    }

    #[test]
    fn body_serves_a_further_record_and_the_rest_does_not() {
        let content = Content::of_request(b"x");
        content.set_sent("http://far".into(), b"y");
        content.set_answer(b"z");
        assert_eq!(stored(&content).sent.unwrap().body, "y");
        let again = stored(&content);
        assert_eq!((&*again.request, again.sent, again.answer), ("x", None, None));
        content.set_sent("http://far".into(), b"y");
        content.forget_sent();
        assert_eq!(stored(&content).sent, None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let content = Content::of_request(&[b'a'; MAX_BYTES - 1]);
        assert!(!stored(&content).cut);
        content.add_request("é".as_bytes());
        content.add_event(0, &delta(vec![Part::Text("b".repeat(MAX_BYTES - 1)), Part::Text("é".into())]));
        content.add_event(0, &delta(vec![Part::Text("c".into()), Part::Text("d".into())]));
        let stored = stored(&content);
        assert_eq!((stored.request.len(), stored.cut), (MAX_BYTES - 1, true));
        assert_eq!(stored.outputs[0].text.len(), MAX_BYTES);
        assert!(stored.outputs[0].text.ends_with('c'), "the room that is left is used");
    }

    #[test]
    fn content_is_not_printed() {
        let content = Content::of_request(b"secret");
        let text = format!("{content:?} {:?}", content.take());
        assert!(!text.contains("secret"), "{text}");
    }
}
