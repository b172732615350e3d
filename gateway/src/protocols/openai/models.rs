//! `GET /v1/models`.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use schemars::JsonSchema;
use serde::Serialize;

use crate::protocols::models::details::{Details, State};

/// The list of models.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModelList")]
pub struct List {
    pub object: &'static str,
    pub data: Vec<Model>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Model {
    pub id: String,
    pub object: &'static str,
    pub created: u64,
    pub owned_by: &'static str,
    /// An extension of this server, like `details`.
    #[serde(flatten)]
    pub state: State,
    pub details: Details,
}
