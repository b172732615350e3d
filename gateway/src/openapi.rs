//! The OpenAPI document, generated from the wire types.

pub mod handler;
pub mod operations;

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::openapi::operations::{JSON, Operation, operations};

/// The document of all operations.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(generate);
    &DOCUMENT
}

fn generate() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(&operation, &mut schemas);
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
        // Without keys and password no key is needed. The web UI's sessions are for its own pages only.
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {"schemas": schemas.take_definitions(true), "securitySchemes": schemes},
    })
}

fn describe(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let (media, answer) = operation.answer;
    let answer = answer.map_or_else(|| json!({"type": "string"}), |answer| answer(schemas));
    let mut content = json!({ media: {"schema": answer} });
    if let Some((media, event)) = operation.event {
        content[media] = json!({"schema": event(schemas)});
    }
    let is_own = operation.path.starts_with("/admin/") || operation.path.starts_with("/ui/");
    let problem = if is_own { "application/problem+json" } else { JSON };
    let error = json!({"description": "The error",
        "content": { problem: {"schema": (operation.error)(schemas)}}});
    let mut described = json!({
        "summary": operation.summary,
        "responses": {"200": {"description": "As asked", "content": content}, "default": error},
    });
    if let Some(request) = operation.request {
        let content = json!({ JSON: {"schema": request(schemas)}});
        // Commands for a model have an optional body.
        let required = !operation.path.starts_with("/admin/v1/models/") || operation.method == "put";
        described["requestBody"] = json!({"required": required, "content": content});
    }
    let query = operation.query.iter();
    let mut parameters: Vec<Value> =
        query.map(|(name, kind)| json!({"name": name, "in": "query", "schema": {"type": kind}})).collect();
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
