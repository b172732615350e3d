//! Chooses the route of a request and the order of its models. Pure: the same facts give the same decision, or the same question
//! whose answer is the next fact.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::HeaderMap;
use ipc_proto::gateway::{LocalState, Route, Routes, Share};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::sender::KeyIdentity;

pub mod questions;

use questions::{Answers, Judgement, Question};

/// The facts about a request that conditions of routes test.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The model's name as the client gave it.
    pub model: String,
    /// Whether the request has tools.
    pub has_tools: bool,
    /// Whether the request has images.
    pub has_images: bool,
    /// An estimate of the prompt's tokens; `None` for a request that generates nothing.
    pub prompt_tokens: Option<u32>,
    /// The sender's API key, if it is one of the database.
    pub key: Option<KeyIdentity>,
    /// The headers of the request.
    pub headers: Option<Arc<HeaderMap>>,
    /// The client's metadata.
    pub metadata: Map<String, Value>,
    /// The states of this machine's models that conditions name.
    pub local: HashMap<String, LocalState>,
    /// The local time, in minutes after midnight.
    pub minute: u16,
    /// A number that decides splits.
    pub draw: u64,
    /// The text that models judge, if a condition asks for it and there is one.
    pub text: Option<Arc<str>>,
    /// What models have said about the text.
    pub answers: Answers,
}

/// What follows from the facts.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<'r> {
    /// The decision.
    Decided(Decision),
    /// A model has to answer this first.
    Asks(Question<'r>),
}

/// The route of a request, and how it was found.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "RouteDecision")]
pub struct Decision {
    /// The route that applies; null if none does.
    pub route: Option<String>,
    /// The bounds of the route's models.
    #[serde(skip)]
    pub bounds: Bounds,
    /// The models in the order in which they are asked.
    pub targets: Vec<String>,
    /// Each route that was looked at, in order.
    pub steps: Vec<Step>,
}

/// The bounds that a route sets for its models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Whether only models of this machine may answer.
    pub local_only: bool,
    /// The time in which a model has to begin its output, if another one follows.
    pub first_token_seconds: Option<u32>,
}

/// One route that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RouteStep")]
pub struct Step {
    /// The route's name.
    pub route: String,
    /// Whether all its conditions hold.
    pub matched: bool,
    /// The first condition that does not hold; null if all do.
    pub because: Option<String>,
    /// What models were asked for this route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judged: Vec<Judgement>,
}

/// A number for splits that follows from the request's id, so that a request is always split alike.
pub fn draw(request_id: &str) -> u64 {
    let digest = Sha256::digest(request_id);
    digest[..8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Finds the first route whose conditions all hold. A question is asked only where everything else of its route holds.
pub fn decide<'r>(routes: &'r Routes, facts: &Facts) -> Next<'r> {
    let (mut steps, mut shown) = (Vec::new(), Vec::new());
    for (place, route) in routes.iter().enumerate() {
        let (mut because, mut judged) = (unmet(route, facts), Vec::new());
        if because.is_none() && route.is_judged() {
            match questions::judge(route, facts, &mut shown) {
                Ok(found) => (because, judged) = (found.because, found.judgements),
                Err(question) => return Next::Asks(question),
            }
        }
        let (matched, title) = (because.is_none(), route.title(place));
        steps.push(Step { route: title.clone(), matched, because, judged });
        if matched {
            let bounds =
                Bounds { local_only: route.local_only, first_token_seconds: route.first_token_seconds };
            let targets = order(route, facts.draw);
            return Next::Decided(Decision { route: Some(title), bounds, targets, steps });
        }
    }
    Next::Decided(Decision { route: None, bounds: Bounds::default(), targets: Vec::new(), steps })
}

