//! The models that an agent can get, and the choice among them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::LaunchError;
use super::api::Api;

/// Characters that a name in a path must quote. Its slashes stay.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Ids that a message lists.
const LISTED: usize = 8;
const NONE: &str = "no model for chats is here: find one with `mlxd search`, then `mlxd pull` it";

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) id: String,
    /// Tokens of prompt and answer together, if known.
    pub(super) context: Option<u32>,
    is_loaded: bool,
    /// Whether it is on this machine and chats. Another one has to be asked for by name.
    is_own: bool,
}

/// A model as `/v1/models` describes it.
#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    context_length: Option<u32>,
    #[serde(default)]
    owned_by: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    #[serde(default)]
    modality: String,
    #[serde(default)]
    capabilities: Capabilities,
}

#[derive(Debug, Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    chat: bool,
}

#[derive(Debug, Deserialize)]
struct List {
    data: Vec<Listed>,
}

impl From<Listed> for Offer {
    fn from(listed: Listed) -> Self {
        let chats = listed.details.modality == "text" && listed.details.capabilities.chat;
        Self {
            id: listed.id,
            context: listed.context_length,
            is_loaded: listed.state == "ready",
            is_own: listed.owned_by == "local" && chats,
        }
    }
}

impl Offer {
    /// A model of which only the name is known.
    pub(super) fn unknown(id: &str) -> Self {
        Self { id: id.to_owned(), context: None, is_loaded: false, is_own: false }
    }
}

/// The models that the server lists.
pub(super) fn list(api: &Api, key: Option<&str>) -> Result<Vec<Offer>, LaunchError> {
    let text = api.fetch("/v1/models", key)?;
    let list: List =
        serde_json::from_str(&text).map_err(|error| LaunchError::Unreachable(error.to_string()))?;
    Ok(list.data.into_iter().map(Offer::from).collect())
}

/// The model of this name, or the one that is there to choose.
///
/// # Errors
/// There is none of this name, or several without a name.
pub(super) fn choose(
    offers: &[Offer],
    name: Option<&str>,
    api: &Api,
    key: Option<&str>,
) -> Result<Offer, LaunchError> {
    let Some(name) = name else { return only(offers).cloned() };
    match offers.iter().find(|offer| offer.id == name) {
        Some(offer) => Ok(offer.clone()),
        // A route for the beginning of names is in no list.
        None => {
            let text =
                api.fetch(&format!("/v1/models/{}", encoded(name)), key).map_err(|error| match error {
                    LaunchError::Missing(text) if !text.contains("mlxd pull") => {
                        LaunchError::Refused(format!("{text}; `mlxd pull ORG/MODEL` downloads one"))
                    }
                    other => other,
                })?;
            let listed: Listed =
                serde_json::from_str(&text).map_err(|error| LaunchError::Unreachable(error.to_string()))?;
            Ok(Offer { id: name.to_owned(), ..listed.into() })
        }
    }
}

/// The model on disk, without a server.
pub(super) fn on_disk(config: &supervisor::Config, name: Option<&str>) -> Result<Offer, LaunchError> {
    let models = supervisor::models_on_disk(config);
    let offers: Vec<Offer> = models
        .into_iter()
        .filter(|model| !model.details.unserved)
        .map(|model| Offer {
            id: model.id,
            context: model.details.context,
            is_loaded: false,
            is_own: model.details.capabilities.chat,
        })
        .collect();
    let Some(name) = name else { return only(&offers).cloned() };
    // It may also be an alias or a route, which only a server knows.
    Ok(offers.into_iter().find(|offer| offer.id == name).unwrap_or_else(|| Offer::unknown(name)))
}

/// The only model for chats on this machine, or the only loaded one.
fn only(offers: &[Offer]) -> Result<&Offer, LaunchError> {
    let own: Vec<&Offer> = offers.iter().filter(|offer| offer.is_own).collect();
    let loaded: Vec<&Offer> = own.iter().copied().filter(|offer| offer.is_loaded).collect();
    match (own.as_slice(), loaded.as_slice()) {
        ([one], _) | (_, [one]) => Ok(one),
        ([], _) => Err(LaunchError::Refused(NONE.to_owned())),
        _ => {
            let ids: Vec<&str> = own.iter().take(LISTED).map(|offer| offer.id.as_str()).collect();
            let more = match own.len().saturating_sub(LISTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Err(LaunchError::Refused(format!("say which with --model: {}{more}", ids.join(", "))))
        }
    }
}

/// A name as part of a path.
fn encoded(name: &str) -> String {
    utf8_percent_encode(name, QUOTED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(id: &str, is_loaded: bool, is_own: bool) -> Offer {
        Offer { id: id.into(), context: Some(4096), is_loaded, is_own }
    }

    #[test]
    fn only_model_is_chosen_and_of_several_the_loaded_one() {
        let chosen = |offers: &[Offer]| only(offers).map(|offer| offer.id.clone()).map_err(|e| e.to_string());
        assert_eq!(chosen(&[offer("a", false, true), offer("embeds", true, false)]).unwrap(), "a");
        assert_eq!(chosen(&[offer("a", false, true), offer("b", true, true)]).unwrap(), "b");
        let several: Vec<Offer> = (0..10).map(|n| offer(&format!("m{n}"), false, true)).collect();
        let error = chosen(&several).unwrap_err();
        assert!(error.contains("--model: m0, ") && error.ends_with("m7 and 2 more"), "{error}");
        assert!(chosen(&[]).unwrap_err().contains("mlxd pull"));
    }

    #[test]
    fn name_in_a_path_keeps_its_slashes_only() {
        assert_eq!(encoded("org/m-1.5 é?"), "org/m-1.5%20%C3%A9%3F");
    }
}
