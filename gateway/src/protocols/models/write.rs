//! Writes models in the form of each protocol.

use chrono::{DateTime, SecondsFormat};
use ipc_proto::supervisor::ModelEntry;
use ipc_proto::{Error, Result};

use super::details::{details, state};
use crate::protocols::anthropic::models as anthropic;
use crate::protocols::openai::models::Model;

const DEFAULT_PAGE: usize = 20;
const MAX_PAGE: usize = 1000;

/// Lists each servable model once under its id and once under each alias. Some clients offer only listed names of a known kind.
pub fn expand_aliases(models: Vec<ModelEntry>) -> Vec<ModelEntry> {
    let each = |entry: ModelEntry| {
        let aliases = entry.aliases.clone().into_iter();
        let aliases: Vec<_> = aliases.map(|id| ModelEntry { id, ..entry.clone() }).collect();
        std::iter::once(entry).chain(aliases)
    };
    models.into_iter().filter(|entry| !entry.details.unserved).flat_map(each).collect()
}

/// Writes a model in OpenAI's form.
pub fn to_openai(entry: ModelEntry, owned_by: String) -> Model {
    Model {
        owned_by,
        id: entry.id,
        object: "model",
        created: entry.created,
        context_length: entry.context,
        max_model_len: entry.context,
        state: state(entry.state),
        details: details(entry.details),
    }
}

/// Writes a model in Anthropic's form.
pub fn to_anthropic(entry: ModelEntry) -> anthropic::Model {
    anthropic::Model {
        r#type: "model",
        display_name: entry.id.rsplit('/').next().unwrap_or_default().to_owned(),
        created_at: rfc3339(entry.created),
        lifecycle: "active",
        deprecated_at: None,
        retires_at: None,
        line: anthropic::line(&entry.id),
        id: entry.id,
        max_input_tokens: entry.context,
        max_tokens: entry.context,
        capabilities: entry.details.capabilities.into(),
    }
}

/// Formats seconds since the Unix epoch.
pub fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Returns one page of `models` in their order.
///
/// # Errors
/// Returns an error for an invalid page size or an unknown neighbour.
pub fn paginate(models: Vec<ModelEntry>, query: &anthropic::Query) -> Result<anthropic::List> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if limit == 0 || limit > MAX_PAGE {
        return Err(Error::invalid("limit", format!("limit must lie between 1 and {MAX_PAGE}")));
    }
    let at = |field: &str, id: &str| {
        let found = models.iter().position(|model| model.id == id);
        found.ok_or_else(|| Error::invalid(field, format!("{field}: there is no model \"{id}\"")))
    };
    let first = query.after_id.as_deref().map(|id| at("after_id", id)).transpose()?.map_or(0, |at| at + 1);
    let end = query.before_id.as_deref().map(|id| at("before_id", id)).transpose()?;
    let range = match (query.after_id.is_some(), end) {
        (true, Some(_)) => return Err(Error::invalid("before_id", "before_id is not allowed with after_id")),
        // Backwards: the models just before `before_id`.
        (false, Some(end)) => end.saturating_sub(limit)..end,
        (_, None) => first..models.len().min(first.saturating_add(limit)),
    };
    let has_more = if end.is_some() { range.start > 0 } else { range.end < models.len() };
    let data: Vec<_> = models.into_iter().skip(range.start).take(range.len()).map(to_anthropic).collect();
    let id = |model: Option<&anthropic::Model>| model.map(|model| model.id.clone());
    Ok(anthropic::List { has_more, first_id: id(data.first()), last_id: id(data.last()), data })
}

#[cfg(test)]
mod tests;
