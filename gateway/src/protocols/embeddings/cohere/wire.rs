//! The wire types of `POST /v2/embed`.

#![expect(missing_docs, reason = "the names and their meaning are Cohere's")]

use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::Body;
use crate::protocols::common::keep_alive::KeepAlive;
use crate::protocols::common::model_choice::NamesModel;

/// The request. `timeout` and `keep_alive` are extensions of this server. Fields of type [`Value`] are parsed only to refuse them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "CohereEmbedRequest")]
pub struct Request {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    /// Selects the model's prompt for this purpose, if it has one.
    pub input_type: Option<InputType>,
    pub texts: Option<Vec<String>>,
    pub inputs: Option<Vec<Input>>,
    pub embedding_types: Option<Vec<EmbeddingType>>,
    pub output_dimension: Option<u32>,
    pub truncate: Option<Truncate>,
    /// The time until an idle model is unloaded.
    pub keep_alive: Option<KeepAlive>,
    /// Time limit of the request in seconds.
    pub timeout: Option<f64>,
    pub images: Option<Value>,
    pub max_tokens: Option<Value>,
    pub priority: Option<Value>,
}

impl Body for Request {}

impl NamesModel for Request {
    const KIND: ModelKind = ModelKind::Embed;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// The purpose of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "CohereInputType")]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    SearchDocument,
    SearchQuery,
    Classification,
    Clustering,
    /// Refused.
    Image,
}

/// One input of several parts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "CohereEmbedInput")]
pub struct Input {
    pub content: Vec<Part>,
}

/// A part of an input. Only texts are supported.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "CohereEmbedPart")]
pub struct Part {
    pub r#type: String,
    pub text: Option<String>,
}

/// A form of the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "CohereEmbeddingType")]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingType {
    Float,
    Base64,
    Binary,
    Ubinary,
    /// Refused: the range of the numbers is part of Cohere's own models.
    Int8,
    /// Refused like `int8`.
    Uint8,
}

/// How a text that is too long is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "CohereTruncate")]
#[serde(rename_all = "UPPERCASE")]
pub enum Truncate {
    None,
    End,
    /// Refused.
    Start,
}

/// The response.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CohereEmbedResponse")]
pub struct Response<'a> {
    pub id: &'a str,
    pub response_type: &'static str,
    pub embeddings: Embeddings<'a>,
    pub texts: &'a [String],
    pub meta: Meta,
}

/// The vectors in each requested form, in the order of the texts.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "CohereEmbeddings")]
pub struct Embeddings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub float: Option<&'a [Vec<f32>]>,
    /// Little-endian bytes of the numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<Vec<String>>,
    /// As `ubinary`, minus 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<Vec<Vec<i8>>>,
    /// A bit for each number: whether it is positive. The first number is the highest bit of the first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ubinary: Option<Vec<Vec<u8>>>,
}

/// Token counts.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CohereEmbedMeta")]
pub struct Meta {
    pub api_version: ApiVersion,
    pub billed_units: BilledUnits,
}

/// Part of [`Meta`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CohereApiVersion")]
pub struct ApiVersion {
    pub version: &'static str,
}

/// Part of [`Meta`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CohereBilledUnits")]
pub struct BilledUnits {
    pub input_tokens: u64,
}
