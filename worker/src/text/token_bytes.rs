//! Maps tokens to bytes as the decoders of the `tokenizers` crate do. Refuses unknown decoders: with wrong bytes, a grammar would
//! allow text that it forbids.

use std::collections::HashMap;

use serde_json::Value;

/// A tokenizer's mapping from tokens to bytes.
#[derive(Debug)]
pub struct TokenBytes {
    /// GPT-2's alphabet, in which a printable character stands for each byte.
    alphabet: Option<HashMap<char, u8>>,
    /// Replacements, like SentencePiece's `▁` by a space.
    replaced: Vec<(String, String)>,
    /// The tokens `<0x00>` to `<0xFF>` are bytes.
    byte_tokens: bool,
    /// The decoder drops the first space of a text.
    pub drops_space: bool,
}

impl TokenBytes {
    /// Reads the mapping from the decoder in tokenizer.json.
    ///
    /// # Errors
    /// A sentence that names an unknown decoder.
    pub fn from_decoder(decoder: &Value) -> Result<Self, String> {
        let mut token_bytes =
            Self { alphabet: None, replaced: Vec::new(), byte_tokens: false, drops_space: false };
        let single = std::slice::from_ref(decoder);
        let steps = decoder.get("decoders").and_then(Value::as_array).map_or(single, Vec::as_slice);
        for step in steps {
            token_bytes.add_step(step).ok_or_else(|| {
                let name = step.get("type").and_then(Value::as_str).unwrap_or("none");
                format!("this model's tokenizer has a decoder that cannot be constrained ({name})")
            })?;
        }
        Ok(token_bytes)
    }

    /// Applies one step of the decoder. `None` if the step is unknown.
    fn add_step(&mut self, step: &Value) -> Option<()> {
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
            // Like the decoder, keep a token with a character outside the alphabet as it is.
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

/// GPT-2's `bytes_to_unicode`: printable Latin-1 stands for itself, the other bytes for U+0100 and above.
pub(super) fn alphabet() -> HashMap<char, u8> {
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
