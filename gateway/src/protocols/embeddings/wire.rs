//! `POST /v1/embeddings`.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use std::fmt;

use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::protocols::common::body::Body;
use crate::protocols::common::keep_alive::KeepAlive;
use crate::protocols::common::model_choice::NamesModel;
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::common::unsupported::{NotInEmbeddings, Refused};

/// The request. `truncate`, `prompt_name`, `timeout` and `keep_alive` are extensions of this server.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "EmbeddingsRequest")]
pub struct Request {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub input: Input,
    pub encoding_format: Option<String>,
    pub dimensions: Option<u32>,
    pub user: Option<String>,
    /// Truncates inputs that are too long instead of refusing them.
    pub truncate: Option<bool>,
    /// The name of the model's own prompt to put before each text.
    pub prompt_name: Option<String>,
    /// Truncates each input to this number of tokens, as in vLLM; -1 is the model's limit.
    pub truncate_prompt_tokens: Option<TokenLimit>,
    /// The type of the numbers in base64, as in vLLM: `float32`, `float16` or `bfloat16`.
    pub embed_dtype: Option<String>,
    /// The byte order of the numbers in base64, as in vLLM: `native`, `little` or `big`.
    pub endianness: Option<String>,
    /// The time until an idle model is unloaded.
    pub keep_alive: Option<KeepAlive>,
    /// Time limit of the request in seconds.
    pub timeout: Option<f64>,
    #[serde(flatten)]
    pub unsupported: Refused<NotInEmbeddings>,
}

impl Body for Request {}

impl NamesModel for Request {
    const KIND: ModelKind = ModelKind::Embed;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// One input or several, each as text or as token ids.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged, rename = "EmbeddingsInput")]
pub enum Input {
    Text(String),
    Texts(Vec<String>),
    /// Token ids of one input.
    Tokens(Vec<u32>),
    /// Token ids of several inputs.
    Batch(Vec<Vec<u32>>),
}

impl<'de> Deserialize<'de> for Input {
    // Written by hand, because serde's untagged enums first buffer every token as a JSON value.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string, a list of strings, a list of token ids or a list of such lists")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Input, E> {
        Ok(Input::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Input, A::Error> {
        let mut input = match list.next_element()? {
            None => return Ok(Input::Texts(Vec::new())),
            Some(Item::Text(text)) => Input::Texts(vec![text]),
            Some(Item::Token(token)) => Input::Tokens(vec![token]),
            Some(Item::Tokens(tokens)) => Input::Batch(vec![tokens]),
        };
        while let Some(item) = list.next_element()? {
            match (&mut input, item) {
                (Input::Texts(texts), Item::Text(text)) => texts.push(text),
                (Input::Tokens(tokens), Item::Token(token)) => tokens.push(token),
                (Input::Batch(batch), Item::Tokens(tokens)) => batch.push(tokens),
                _ => {
                    return Err(A::Error::custom(
                        "a list must hold strings only, token ids only or lists only",
                    ));
                }
            }
        }
        Ok(input)
    }
}

/// An element of a list.
enum Item {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string, a token id or a list of token ids")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<Item, E> {
        u32::try_from(token).map(Item::Token).map_err(|_| E::custom(format!("{token} is no token id")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        let mut tokens = Vec::new();
        while let Some(token) = list.next_element()? {
            tokens.push(token);
        }
        Ok(Item::Tokens(tokens))
    }
}

/// The response.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EmbeddingsResponse")]
pub struct Response<'a> {
    pub object: &'static str,
    pub data: Vec<Data<'a>>,
    pub model: &'a str,
    pub usage: Usage,
}

/// The vector of one input.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EmbeddingData")]
pub struct Data<'a> {
    pub object: &'static str,
    pub index: usize,
    pub embedding: Embedding<'a>,
}

/// A vector in one of the encodings.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Embedding")]
#[serde(untagged)]
pub enum Embedding<'a> {
    Floats(&'a [f32]),
    /// Bytes of the numbers in base64.
    Base64(String),
}

/// Token counts.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "EmbeddingsUsage")]
pub struct Usage {
    pub prompt_tokens: u64,
    pub total_tokens: u64,
}

#[cfg(test)]
mod tests;
