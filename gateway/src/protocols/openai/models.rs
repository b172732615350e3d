//! `GET /v1/models`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::protocols::models::details::{Details, State};

/// The list.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ModelList")]
pub struct List {
    pub object: &'static str,
    pub data: Vec<Model>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct Model {
    pub id: String,
    pub object: &'static str,
    pub created: u64,
    pub owned_by: &'static str,
    /// What its workers do; ours, as what follows.
    #[serde(flatten)]
    pub state: State,
    pub details: Details,
}
