//! tokenizer.json.

use std::path::Path;

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Reads `folder/tokenizer.json`.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join("tokenizer.json");
        let problem = |e: tokenizers::Error| format!("{}: {e}", path.display());
        let mut inner = tokenizers::Tokenizer::from_file(&path).map_err(problem)?;
        // Some files carry the settings of a training run, which would cut prompts short or pad them.
        inner.with_truncation(None).map_err(problem)?.with_padding(None);
        Ok(Self(inner))
    }

    /// Text → tokens. `special` adds what the tokenizer puts around a text (BOS); a rendered chat has it already.
    ///
    /// # Errors
    /// A sentence.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, String> {
        let encoding = self.0.encode_fast(text, special).map_err(|e| e.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokens → text without special tokens. Bytes that are no character become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        // The only error is a token id that does not exist, which decodes to nothing.
        self.0.decode(tokens, true).unwrap_or_default()
    }

    /// Whether [`Self::decode`] leaves this token out.
    pub fn is_special(&self, token: u32) -> bool {
        let added = self.0.get_added_vocabulary().get_added_tokens_decoder();
        added.get(&token).is_some_and(|token| token.special)
    }

    /// Tokens in the vocabulary, special ones included.
    pub fn vocabulary(&self) -> u32 {
        self.0.get_vocab_size(true) as u32
    }

    /// The id of a token given as text.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }
}

#[cfg(test)]
pub(crate) mod tests;