/// The models of a route in the order in which they are asked: one of the split, then the targets.
fn order(route: &Route, draw: u64) -> Vec<String> {
    let mut targets: Vec<String> = Vec::new();
    let first = choose(&route.split, draw).into_iter();
    for model in first.chain(route.targets.iter().map(String::as_str)) {
        if !targets.iter().any(|target| *target == *model) {
            targets.push(model.into());
        }
    }
    targets
}

/// The model of a split that a number falls on.
fn choose(split: &[Share], draw: u64) -> Option<&str> {
    let total: u64 = split.iter().map(|share| u64::from(share.weight)).sum();
    let mut left = draw.checked_rem(total)?;
    for share in split {
        match left.checked_sub(share.weight.into()) {
            Some(rest) => left = rest,
            None => return Some(&share.model),
        }
    }
    None
}

/// The first condition of a route that does not hold, but for those that a model judges.
fn unmet(route: &Route, facts: &Facts) -> Option<String> {
    unmet_name(route, &facts.model)
        .or_else(|| unmet_content(route, facts))
        .or_else(|| unmet_sender(route, facts))
        .or_else(|| unmet_state(route, facts))
}

fn unmet_name(route: &Route, name: &str) -> Option<String> {
    (!route.takes(name)).then(|| format!("model \"{name}\" does not fit"))
}

fn unmet_content(route: &Route, facts: &Facts) -> Option<String> {
    let differs = |wanted: Option<bool>, has: bool, what: &str| {
        let state = if has { "has" } else { "has no" };
        wanted.filter(|wanted| *wanted != has).map(|_| format!("the request {state} {what}"))
    };
    differs(route.has_tools, facts.has_tools, "tools")
        .or_else(|| differs(route.has_images, facts.has_images, "images"))
        .or_else(|| match (&route.prompt_tokens, facts.prompt_tokens) {
            (Some(range), Some(count)) if !range.contains(count) => {
                Some(format!("prompt_tokens: about {count}, which is outside the range"))
            }
            (Some(_), None) => Some("prompt_tokens: the request generates nothing".into()),
            _ => None,
        })
}

fn unmet_sender(route: &Route, facts: &Facts) -> Option<String> {
    // The values may be secret.
    let state = |found: Option<bool>| match found {
        Some(true) => None,
        Some(false) => Some("differs"),
        None => Some("is missing"),
    };
    let fits =
        |key: &KeyIdentity| route.keys.iter().any(|one| one.matches(&key.name) || one.matches(&key.id));
    if !route.keys.is_empty() && !facts.key.as_ref().is_some_and(fits) {
        return Some("the sender's key is none of keys".into());
    }
    for (name, wanted) in &route.headers {
        let value = facts.headers.as_ref().and_then(|headers| headers.get(name));
        if let Some(state) = state(value.map(|value| value.as_bytes() == wanted.as_bytes())) {
            return Some(format!("the header {name} {state}"));
        }
    }
    for (key, wanted) in &route.metadata {
        let is_equal = |value: &Value| match value {
            Value::String(text) => text == wanted,
            value => format!("{value}") == *wanted,
        };
        if let Some(state) = state(facts.metadata.get(key).map(is_equal)) {
            return Some(format!("metadata.{key} {state}"));
        }
    }
    None
}

fn unmet_state(route: &Route, facts: &Facts) -> Option<String> {
    if let Some(condition) = &route.local {
        let state = facts.local.get(&condition.model).copied().unwrap_or(LocalState::Unusable);
        if state != condition.state {
            return Some(format!("{} is {}", condition.model, word(state)));
        }
    }
    let range = route.time.filter(|range| !range.contains(facts.minute))?;
    Some(format!("the time {:02}:{:02} is outside {range}", facts.minute / 60, facts.minute % 60))
}

fn word(state: LocalState) -> &'static str {
    match state {
        LocalState::Ready => "ready",
        LocalState::Loadable => "loadable",
        LocalState::WouldEvict => "would_evict",
        LocalState::Unusable => "unusable",
    }
}

#[cfg(test)]
mod tests;
