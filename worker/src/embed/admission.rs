//! From a request to tokenised texts: prompts, lengths, special tokens. Pure.

use std::sync::Arc;

use ipc_proto::embed::{EmbedRequest, Input, RerankRequest};
use ipc_proto::{Error, ErrorKind, Result, Source};

use super::Piece;
use crate::adapters::sentence::Sentence;
use crate::adapters::tokenizer::Tokenizer;

/// Bytes of an answer's vectors, at most: it has to fit a frame.
const MAX_ANSWER_BYTES: usize = 48 << 20;

/// What is known of a model that reads.
#[derive(Debug)]
pub struct Reader {
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// What its own files say.
    pub sentence: Sentence,
    /// Tokens of a text, at most.
    pub max_tokens: u32,
    /// Token ids lie below this.
    pub vocabulary: u32,
    /// Width of its vectors.
    pub width: u32,
    /// Whether a vector's beginning is a vector too.
    pub matryoshka: bool,
}

impl Reader {
    /// The texts of `request`.
    ///
    /// # Errors
    /// When one is empty or too long, and for dimensions or a prompt that the model does not have.
    pub fn pieces(&self, request: EmbedRequest) -> Result<Vec<Piece>> {
        self.check_dimensions(request.dimensions)?;
        let each = request.dimensions.unwrap_or(self.width) as usize * size_of::<f32>();
        if request.inputs.len().saturating_mul(each) > MAX_ANSWER_BYTES {
            let text = format!("{} inputs are too many for one answer of this model", request.inputs.len());
            return Err(Error::invalid("input", text));
        }
        let prompt = self.prompt(request.prompt_name.as_deref())?;
        let inputs = request.inputs.into_iter().enumerate();
        inputs.map(|(at, input)| self.piece(at, input, prompt, request.truncate)).collect()
    }

    /// A pair for each document of `request`.
    ///
    /// # Errors
    /// When one is too long.
    pub fn pairs(&self, request: &RerankRequest) -> Result<Vec<Piece>> {
        let documents = request.documents.iter().enumerate();
        let most = request.max_document_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        documents
            .map(|(at, document)| {
                let pair = (&*request.query, Some((&**document, most)));
                self.text(pair, request.truncate, || format!("documents[{at}]"))
            })
            .collect()
    }

    fn check_dimensions(&self, dimensions: Option<u32>) -> Result<()> {
        let wrong = |text: String| Err(Error::invalid("dimensions", text));
        match dimensions {
            None => Ok(()),
            Some(dimensions) if dimensions == self.width => Ok(()),
            Some(dimensions) if !(1..self.width).contains(&dimensions) => {
                wrong(format!("this model's vectors have {} dimensions, not {dimensions}", self.width))
            }
            Some(_) if !self.matryoshka => wrong(format!(
                "this model was not trained for shorter vectors: dimensions can only be {}",
                self.width
            )),
            Some(_) => Ok(()),
        }
    }

    fn prompt(&self, name: Option<&str>) -> Result<&str> {
        let Some(name) = name.or(self.sentence.default_prompt.as_deref()) else { return Ok("") };
        let unknown = || {
            let names: Vec<&str> = self.sentence.prompts.keys().map(String::as_str).collect();
            Error::invalid(
                "prompt_name",
                format!("there is no prompt \"{name}\"; there are {}", names.join(", ")),
            )
        };
        self.sentence.prompts.get(name).map(String::as_str).ok_or_else(unknown)
    }

    fn piece(&self, at: usize, input: Input, prompt: &str, truncate: bool) -> Result<Piece> {
        let field = || format!("input[{at}]");
        match input {
            Input::Text(text) if prompt.is_empty() => self.text((&text, None), truncate, field),
            Input::Text(text) => self.text((&format!("{prompt}{text}"), None), truncate, field),
            Input::Tokens(tokens) if tokens.is_empty() => {
                Err(Error::invalid(field(), format!("{} has no tokens", field())))
            }
            Input::Tokens(mut tokens) => {
                if let Some(token) = tokens.iter().find(|token| **token >= self.vocabulary) {
                    let text = format!(
                        "{}: token ids of this model lie below {}, not at {token}",
                        field(),
                        self.vocabulary
                    );
                    return Err(Error::invalid(field(), text));
                }
                self.check_length(tokens.len(), truncate, field)?;
                tokens.truncate(self.max_tokens as usize);
                Ok(Piece { second: tokens.len(), tokens })
            }
        }
    }

    /// A text, or a pair with the number of the second one's tokens that count.
    fn text(
        &self,
        (first, second): (&str, Option<(&str, usize)>),
        truncate: bool,
        field: impl Fn() -> String,
    ) -> Result<Piece> {
        let lower = |text: &str| if self.sentence.lower_case { text.to_lowercase() } else { text.to_owned() };
        let second = second.map(|(text, most)| (lower(text), most));
        let second = second.as_ref().map(|(text, most)| (&**text, *most));
        let whole = self.tokenizer.encode_whole(&lower(first), second, self.max_tokens as usize);
        let whole = whole.map_err(|text| Error::new(ErrorKind::Internal, Source::Worker, text))?;
        self.check_length(whole.uncut, truncate, &field)?;
        if whole.tokens.is_empty() {
            return Err(Error::invalid(field(), format!("{} is empty", field())));
        }
        if whole.tokens.iter().any(|token| *token >= self.vocabulary) {
            let text = "has a token that the tokenizer knows and the model does not";
            return Err(Error::invalid(field(), format!("{} {text}", field())));
        }
        Ok(Piece { tokens: whole.tokens, second: whole.second })
    }

    fn check_length(&self, length: usize, truncate: bool, field: impl Fn() -> String) -> Result<()> {
        if truncate || length <= self.max_tokens as usize {
            return Ok(());
        }
        let text = format!(
            "{} has {length} tokens; this model reads {} (with truncate: true the rest is cut off)",
            field(),
            self.max_tokens
        );
        Err(Error::new(ErrorKind::ContextLength, Source::Client, text).with_param(field()))
    }
}

/// The first `dimensions` numbers of each vector, brought to length 1; all as they are where there are no more.
pub fn shorten(vectors: &mut [Vec<f32>], dimensions: Option<u32>) {
    let Some(dimensions) = dimensions.map(|dimensions| dimensions as usize) else { return };
    for vector in vectors.iter_mut().filter(|vector| vector.len() > dimensions) {
        vector.truncate(dimensions);
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        vector.iter_mut().for_each(|x| *x /= length);
    }
}

#[cfg(test)]
mod tests;
