//! The OpenAPI document, made from the wire types: what they take and give is what it says.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api::anthropic::{self, error as anthropic_error, messages};
use crate::api::openai::responses::{self, answer};
use crate::api::openai::{chat, completions, embeddings, error, models};
use crate::api::rerank;

/// Writes the schema of one type.
type Schema = fn(&mut SchemaGenerator) -> Value;

/// One method of one path.
#[derive(Clone, Copy)]
struct Operation {
    path: &'static str,
    method: &'static str,
    summary: &'static str,
    request: Option<Schema>,
    /// The answer; `None` for plain text.
    answer: Option<Schema>,
    /// One event, where the answer can be streamed.
    event: Option<Schema>,
    error: Schema,
    /// What may stand in its query: names, and JSON's types of them.
    query: &'static [(&'static str, &'static str)],
}

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

/// An operation without body, answered with a `T`.
fn read<T: JsonSchema>(method: &'static str, path: &'static str, summary: &'static str) -> Operation {
    let (error, query) = (of::<error::Body> as Schema, &[]);
    Operation { path, method, summary, request: None, answer: Some(of::<T>), event: None, error, query }
}

/// An `A`, or a `B` for clients of another protocol.
fn either<A: JsonSchema, B: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    json!({"anyOf": [of::<A>(schemas), of::<B>(schemas)]})
}

/// An operation that takes a `Q`.
fn post<Q: JsonSchema, T: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { request: Some(of::<Q>), ..read::<T>("post", path, summary) }
}

fn operations() -> Vec<Operation> {
    let anthropic = of::<anthropic_error::Body> as Schema;
    vec![
        Operation {
            event: Some(of::<chat::Chunk<chat::ChunkChoice>>),
            ..post::<chat::Request, chat::Response>("/v1/chat/completions", "Answer a conversation")
        },
        Operation {
            event: Some(of::<completions::Response<completions::Choice>>),
            ..post::<completions::Request, completions::Response<completions::Choice>>(
                "/v1/completions",
                "Continue a text",
            )
        },
        Operation {
            event: Some(of::<responses::events::Event>),
            ..post::<responses::Request, answer::Response>("/v1/responses", "Make a response")
        },
        post::<responses::Request, answer::Count>("/v1/responses/input_tokens", "Count a request's tokens"),
        Operation {
            event: Some(of::<responses::events::Event>),
            query: &[("stream", "boolean"), ("starting_after", "integer")],
            ..read::<answer::Response>("get", "/v1/responses/{id}", "A kept response")
        },
        read::<answer::Deleted>("delete", "/v1/responses/{id}", "Forget a response"),
        read::<answer::Response>(
            "post",
            "/v1/responses/{id}/cancel",
            "Stop a response made in the background",
        ),
        Operation {
            query: &[("limit", "integer"), ("after", "string"), ("order", "string")],
            ..read::<answer::Items>("get", "/v1/responses/{id}/input_items", "What a response answered")
        },
        Operation {
            event: Some(of::<anthropic::events::Event>),
            error: anthropic,
            ..post::<messages::Request, messages::Response>("/v1/messages", "Make a message")
        },
        Operation {
            error: anthropic,
            ..post::<messages::Request, messages::Count>(
                "/v1/messages/count_tokens",
                "Count a message's tokens",
            )
        },
        post::<embeddings::Request, embeddings::Response>("/v1/embeddings", "Embed texts"),
        post::<rerank::Request, rerank::Response>("/v1/rerank", "Sort documents by relevance"),
        post::<rerank::Request, rerank::Response>("/v2/rerank", "The same, for Cohere's newer clients"),
        Operation {
            answer: Some(either::<models::List, anthropic::models::List>),
            query: &[("limit", "integer"), ("after_id", "string"), ("before_id", "string")],
            ..read::<models::List>(
                "get",
                "/v1/models",
                "Every model; Anthropic's form where anthropic-version is sent",
            )
        },
        Operation {
            answer: Some(either::<models::Model, anthropic::models::Model>),
            ..read::<models::Model>("get", "/v1/models/{id}", "One model")
        },
        read::<Value>("get", "/health", "Whether requests are taken"),
        Operation { answer: None, ..read::<()>("get", "/", "A greeting, for probes") },
    ]
}

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

fn make() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(&operation, &mut schemas);
    }
    let schemes = json!({
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mlxd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Models on this machine by OpenAI's and Anthropic's APIs. Fields that are not listed are not looked at; \
                those that are listed and cannot be done are refused by name.",
        },
        // A key is needed only where keys are configured.
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {"schemas": schemas.take_definitions(true), "securitySchemes": schemes},
    })
}

fn described(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let mut content = match operation.answer {
        Some(answer) => json!({"application/json": {"schema": answer(schemas)}}),
        None => json!({"text/plain": {"schema": {"type": "string"}}}),
    };
    if let Some(event) = operation.event {
        content["text/event-stream"] = json!({"schema": event(schemas)});
    }
    let error = json!({"description": "What is wrong",
        "content": {"application/json": {"schema": (operation.error)(schemas)}}});
    let mut described = json!({
        "summary": operation.summary,
        "responses": {"200": {"description": "As asked", "content": content}, "default": error},
    });
    if let Some(request) = operation.request {
        let content = json!({"application/json": {"schema": request(schemas)}});
        described["requestBody"] = json!({"required": true, "content": content});
    }
    let asked = operation.query.iter();
    let mut parameters: Vec<Value> =
        asked.map(|(name, kind)| json!({"name": name, "in": "query", "schema": {"type": kind}})).collect();
    if operation.path.contains("{id}") {
        let schema = json!({"type": "string", "minLength": 1});
        parameters.push(json!({"name": "id", "in": "path", "required": true, "schema": schema}));
    }
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    described
}

#[cfg(test)]
mod tests;
