//! tokenizer.json.

use std::ops::Range;
use std::path::Path;

use tokenizers::{
    Encoding, Model, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType,
    PostProcessor, PreTokenizedString, PreTokenizer, Token, TruncationDirection,
};

use super::spelling::Spelling;

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// How it writes bytes, where that is known.
    spelling: Option<Spelling>,
}

/// A text, or two, with special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Where the second text begins, as the tokenizer counts; their number where there is none.
    pub second: usize,
    /// Tokens there would be uncut.
    pub uncut: usize,
}

/// What remains of two texts of these lengths that may have `most` tokens together: the longer one gives first.
fn keep([first, second]: [usize; 2], most: usize) -> [usize; 2] {
    let over = (first + second).saturating_sub(most);
    let (long, short) = (first.max(second), first.min(second));
    let from_long = over.min(long - short);
    // Once they are equally long they give in turn.
    let rest = over - from_long;
    let (long, short) = (long - from_long - rest.div_ceil(2), short - rest / 2);
    if first >= second { [long, short] } else { [short, long] }
}

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
        let mut tokenizer = Self { inner, spelling: None };
        tokenizer.spelling = Spelling::of(&tokenizer.decoder()).ok();
        Ok(tokenizer)
    }

    /// Text → tokens. `special` adds what the tokenizer puts around a text (BOS); a rendered chat has it already.
    ///
    /// # Errors
    /// A sentence.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, String> {
        let encoding = self.inner.encode_fast(text, special).map_err(|e| e.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text → tokens, where the control tokens in `as_text` (byte ranges) are read as any other text.
    ///
    /// # Errors
    /// A sentence.
    pub fn encode_sanitized(&self, text: &str, as_text: &[Range<usize>]) -> Result<Vec<u32>, String> {
        if as_text.is_empty() {
            return self.encode(text, false);
        }
        self.encode_pieces(text, self.pieces(text, as_text)).map_err(|e| e.to_string())
    }

    /// Text → tokens; no part of it is read as a control token.
    ///
    /// # Errors
    /// A sentence.
    pub fn encode_as_text(&self, text: &str, special: bool) -> Result<Vec<u32>, String> {
        let everything = 0..text.len();
        let tokens = self.encode_sanitized(text, std::slice::from_ref(&everything))?;
        if !special {
            return Ok(tokens);
        }
        let tokens: Vec<Token> = tokens.into_iter().map(|id| Token::new(id, String::new(), (0, 0))).collect();
        let whole = self.inner.post_process(Encoding::from_tokens(tokens, 0), None, true);
        Ok(whole.map_err(|e| e.to_string())?.get_ids().to_vec())
    }

    /// `text` cut at its added tokens, but those in `as_text`.
    fn pieces(&self, text: &str, as_text: &[Range<usize>]) -> Vec<(Range<usize>, Option<Vec<Token>>)> {
        let added = self.inner.get_added_vocabulary().extract_and_normalize::<NormalizerWrapper>(None, text);
        let mut pieces: Vec<(Range<usize>, Option<Vec<Token>>)> = Vec::new();
        for (_, (start, end), tokens) in added.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            let protected = as_text.iter().any(|range| range.start < end && start < range.end);
            let tokens = tokens.clone().filter(|_| !protected);
            match pieces.last_mut() {
                Some((last, None)) if tokens.is_none() => last.end = end,
                _ => pieces.push((start..end, tokens)),
            }
        }
        pieces
    }

    /// What `encode` does once added tokens are found.
    fn encode_pieces(
        &self,
        text: &str,
        pieces: Vec<(Range<usize>, Option<Vec<Token>>)>,
    ) -> tokenizers::Result<Vec<u32>> {
        let mut whole = PreTokenizedString::from(text);
        let mut pieces = Some(pieces);
        whole.split(|_, original| {
            let mut splits = Vec::new();
            for (range, tokens) in pieces.take().unwrap_or_default() {
                let slice = original.slice(tokenizers::normalizer::Range::Original(range));
                let mut slice: NormalizedString = slice.ok_or("a token ends within a character")?;
                if let Some(normalizer) = self.inner.get_normalizer().filter(|_| tokens.is_none()) {
                    normalizer.normalize(&mut slice)?;
                }
                splits.push((slice, tokens));
            }
            Ok(splits)
        })?;
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut whole)?;
        }
        self.inner.get_model().tokenize_in_pretokenized(&mut whole, None)?;
        Ok(whole.into_encoding(None, 0, OffsetType::None)?.get_ids().to_vec())
    }

    /// Tokens → text, special tokens included.
    pub fn decode_all(&self, tokens: &[u32]) -> String {
        // The only error is a token id that does not exist, which decodes to nothing.
        self.inner.decode(tokens, false).unwrap_or_default()
    }

    /// The added tokens that are control tokens of a model: special ones, and those that its chat templates write.
    pub fn control_tokens(&self, written: impl Fn(&str) -> bool) -> Vec<String> {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder().values();
        let control = added.filter(|token| token.special || written(&token.content));
        control.map(|token| token.content.clone()).collect()
    }

    /// A text, or two that belong together, with the special tokens around them; of longer ones than `most` tokens, special
    /// ones included, so much is cut from their ends, from the longer of both first. The second comes with the number of its
    /// tokens that count at all.
    ///
    /// # Errors
    /// A sentence.
    pub fn encode_whole(
        &self,
        first: &str,
        second: Option<(&str, usize)>,
        most: usize,
    ) -> Result<Whole, String> {
        let plain = |text: &str| self.inner.encode_fast(text, false).map_err(|e| e.to_string());
        let mut first = plain(first)?;
        let cut = |(text, most): (&str, usize)| {
            let mut tokens = plain(text)?;
            tokens.truncate(most, 0, TruncationDirection::Right);
            Ok::<_, String>(tokens)
        };
        let mut second = second.map(cut).transpose()?;
        let added = self.inner.get_post_processor().map_or(0, |post| post.added_tokens(second.is_some()));
        let of = |second: &Option<Encoding>| second.as_ref().map_or(0, Encoding::len);
        let uncut = first.len() + of(&second) + added;
        let [keep_first, keep_second] = keep([first.len(), of(&second)], most.saturating_sub(added));
        first.truncate(keep_first, 0, TruncationDirection::Right);
        if let Some(second) = &mut second {
            second.truncate(keep_second, 0, TruncationDirection::Right);
        }
        let whole = self.inner.post_process(first, second, true).map_err(|e| e.to_string())?;
        let begins = whole.get_type_ids().iter().position(|r#type| *r#type != 0).unwrap_or(whole.len());
        Ok(Whole { tokens: whole.get_ids().to_vec(), second: begins, uncut })
    }

    /// Tokens → text without special tokens. Bytes that are no character become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        // The only error is a token id that does not exist, which decodes to nothing.
        self.inner.decode(tokens, true).unwrap_or_default()
    }

    /// Whether [`Self::decode`] leaves this token out.
    pub fn is_special(&self, token: u32) -> bool {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        added.get(&token).is_some_and(|token| token.special)
    }

    /// Tokens in the vocabulary, special ones included.
    pub fn vocabulary(&self) -> u32 {
        self.inner.get_vocab_size(true) as u32
    }

    /// A token as its file writes it, which its decoder turns into text.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The decoder as tokenizer.json describes it; `Null` where there is none.
    pub fn decoder(&self) -> serde_json::Value {
        serde_json::to_value(self.inner.get_decoder()).unwrap_or_default()
    }

    /// The bytes that a token stands for; of one that is no text, as its file writes it.
    pub fn bytes(&self, id: u32) -> Vec<u8> {
        let text = self.token(id).unwrap_or_default();
        match &self.spelling {
            Some(spelling) if !self.is_special(id) => spelling.bytes(&text),
            _ => text.into_bytes(),
        }
    }

    /// The id of a token given as text.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

#[cfg(test)]
pub(crate) mod tests;
