//! Gathers the facts that conditions of routes ask for, as far as they do not depend on a request's content.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{Local, Timelike};
use ipc_proto::gateway::LocalState;
use serde_json::Value;

use crate::fleet::FleetClient;
use crate::inference::course::Course;
use crate::inference::names::Names;
use crate::inference::routing::Facts;

/// The facts about a request for `model` that generates nothing. Only those that a condition asks for are looked up.
pub async fn of_call(names: &Names, fleet: &FleetClient, model: &str, course: &Course) -> Facts {
    let mut facts = Facts {
        model: model.to_owned(),
        headers: course.headers().map(Arc::clone),
        key: course.key().cloned(),
        ..Facts::default()
    };
    if names.routes_of(model).any(|route| !route.metadata.is_empty())
        && let Some(Ok(Value::Object(metadata))) = course.notes().map(serde_json::from_str)
    {
        facts.metadata = metadata;
    }
    if names.routes_of(model).any(|route| route.time.is_some()) {
        let now = Local::now();
        facts.minute = u16::try_from(now.hour() * 60 + now.minute()).unwrap_or_default();
    }
    let conditions = names.routes_of(model).filter_map(|route| route.local.as_ref());
    facts.local = states(fleet, conditions.map(|condition| &*condition.model)).await;
    facts
}

/// The states of models of this machine.
async fn states<'a>(
    fleet: &FleetClient,
    models: impl Iterator<Item = &'a str>,
) -> HashMap<String, LocalState> {
    let mut states = HashMap::new();
    for model in models {
        if !states.contains_key(model) {
            states.insert(model.to_owned(), fleet.state(model).await);
        }
    }
    states
}
