//! The API's description, for programs and for people.

use axum::Json;
use axum::response::Html;
use serde_json::Value;

use crate::openapi;

/// `GET /openapi.json`.
pub async fn document() -> Json<&'static Value> {
    Json(openapi::document())
}

/// `GET /docs`: shows the document; loads nothing from elsewhere.
pub async fn page() -> Html<&'static str> {
    Html(include_str!("../openapi/docs.html"))
}
