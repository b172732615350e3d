//! Serves the API description as JSON and as a page.

use axum::Json;
use axum::response::Html;
use serde_json::Value;

use crate::openapi;

/// `GET /openapi.json`.
pub async fn document() -> Json<&'static Value> {
    Json(openapi::document())
}

/// `GET /docs`: a page that shows the document. It loads nothing from other hosts.
pub async fn page() -> Html<&'static str> {
    Html(include_str!("../openapi/docs.html"))
}
