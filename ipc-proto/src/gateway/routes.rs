//! Routes: rules that choose the models which answer a request.

use std::collections::BTreeMap;

mod conditions;
mod judged;
mod references;

use super::roles::ROLE_PREFIX;
use super::text::is_header_name;

pub use conditions::{LocalCondition, LocalState, NamePattern, NameRegex, TimeRange, TokenRange, minute_of};
pub use judged::Similar;
pub use references::References;

/// All routes, in order. The first one whose conditions all hold counts.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<Route>")]
pub struct Routes(Vec<Route>);

/// One route: conditions, and the models that answer where they hold.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// Its name in headers, records and traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name that a client asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub model: Option<NamePattern>,
    /// A regular expression for names that clients ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub model_regex: Option<NameRegex>,
    /// Whether the request has tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_tools: Option<bool>,
    /// Whether the request has images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_images: Option<bool>,
    /// The size of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<TokenRange>,
    /// The names or ids of the API keys that may send the request. An entry that ends in `*` stands for all that begin so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schemars", schemars(with = "Vec<String>"))]
    pub keys: Vec<NamePattern>,
    /// The values of headers, by their names in lower case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The values in the request's metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The state of a model of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalCondition>,
    /// The time of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub time: Option<TimeRange>,
    /// The nearness of the last message of the user to examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similar: Option<Similar>,
    /// A sentence that a model of this machine must find true of the last message of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
    /// The model of this machine that judges the sentence; otherwise that of the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// The models that answer: the first one that can. They are names of models or roles, not of routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Models of which one is asked first, by their weights. `targets` follow it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<Share>,
    /// Seconds after which the next model is asked if no output has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_seconds: Option<u32>,
    /// Whether requests of this route never leave the machine.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub local_only: bool,
}

/// A model's share of a split.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "RouteShare"))]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The model.
    pub model: String,
    /// Its part of the sum of all weights.
    pub weight: u32,
}

/// The problem with one route of a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route {} ({title}): {problem}", place + 1)]
pub struct RouteFault {
    /// The place of the route, from 0.
    pub place: usize,
    /// The name of the route.
    pub title: String,
    /// The problem. It begins with the field, if one is to blame.
    pub problem: String,
}

/// The fields that a problem may begin with.
const FIELDS: [&str; 9] = [
    "name",
    "model_regex",
    "targets",
    "split",
    "headers",
    "first_token_seconds",
    "similar",
    "sentence",
    "judge",
];

impl RouteFault {
    /// The field that is to blame, if it is one.
    pub fn field(&self) -> Option<&str> {
        let word = self.problem.split([' ', ':']).next()?;
        FIELDS.contains(&word).then_some(word)
    }
}

impl Routes {
    /// The routes of a list.
    ///
    /// # Errors
    /// The first wrong one, and its problem.
    pub fn new(mut routes: Vec<Route>) -> Result<Self, RouteFault> {
        check(&mut routes)?;
        Ok(Self(routes))
    }

    /// These routes, and `later` ones after them. A later one may be hidden by an earlier one.
    #[must_use]
    pub fn followed_by(&self, later: &Self) -> Self {
        Self(self.0.iter().chain(&later.0).cloned().collect())
    }

    /// The number of routes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Route {
    /// Whether a name that a client asks for fits.
    pub fn takes(&self, name: &str) -> bool {
        self.model.as_ref().is_none_or(|pattern| pattern.matches(name))
            && self.model_regex.as_ref().is_none_or(|regex| regex.matches(name))
    }

    /// Whether the route is for this one name.
    pub fn names(&self, name: &str) -> bool {
        matches!(&self.model, Some(NamePattern::Exactly(own)) if own == name)
    }

    /// Whether nothing but the name decides.
    pub fn is_unconditional(&self) -> bool {
        let Self { has_tools, has_images, prompt_tokens, keys, headers, metadata, local, time, .. } = self;
        has_tools.is_none()
            && has_images.is_none()
            && prompt_tokens.is_none()
            && keys.is_empty()
            && headers.is_empty()
            && metadata.is_empty()
            && local.is_none()
            && time.is_none()
            && !self.is_judged()
    }

    /// Every model that may answer.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.split.iter().map(|share| &*share.model).chain(self.targets.iter().map(String::as_str))
    }

    /// Its name in headers, records and traces. `place` counts the routes from 0.
    pub fn title(&self, place: usize) -> String {
        let pattern = || self.model.as_ref().map(String::from);
        let regex = || self.model_regex.as_ref().map(|regex| regex.as_str().to_owned());
        self.name.clone().or_else(pattern).or_else(regex).unwrap_or_else(|| format!("route {}", place + 1))
    }

    fn check(&mut self) -> Result<(), String> {
        self.headers = std::mem::take(&mut self.headers)
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        if self.model.is_some() && self.model_regex.is_some() {
            return Err("model_regex: model is given as well".into());
        }
        if self.models().next().is_none() || self.models().any(str::is_empty) {
            return Err("targets or split must name at least one model, and no name may be empty".into());
        }
        if self.split.iter().any(|share| share.weight == 0 || share.weight > MAX_WEIGHT) {
            return Err(format!("split: a weight must lie between 1 and {MAX_WEIGHT}"));
        }
        if self.name.as_deref() == Some("") {
            return Err("name: it is empty".into());
        }
        if let Some(wrong) = self.headers.keys().find(|name| !is_header_name(name)) {
            return Err(format!("headers: \"{wrong}\" is no name of a header"));
        }
        if let Some(seconds) = self.first_token_seconds {
            let is_role = |target: &String| target.starts_with(ROLE_PREFIX);
            let asks_another = self.targets.len() + usize::from(!self.split.is_empty()) > 1
                || self.targets.iter().any(is_role);
            if seconds == 0 || !asks_another {
                return Err("first_token_seconds must be at least 1, and needs a further model to ask".into());
            }
        }
        self.check_judged()
    }
}

const MAX_WEIGHT: u32 = 1_000_000;

/// Checks all routes.
fn check(routes: &mut [Route]) -> Result<(), RouteFault> {
    for place in 0..routes.len() {
        let (earlier, rest) = routes.split_at_mut(place);
        let route = &mut rest[0];
        let title = route.title(place);
        let fault = |problem: String| RouteFault { place, title, problem };
        if let Err(problem) = route.check() {
            return Err(fault(problem));
        }
        if let Some(at) = earlier.iter().position(|one| one.is_unconditional() && covers(one, route)) {
            let hiding = earlier[at].title(at);
            return Err(fault(format!("it is never reached, as the route for {hiding} comes before it")));
        }
        if route.name.is_some() && earlier.iter().any(|one| one.name == route.name) {
            return Err(fault("another route has this name".into()));
        }
    }
    Ok(())
}

/// Whether every name that fits `later` fits `earlier` too, as far as that can be said of regular expressions.
fn covers(earlier: &Route, later: &Route) -> bool {
    if earlier.model_regex.is_some() {
        return earlier.model_regex == later.model_regex;
    }
    match (&earlier.model, &later.model) {
        (None, _) => true,
        (Some(pattern), None) => pattern.covers_all(),
        (Some(pattern), Some(other)) => pattern.covers(other),
    }
}

impl From<Routes> for Vec<Route> {
    fn from(routes: Routes) -> Self {
        routes.0
    }
}

impl TryFrom<Vec<Route>> for Routes {
    type Error = String;

    fn try_from(routes: Vec<Route>) -> Result<Self, String> {
        Self::new(routes).map_err(|fault| fault.to_string())
    }
}

#[cfg(test)]
mod tests;
