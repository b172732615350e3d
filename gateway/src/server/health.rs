//! Health checks.

use axum::Json;
use serde_json::{Value, json};

/// `GET /health`: asks no other process, so that it succeeds while a model loads.
pub async fn health() -> Json<Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /`: for browsers, and for clients that probe the address.
pub async fn greet() -> &'static str {
    "mlxd is running. The API is at /v1 (OpenAI): GET /v1/models lists the models.\n"
}
