//! Keeps a request as it came if a provider of the same protocol may answer it: nothing of it is lost then.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use hyper::body::Bytes;
use ipc_proto::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::inference::names::Names;
use crate::inference::original::{Original, WireProtocol};
use crate::inference::request::InferenceRequest;
use crate::protocols::common::body::{self, Body};

/// Headers that choose a version or a feature of a protocol.
const HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("anthropic-version"), HeaderName::from_static("anthropic-beta")];

/// The parts of a body that the way to the provider depends on.
#[derive(Deserialize)]
struct Head {
    model: String,
    #[serde(default)]
    stream: Option<bool>,
}

/// The headers of a request that go with its body to a provider.
pub fn headers(names: &Names, all: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    if names.has_providers() {
        for name in HEADERS {
            for value in all.get_all(&name) {
                kept.append(name.clone(), value.clone());
            }
        }
    }
    kept
}

/// The request in `body`, if a provider of its protocol may answer. `known` is the name of its model and whether it asks for a
/// stream; `None` if the body could not be parsed.
pub fn keep(
    names: &Names,
    (protocol, headers): (WireProtocol, HeaderMap),
    body: Bytes,
    known: Option<(&str, bool)>,
) -> Option<Original> {
    if !names.has_providers() {
        return None;
    }
    let (model, streamed) = match known {
        Some((model, streamed)) => (model.to_owned(), streamed),
        None => {
            let head: Head = serde_json::from_slice(&body).ok()?;
            (head.model, head.stream.unwrap_or(false))
        }
    };
    // Escapes that had to be repaired would be a provider's problem.
    let is_whole = || known.is_none() || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    let passes = names.passes(&model, protocol) && is_whole();
    passes.then(|| Original { protocol, model, streamed, body, headers, refused: None })
}

/// The parsed request with its original. A request that has no neutral form keeps the reason, and a stand-in takes its place, which
/// no backend reads.
///
/// # Errors
/// The request could not be parsed, and no provider of its protocol may answer.
pub fn join<T: Body, V>(
    parsed: Result<V>,
    original: Option<Original>,
    parse: impl Fn(T) -> Result<V>,
    request: impl Fn(&mut V) -> &mut InferenceRequest,
) -> Result<V> {
    let (mut valid, original) = match (parsed, original) {
        (Err(error), Some(original)) => {
            let stand_in = parse(body::from_json(stand_in(&original))?)?;
            (stand_in, Some(Original { refused: Some(error), ..original }))
        }
        (parsed, original) => (parsed?, original),
    };
    request(&mut valid).original = original.map(Arc::new);
    Ok(valid)
}

fn stand_in(Original { protocol, model, streamed, .. }: &Original) -> Value {
    match protocol {
        WireProtocol::Chat | WireProtocol::Messages => {
            let messages = json!([{"role": "user", "content": "-"}]);
            json!({"model": model, "stream": streamed, "max_tokens": 1, "messages": messages})
        }
        WireProtocol::Responses => json!({"model": model, "stream": streamed, "input": "-", "store": false}),
    }
}
