//! Turns a request into tokenised texts: prompts, lengths, special tokens. Pure.

use std::sync::Arc;

use ipc_proto::embed::{EmbedRequest, Input, RerankRequest};
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};

use super::EncoderInput;
use crate::text::sentence_transformers::SentenceConfig;
use crate::text::tokenizer::Tokenizer;
use crate::text::tokenizer::long::EncodeError;

/// Bytes of a response's vectors, at most. The response must fit into a frame.
const MAX_ANSWER_BYTES: usize = 48 << 20;
/// What a client with the ids of another model can do. Smaller ids are accepted, since nobody can tell whose they are.
const OTHER_IDS: &str = "send text, or this model's own ids: LangChain's OpenAIEmbeddings sends OpenAI's unless it has \
                         check_embedding_ctx_length=False";

/// A model that embeds or reranks, as far as validation needs it.
#[derive(Debug)]
pub struct EncoderModel {
    /// The tokenizer of the model.
    pub tokenizer: Arc<Tokenizer>,
    /// The files of sentence-transformers.
    pub config: SentenceConfig,
    /// The maximum length of a text, in tokens.
    pub max_tokens: u32,
    /// The number of token ids.
    pub vocabulary: u32,
    /// The number of dimensions of a vector.
    pub width: u32,
    /// Whether the model was trained so that a prefix of a vector is usable (Matryoshka embeddings).
    pub matryoshka: bool,
}

