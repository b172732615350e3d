//! What bytes a token stands for. Follows the decoders of the `tokenizers` crate; one that is not known here is refused,
//! since a wrong guess would let a grammar pass text that it forbids.

use std::collections::HashMap;

use serde_json::Value;

/// How a tokenizer writes bytes as tokens.
#[derive(Debug)]
pub struct Spelling {
    /// GPT-2's alphabet, where each byte is a printable character.
    alphabet: Option<HashMap<char, u8>>,
    /// What stands for something else, SentencePiece's `▁` for a space above all.
    replaced: Vec<(String, String)>,
    /// Tokens `<0x00>` to `<0xFF>` are bytes.
    byte_tokens: bool,
    /// The first space of a text is dropped.
    pub drops_space: bool,
}

impl Spelling {
    /// Reads it from a decoder as tokenizer.json describes it.
    ///
    /// # Errors
    /// A sentence that names what is not known.
    pub fn of(decoder: &Value) -> Result<Self, String> {
        let mut spelling =
            Self { alphabet: None, replaced: Vec::new(), byte_tokens: false, drops_space: false };
        let one = std::slice::from_ref(decoder);
        let steps = decoder.get("decoders").and_then(Value::as_array).map_or(one, Vec::as_slice);
        for step in steps {
            spelling.add(step).ok_or_else(|| {
                let name = step.get("type").and_then(Value::as_str).unwrap_or("none");
                format!("this model's tokenizer has a decoder that cannot be constrained ({name})")
            })?;
        }
        Ok(spelling)
    }

    /// Takes in one step of a decoder; `None` when it is not known.
    fn add(&mut self, step: &Value) -> Option<()> {
        let text = |name: &str| step.get(name).and_then(Value::as_str);
        match text("type")? {
            "ByteLevel" => self.alphabet = Some(alphabet()),
            "ByteFallback" => self.byte_tokens = true,
            "Fuse" => {}
            "Replace" => {
                let pattern = step.get("pattern")?.get("String")?.as_str()?;
                self.replaced.push((pattern.to_owned(), text("content")?.to_owned()));
            }
            "Strip" => {
                let times = |name: &str| step.get(name).and_then(Value::as_u64);
                let first_space = text("content")? == " " && times("start")? == 1 && times("stop")? == 0;
                first_space.then(|| self.drops_space = true)?;
            }
            "Metaspace" => {
                self.replaced.push((text("replacement")?.to_owned(), " ".to_owned()));
                self.drops_space = text("prepend_scheme")? != "never";
            }
            _ => return None,
        }
        Some(())
    }

    /// The bytes of an ordinary token.
    pub fn bytes(&self, token: &str) -> Vec<u8> {
        if let Some(alphabet) = &self.alphabet {
            // As the decoder does: a token with a character outside the alphabet stands for itself.
            let bytes: Option<Vec<u8>> = token.chars().map(|c| alphabet.get(&c).copied()).collect();
            return bytes.unwrap_or_else(|| token.as_bytes().to_vec());
        }
        if let Some(byte) = self.byte_tokens.then(|| byte_token(token)).flatten() {
            return vec![byte];
        }
        let replace = |text: String, (from, to): &(String, String)| text.replace(from, to);
        self.replaced.iter().fold(token.to_owned(), replace).into_bytes()
    }
}

/// The byte of a token like `<0x0A>`.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>').filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

/// GPT-2's `bytes_to_unicode`: printable Latin-1 stands for itself, the other bytes for U+0100 and what follows.
fn alphabet() -> HashMap<char, u8> {
    let mut next = 0x100;
    let mut letter = |byte: u8| match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    };
    (0..=u8::MAX).map(|byte| (letter(byte), byte)).collect()
}
