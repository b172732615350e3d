//! Health checks.

use axum::Json;
use serde_json::{Value, json};

/// `GET /health`: asks no other process, so that it succeeds while a model loads.
pub async fn health() -> Json<Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}
