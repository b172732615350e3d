//! A model's tokenizer, from tokenizer.json.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use model_folder::files;
use tokenizers::{
    Encoding, Model, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType,
    PostProcessor, PreTokenizedString, PreTokenizer, Token, TruncationDirection,
};

use super::token_bytes::TokenBytes;

mod decoder;
mod fewest;
pub mod long;

use ipc_proto::worker::TokenBound;

/// A model's tokenizer. Converts text to token ids and back.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The mapping from tokens to bytes, if the decoder is known.
    token_bytes: Option<TokenBytes>,
    /// Found for the first long text, or when the model is loaded.
    bound: OnceLock<Option<TokenBound>>,
}

/// A text or a pair of texts, with special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedInput {
    /// Token ids, truncated to the limit.
    pub tokens: Vec<u32>,
    /// The index of the second text, by the tokenizer's type ids. The number of tokens if there is no second text.
    pub second_start: usize,
    /// The number of tokens before truncation.
    pub full_length: usize,
}

/// The lengths to which two texts are truncated so that they have `max_tokens` together. Truncates the longer one first.
fn truncated_lengths([first, second]: [usize; 2], max_tokens: usize) -> [usize; 2] {
    let over = (first + second).saturating_sub(max_tokens);
    let (long, short) = (first.max(second), first.min(second));
    let from_long = over.min(long - short);
    // Texts of equal length lose tokens in turn.
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
        let error = |e: tokenizers::Error| format!("{}: {e}", path.display());
        let text = files::read(&path, files::MAX_TOKENIZER).map_err(|e| error(e.into()))?;
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
        let mut inner = tokenizers::Tokenizer::from_bytes(text).map_err(error)?;
        if let Some(decoder) = decoder::replacement(&inner) {
            tracing::warn!(
                ?decoder,
                "the decoder in tokenizer.json contradicts its vocabulary and is replaced"
            );
            inner.with_decoder(Some(decoder));
        }
        // Some files contain the truncation and padding settings of a training run.
        inner.with_truncation(None).map_err(error)?.with_padding(None);
        let mut tokenizer = Self { inner, token_bytes: None, bound: OnceLock::new() };
        tokenizer.token_bytes = TokenBytes::from_decoder(&tokenizer.decoder()).ok();
        Ok(tokenizer)
    }

    /// Tokenises a text. `special` adds the tokenizer's tokens around a text, like BOS. A rendered chat contains them already.
    ///
    /// # Errors
    /// The tokenizer's error, as a sentence.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, String> {
        let encoding = self.inner.encode_fast(text, special).map_err(|e| e.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokenises a text. Reads control tokens within `as_text` (byte ranges) as ordinary text.
    ///
    /// # Errors
    /// The tokenizer's error, as a sentence.
    pub fn encode_sanitized(&self, text: &str, as_text: &[Range<usize>]) -> Result<Vec<u32>, String> {
        if as_text.is_empty() {
            return self.encode(text, false);
        }
        self.encode_pieces(text, self.pieces(text, as_text)).map_err(|e| e.to_string())
    }

    /// Tokenises a text. Reads no part of it as a control token. For `special` see [`Self::encode`].
    ///
    /// # Errors
    /// The tokenizer's error, as a sentence.
    pub fn encode_as_text(&self, text: &str, special: bool) -> Result<Vec<u32>, String> {
        let everything = 0..text.len();
        let tokens = self.encode_sanitized(text, std::slice::from_ref(&everything))?;
        if special { self.with_special(tokens) } else { Ok(tokens) }
    }

    /// Adds the tokenizer's tokens around those of a text.
    ///
    /// # Errors
    /// The tokenizer's error, as a sentence.
    pub fn with_special(&self, tokens: Vec<u32>) -> Result<Vec<u32>, String> {
        let tokens: Vec<Token> = tokens.into_iter().map(|id| Token::new(id, String::new(), (0, 0))).collect();
        let whole = self.inner.post_process(Encoding::from_tokens(tokens, 0), None, true);
        Ok(whole.map_err(|e| e.to_string())?.get_ids().to_vec())
    }

    /// Splits `text` at its added tokens, except those within `as_text`.
    fn pieces(&self, text: &str, as_text: &[Range<usize>]) -> Vec<(Range<usize>, Option<Vec<Token>>)> {
        let added = self.inner.get_added_vocabulary().extract_and_normalize::<NormalizerWrapper>(None, text);
        let mut pieces: Vec<(Range<usize>, Option<Vec<Token>>)> = Vec::new();
        for (_, (start, end), tokens) in added.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            // Pieces and ranges are in order.
            let next = as_text.partition_point(|range| range.end <= start);
            let protected = as_text.get(next).is_some_and(|range| range.start < end);
            let tokens = tokens.clone().filter(|_| !protected);
            match pieces.last_mut() {
                Some((last, None)) if tokens.is_none() => last.end = end,
                _ => pieces.push((start..end, tokens)),
            }
        }
        pieces
    }

    /// Tokenises pieces as [`Self::encode`] does after it has found the added tokens.
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

    /// Converts tokens to text, special tokens included.
    pub fn decode_all(&self, tokens: &[u32]) -> String {
        // The only possible error is an unknown token id, which decodes to nothing.
        self.inner.decode(tokens, false).unwrap_or_default()
    }

    /// The control tokens among the added tokens: special ones, and those for which `in_template` is true.
    pub fn control_tokens(&self, in_template: impl Fn(&str) -> bool) -> Vec<String> {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder().values();
        let control = added.filter(|token| token.special || in_template(&token.content));
        control.map(|token| token.content.clone()).collect()
    }

    /// Tokenises a text, or a pair, and adds special tokens. Truncates the ends to `max_tokens`, special tokens included, the
    /// longer text first. The second text comes with its own limit in tokens, which applies before that.
    ///
    /// # Errors
    /// The tokenizer's error, as a sentence.
    pub fn encode_input(
        &self,
        first: &str,
        second: Option<(&str, usize)>,
        max_tokens: usize,
    ) -> Result<EncodedInput, String> {
        let plain = |text: &str| self.inner.encode_fast(text, false).map_err(|e| e.to_string());
        let mut first = plain(first)?;
        let truncated = |(text, max_tokens): (&str, usize)| {
            let mut tokens = plain(text)?;
            tokens.truncate(max_tokens, 0, TruncationDirection::Right);
            Ok::<_, String>(tokens)
        };
        let mut second = second.map(truncated).transpose()?;
        let added = self.inner.get_post_processor().map_or(0, |post| post.added_tokens(second.is_some()));
        let second_length = second.as_ref().map_or(0, Encoding::len);
        let full_length = first.len() + second_length + added;
        let [keep_first, keep_second] =
            truncated_lengths([first.len(), second_length], max_tokens.saturating_sub(added));
        first.truncate(keep_first, 0, TruncationDirection::Right);
        if let Some(second) = &mut second {
            second.truncate(keep_second, 0, TruncationDirection::Right);
        }
        let whole = self.inner.post_process(first, second, true).map_err(|e| e.to_string())?;
        let second_start = whole.get_type_ids().iter().position(|r#type| *r#type != 0).unwrap_or(whole.len());
        Ok(EncodedInput { tokens: whole.get_ids().to_vec(), second_start, full_length })
    }

    /// Converts tokens to text, without special tokens. Bytes that are no character become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        // The only possible error is an unknown token id, which decodes to nothing.
        self.inner.decode(tokens, true).unwrap_or_default()
    }

    /// Whether [`Self::decode`] omits this token.
    pub fn is_special(&self, token: u32) -> bool {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        added.get(&token).is_some_and(|token| token.special)
    }

    /// The number of tokens, special ones included.
    pub fn vocabulary(&self) -> u32 {
        self.inner.get_vocab_size(true) as u32
    }

    /// A token as tokenizer.json writes it, before decoding.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The decoder as tokenizer.json describes it. `Null` if there is none.
    pub fn decoder(&self) -> serde_json::Value {
        serde_json::to_value(self.inner.get_decoder()).unwrap_or_default()
    }

    /// The bytes of a token. A special token yields its text in tokenizer.json.
    pub fn bytes(&self, id: u32) -> Vec<u8> {
        let text = self.token(id).unwrap_or_default();
        match &self.token_bytes {
            Some(token_bytes) if !self.is_special(id) => token_bytes.bytes(&text),
            _ => text.into_bytes(),
        }
    }

    /// The id of a token, given as tokenizer.json writes it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

#[cfg(test)]
pub(crate) mod tests;
