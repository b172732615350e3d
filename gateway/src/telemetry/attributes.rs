//! The attributes of an ended request, by OpenTelemetry's semantic conventions for generative AI (1.37).

use opentelemetry::KeyValue;

use crate::inference::course::BackendName;
use crate::inference::record::{Outcome, Record};

/// What a request does.
fn operation(endpoint: &str) -> &'static str {
    match endpoint {
        "/v1/completions" | "/api/generate" => "text_completion",
        path if ["embed", "rerank"].iter().any(|part| path.contains(part)) => "embeddings",
        _ => "chat",
    }
}

/// The name of a request's span: few different ones, so that they can be grouped.
pub(super) fn span_name(record: &Record) -> String {
    format!("{} {}", operation(record.endpoint), record.model)
}

/// The attributes of a request's span and metrics.
pub(super) fn common(record: &Record) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("gen_ai.operation.name", operation(record.endpoint)),
        KeyValue::new("gen_ai.request.model", record.model.clone()),
    ];
    let backend = record.answerer.backend.as_ref().map(|backend| match backend {
        BackendName::Local => "mlxd".to_owned(),
        BackendName::Provider(name) | BackendName::Managed(name) => name.to_string(),
    });
    attributes.extend(backend.map(|name| KeyValue::new("gen_ai.provider.name", name)));
    if record.answerer.backend.is_some() {
        let model = record.answerer.model.as_deref().unwrap_or(&record.model);
        attributes.push(KeyValue::new("gen_ai.response.model", model.to_owned()));
    }
    match record.outcome {
        Outcome::Failed(kind) => attributes.push(KeyValue::new("error.type", format!("{kind:?}"))),
        Outcome::Cancelled => attributes.push(KeyValue::new("error.type", "cancelled")),
        Outcome::Finished => {}
    }
    attributes
}

/// Further attributes of the span.
pub(super) fn of_span(record: &Record) -> Vec<KeyValue> {
    let count = |name: &'static str, count: u32| KeyValue::new(name, i64::from(count));
    let mut attributes = vec![
        KeyValue::new("url.path", record.endpoint),
        count("gen_ai.usage.input_tokens", record.usage.prompt_tokens),
        count("gen_ai.usage.cache_read.input_tokens", record.usage.cached_tokens),
        count("gen_ai.usage.output_tokens", record.usage.completion_tokens),
        KeyValue::new("mlxd.request.id", record.id.clone()),
        KeyValue::new("mlxd.streamed", record.streamed),
        count("mlxd.attempts", record.attempts),
        count("mlxd.recoveries", record.recoveries),
    ];
    let text = |name: &'static str, value: Option<String>| value.map(|value| KeyValue::new(name, value));
    attributes.extend(text("mlxd.route", record.answerer.route.as_deref().map(str::to_owned)));
    attributes.extend(text("mlxd.fallback_reason", record.answerer.fallback_reason()));
    attributes.extend(text("mlxd.key", record.key.as_ref().map(|key| key.name.to_string())));
    attributes.extend(text("gen_ai.conversation.id", record.labels.session.clone()));
    attributes.extend(record.first_token_ms.map(|ms| KeyValue::new("mlxd.first_token_ms", ms)));
    let dollars = record.cost.as_ref().map(|cost| cost.nano_usd as f64 / 1e9);
    attributes.extend(dollars.map(|dollars| KeyValue::new("mlxd.cost_usd", dollars)));
    attributes
}
