//! Whether the gateway is there.

use axum::Json;
use serde_json::{Value, json};

/// `GET /health`: asks nobody else, so that it stays green while a model loads.
pub async fn health() -> Json<Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /`: for people who open the address in a browser, and for clients that probe it.
pub async fn greet() -> &'static str {
    "mlxd is running. The API is at /v1 (OpenAI): GET /v1/models lists the models.\n"
}