impl EncoderModel {
    /// The texts of `request`, tokenised while they are `wanted`.
    ///
    /// # Errors
    /// When a text is empty or too long, and for dimensions or a prompt that the model does not have.
    pub fn embed_inputs(
        &self,
        request: EmbedRequest,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Vec<EncoderInput>> {
        self.check_dimensions(request.dimensions)?;
        let each = request.dimensions.unwrap_or(self.width) as usize * size_of::<f32>();
        if request.inputs.len().saturating_mul(each) > MAX_ANSWER_BYTES {
            let text = format!("{} inputs are too many for one answer of this model", request.inputs.len());
            return Err(Error::invalid(Field::Inputs, text));
        }
        let prompt = self.find_prompt(request.prompt_name.as_deref(), &request.prompt_candidates)?;
        let max_tokens = request.max_tokens.map_or(self.max_tokens, |tokens| tokens.min(self.max_tokens));
        let limit = LengthLimit { max_tokens, truncate: request.truncate, wanted };
        let inputs = request.inputs.into_iter().enumerate();
        inputs.map(|(at, input)| self.embed_input(at, input, prompt, limit)).collect()
    }

    /// A pair of the query and a document for each document of `request`, tokenised while they are `wanted`.
    ///
    /// # Errors
    /// When a pair is too long.
    pub fn rerank_inputs(
        &self,
        request: &RerankRequest,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Vec<EncoderInput>> {
        let documents = request.documents.iter().enumerate();
        let max_tokens = request.max_document_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        let limit = LengthLimit { max_tokens: self.max_tokens, truncate: request.truncate, wanted };
        documents
            .map(|(at, document)| {
                let pair = (&*request.query, Some((&**document, max_tokens)));
                self.tokenize(pair, limit, Field::Document(at as u32))
            })
            .collect()
    }

    fn check_dimensions(&self, dimensions: Option<u32>) -> Result<()> {
        let invalid = |text: String| Err(Error::invalid(Field::Dimensions, text));
        match dimensions {
            None => Ok(()),
            Some(dimensions) if dimensions == self.width => Ok(()),
            Some(dimensions) if !(1..self.width).contains(&dimensions) => {
                invalid(format!("this model's vectors have {} dimensions, not {dimensions}", self.width))
            }
            Some(_) if !self.matryoshka => invalid(format!(
                "this model was not trained for shorter vectors: it can only be {}",
                self.width
            )),
            Some(_) => Ok(()),
        }
    }

    fn find_prompt(&self, name: Option<&str>, candidates: &[String]) -> Result<&str> {
        if name.is_none()
            && let Some(prompt) = self.first_candidate(candidates)
        {
            return Ok(prompt);
        }
        let Some(name) = name.or(self.config.default_prompt.as_deref()) else { return Ok("") };
        let unknown = || {
            let names: Vec<&str> = self.config.prompts.keys().map(String::as_str).collect();
            Error::invalid(
                Field::PromptName,
                format!("there is no prompt \"{name}\"; there are {}", names.join(", ")),
            )
        };
        self.config.prompts.get(name).map(String::as_str).ok_or_else(unknown)
    }

    /// The first of these prompts with text; an empty one if the model has only empty ones.
    fn first_candidate(&self, candidates: &[String]) -> Option<&str> {
        let mut known =
            candidates.iter().filter_map(|name| self.config.prompts.get(name)).map(String::as_str);
        let first = known.next()?;
        Some(std::iter::once(first).chain(known).find(|prompt| !prompt.is_empty()).unwrap_or(first))
    }

    fn embed_input(&self, at: usize, input: Input, prompt: &str, limit: LengthLimit) -> Result<EncoderInput> {
        let field = Field::Input(at as u32);
        match input {
            Input::Text(text) if prompt.is_empty() => self.tokenize((&text, None), limit, field),
            Input::Text(text) => self.tokenize((&format!("{prompt}{text}"), None), limit, field),
            Input::Tokens(mut tokens) => {
                if tokens.is_empty() {
                    return Err(Error::invalid(field, "it has no tokens"));
                }
                if let Some(token) = tokens.iter().find(|token| **token >= self.vocabulary) {
                    let text = format!(
                        "token ids of this model lie below {}, not at {token}; {OTHER_IDS}",
                        self.vocabulary
                    );
                    return Err(Error::invalid(field, text));
                }
                limit.check(tokens.len(), false, &field)?;
                tokens.truncate(limit.max_tokens as usize);
                Ok(EncoderInput { second_start: tokens.len(), tokens })
            }
        }
    }

    /// Tokenises a text, or a pair. The second text comes with its own limit in tokens.
    fn tokenize(
        &self,
        (first, second): (&str, Option<(&str, usize)>),
        limit: LengthLimit,
        field: Field,
    ) -> Result<EncoderInput> {
        let to_lower_case =
            |text: &str| if self.config.lower_case { text.to_lowercase() } else { text.to_owned() };
        let first_text = self.beginning(first, limit, &field)?;
        let second_text = second.map(|(text, _)| self.beginning(text, limit, &field)).transpose()?;
        // Whether more of the texts follows.
        let is_part = first_text.len() < first.len()
            || second.zip(second_text).is_some_and(|((all, _), part)| part.len() < all.len());
        let second = second.zip(second_text).map(|((_, max_tokens), text)| (to_lower_case(text), max_tokens));
        let second = second.as_ref().map(|(text, max_tokens)| (&**text, *max_tokens));
        let encoded =
            self.tokenizer.encode_input(&to_lower_case(first_text), second, limit.max_tokens as usize);
        let encoded = encoded.map_err(internal)?;
        limit.check(encoded.full_length, is_part, &field)?;
        if encoded.tokens.is_empty() {
            return Err(Error::invalid(field, "it is empty"));
        }
        if encoded.tokens.iter().any(|token| *token >= self.vocabulary) {
            let text = "it has a token that the tokenizer knows and the model does not";
            return Err(Error::invalid(field, text));
        }
        Ok(EncoderInput { tokens: encoded.tokens, second_start: encoded.second_start })
    }

    /// The beginning of a text that fills the limit: the rest of a long text is cut off or makes an error anyway.
    fn beginning<'a>(&self, text: &'a str, limit: LengthLimit, field: &Field) -> Result<&'a str> {
        // Twice the limit: in lower case the text may have fewer tokens.
        let tokens = 2 * limit.max_tokens as usize;
        self.tokenizer.beginning(text, tokens, limit.wanted).map_err(|error| match error {
            EncodeError::Unwanted => {
                Error::new(ErrorKind::Cancelled, Origin::Client, "the request was cancelled")
            }
            EncodeError::Uncut(bytes) => {
                let text = format!("it has {} KiB in a row that can only be tokenised together", bytes >> 10);
                Error::invalid(field.clone(), text)
            }
            EncodeError::Failed(text) => internal(text),
            EncodeError::TooLong => internal("a text without a limit is too long".into()),
        })
    }
}

fn internal(text: String) -> Error {
    Error::new(ErrorKind::Internal, Origin::Worker, text)
}

/// The limit on the length of a text.
#[derive(Clone, Copy)]
struct LengthLimit<'a> {
    /// In tokens.
    max_tokens: u32,
    /// Whether longer texts are cut. Otherwise they are refused.
    truncate: bool,
    /// Whether the client still waits.
    wanted: &'a dyn Fn() -> bool,
}

impl LengthLimit<'_> {
    /// Checks the length of a text, or that of its first part.
    fn check(self, length: usize, is_part: bool, field: &Field) -> Result<()> {
        if self.truncate || length <= self.max_tokens as usize {
            return Ok(());
        }
        let more = if is_part { "more than " } else { "" };
        let text = format!(
            "it has {more}{length} tokens; this model's maximum context length is {} tokens (with truncate: true the rest is cut off)",
            self.max_tokens
        );
        Err(Error::new(ErrorKind::ContextLength, Origin::Client, text).with_field(field.clone()))
    }
}

/// Truncates each vector to `dimensions` and scales it to length 1. Does not change a vector with no more dimensions.
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
