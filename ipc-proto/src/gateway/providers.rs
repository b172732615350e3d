//! Providers: servers elsewhere that answer for models of theirs.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::prices::Prices;
use super::text::{is_address, is_name};

mod headers;
mod limits;

pub use headers::ProviderHeaders;
pub use limits::{Dollars, ProviderLimits};

/// All providers, by name. A model of one is named `provider/model`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "BTreeMap<String, Provider>")]
pub struct Providers(BTreeMap<String, Provider>);

/// One provider.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The protocol that it speaks.
    pub kind: ProviderKind,
    /// The address before `/chat/completions` or `/v1/messages`, without a slash at the end.
    pub url: String,
    /// The key that it asks for.
    pub api_key: Option<SecretString>,
    /// The environment variable that holds the key. The command line replaces it by the key.
    pub api_key_env: Option<String>,
    /// Headers of every request to it, besides those of its protocol.
    pub headers: ProviderHeaders,
    /// The models to offer, at least one. No other model is ever asked for.
    pub models: Vec<ProviderModel>,
    /// Seconds that a request may take in all.
    pub timeout_seconds: u32,
    /// Seconds without a byte after which a request ends, before the answer or in it. `None`: no such limit.
    pub idle_seconds: Option<u32>,
    /// Whether its address may be link-local, as those of metadata services are.
    pub allow_link_local: bool,
    /// The limits over all its models. A provider that has reached one is not asked.
    pub limits: ProviderLimits,
}

/// The protocol of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// OpenAI's chat completions, without fields that OpenAI does not know.
    Openai,
    /// Chat completions with the further fields of vLLM, llama.cpp and mlxd.
    OpenaiCompatible,
    /// Anthropic's Messages.
    Anthropic,
}

/// One model of a provider: its id, or a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(from = "ModelForm")]
pub struct ProviderModel {
    /// The provider's name of the model.
    pub id: String,
    /// Another name under which clients may ask for it, besides `provider/id`.
    pub alias: Option<String>,
    /// The maximum of prompt and output together, in tokens, if known.
    pub context: Option<u32>,
    /// The maximum of the output, in tokens, if known.
    pub max_output: Option<u32>,
    /// The prices of its tokens, if known.
    #[serde(skip_serializing_if = "Prices::is_empty")]
    pub price: Prices,
}

#[derive(serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "ProviderModelForm"))]
#[serde(
    untagged,
    expecting = "must be the id of a model, or a table with id, alias, context, max_output and price"
)]
enum ModelForm {
    Id(String),
    Table(ModelTable),
}

#[derive(serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "ProviderModelTable"))]
#[serde(deny_unknown_fields)]
struct ModelTable {
    /// The provider's name of the model.
    id: String,
    /// Another name under which clients may ask for it, besides `provider/id`.
    alias: Option<String>,
    /// The maximum of prompt and output together, in tokens.
    context: Option<u32>,
    /// The maximum of the output, in tokens.
    max_output: Option<u32>,
    /// The price of a million tokens in US dollars, or several with the days from which they count.
    #[serde(default)]
    price: Prices,
}

impl From<ModelForm> for ProviderModel {
    fn from(form: ModelForm) -> Self {
        match form {
            ModelForm::Id(id) => {
                Self { id, alias: None, context: None, max_output: None, price: Prices::default() }
            }
            ModelForm::Table(ModelTable { id, alias, context, max_output, price }) => {
                Self { id, alias, context, max_output, price }
            }
        }
    }
}

impl Providers {
    /// Each provider with its name, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Provider)> {
        self.0.iter().map(|(name, provider)| (name.as_str(), provider))
    }

    /// The provider of this name.
    pub fn get(&self, name: &str) -> Option<&Provider> {
        self.0.get(name)
    }

    /// These providers and another one, which replaces the one of its name.
    ///
    /// # Errors
    /// The other one is wrong, or has an alias of another provider. The text begins with a provider's name.
    pub fn with(&self, name: &str, provider: Provider) -> Result<Self, String> {
        let mut all = self.0.clone();
        all.insert(name.to_owned(), provider);
        all.try_into()
    }

    /// Replaces `api_key_env` by the variable's value, where the variable is set.
    pub fn read_set_keys(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for provider in self.0.values_mut() {
            if let Some(key) = provider.api_key_env.as_deref().and_then(&variable) {
                provider.api_key = Some(key.into());
                provider.api_key_env = None;
            }
        }
    }

    /// Replaces `api_key_env` by the variable's value.
    ///
    /// # Errors
    /// The name of a provider and of its variable, if the variable is not set.
    pub fn read_keys(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        for (name, provider) in &mut self.0 {
            if let Some(variable_name) = provider.api_key_env.take() {
                let key = variable(&variable_name).ok_or_else(|| {
                    format!("{name}.api_key_env: the environment has no variable {variable_name}")
                })?;
                provider.api_key = Some(key.into());
            }
        }
        Ok(())
    }
}

impl TryFrom<BTreeMap<String, Provider>> for Providers {
    type Error = String;

    fn try_from(providers: BTreeMap<String, Provider>) -> Result<Self, String> {
        let mut aliases = BTreeMap::new();
        for (name, provider) in &providers {
            provider.check(name).map_err(|problem| format!("{name}.{problem}"))?;
            for alias in provider.models.iter().filter_map(|model| model.alias.as_deref()) {
                if let Some(other) = aliases.insert(alias, name) {
                    return Err(format!("the alias \"{alias}\" is used twice, by {other} and by {name}"));
                }
            }
        }
        Ok(Self(providers))
    }
}

impl Provider {
    /// Checks a provider that is to have this name.
    ///
    /// # Errors
    /// The field that is wrong, a colon, and the problem.
    pub fn check(&self, name: &str) -> Result<(), String> {
        if !is_name(name) {
            return Err(
                "name: a provider's name has 1 to 100 letters, digits, \"-\", \"_\" and \".\" only".into()
            );
        }
        if name == "local" {
            return Err("name: \"local\" is this machine; give the provider another name".into());
        }
        if !is_address(&self.url) {
            return Err(format!("url: \"{}\" is no address such as https://host/v1", self.url));
        }
        if self.api_key.is_some() && self.api_key_env.is_some() {
            return Err("api_key_env: api_key is given as well".into());
        }
        self.headers.check().map_err(|problem| format!("headers: {problem}"))?;
        if self.models.is_empty() {
            return Err("models: name at least one model; no other is ever asked for".into());
        }
        self.limits.check().map_err(|problem| format!("limits: {problem}"))?;
        let unpriced = self.models.iter().find(|model| model.price.is_empty());
        if let Some(model) = unpriced.filter(|_| self.limits.has_cost()) {
            return Err(format!(
                "limits: a limit of cost needs the price of each model; {} has none",
                model.id
            ));
        }
        match self.models.iter().find(|model| model.id.is_empty() || model.alias.as_deref() == Some("")) {
            Some(_) => Err("models: an id or an alias is empty".into()),
            None => Ok(()),
        }
    }

    fn exposed_key(&self) -> Option<&str> {
        self.api_key.as_ref().map(SecretString::expose_secret)
    }
}

impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        let Self { kind, url, api_key: _, api_key_env, headers, models, .. } = self;
        let Self { timeout_seconds, idle_seconds, allow_link_local, limits, .. } = self;
        self.exposed_key() == other.exposed_key()
            && (kind, url, api_key_env, headers, models)
                == (&other.kind, &other.url, &other.api_key_env, &other.headers, &other.models)
            && (timeout_seconds, idle_seconds, allow_link_local, limits)
                == (&other.timeout_seconds, &other.idle_seconds, &other.allow_link_local, &other.limits)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderForm {
    kind: ProviderKind,
    url: String,
    #[serde(default)]
    api_key: Option<SecretString>,
    #[serde(default)]
    api_key_env: Option<String>,
    #[serde(default)]
    headers: ProviderHeaders,
    models: Vec<ProviderModel>,
    #[serde(default = "default_timeout")]
    timeout_seconds: u32,
    #[serde(default)]
    idle_seconds: Option<u32>,
    #[serde(default)]
    allow_link_local: bool,
    #[serde(default)]
    limits: ProviderLimits,
}

fn default_timeout() -> u32 {
    600
}

impl<'de> Deserialize<'de> for Provider {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let form = ProviderForm::deserialize(source)?;
        if form.timeout_seconds == 0 {
            return Err(D::Error::custom("timeout_seconds must be at least 1"));
        }
        if form.idle_seconds == Some(0) {
            return Err(D::Error::custom("idle_seconds must be at least 1"));
        }
        Ok(Self {
            kind: form.kind,
            url: form.url.trim_end_matches('/').to_owned(),
            api_key: form.api_key,
            api_key_env: form.api_key_env,
            headers: form.headers,
            models: form.models,
            timeout_seconds: form.timeout_seconds,
            idle_seconds: form.idle_seconds,
            allow_link_local: form.allow_link_local,
            limits: form.limits,
        })
    }
}

impl Serialize for Provider {
    /// With the key in clear text, for the document.
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        let has_limits = !self.limits.is_empty();
        let more = usize::from(has_limits) + usize::from(self.idle_seconds.is_some());
        let mut form = target.serialize_struct("Provider", 8 + more)?;
        form.serialize_field("kind", &self.kind)?;
        form.serialize_field("url", &self.url)?;
        form.serialize_field("api_key", &self.exposed_key())?;
        form.serialize_field("api_key_env", &self.api_key_env)?;
        form.serialize_field("headers", &self.headers)?;
        form.serialize_field("models", &self.models)?;
        form.serialize_field("timeout_seconds", &self.timeout_seconds)?;
        form.serialize_field("allow_link_local", &self.allow_link_local)?;
        // An earlier gateway reads the documents of providers that need none of these.
        if has_limits {
            form.serialize_field("limits", &self.limits)?;
        }
        if self.idle_seconds.is_some() {
            form.serialize_field("idle_seconds", &self.idle_seconds)?;
        }
        form.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Providers, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn provider_has_an_address_and_models() {
        let providers = parse(
            r#"{"router": {"kind": "openai-compatible", "url": "https://router.example/v1/", "api_key": "sk-hidden",
                "headers": {"X-Title": "mlxd"}, "models": ["qwen/coder", {"id": "big", "alias": "fast", "context": 9}]}}"#,
        )
        .unwrap();
        let (name, provider) = providers.iter().next().unwrap();
        assert_eq!((name, provider.url.as_str()), ("router", "https://router.example/v1"));
        assert_eq!(provider.timeout_seconds, 600);
        assert_eq!(provider.headers.iter().collect::<Vec<_>>(), [("x-title", "mlxd")]);
        let names: Vec<_> =
            provider.models.iter().map(|model| (&*model.id, model.alias.as_deref())).collect();
        assert_eq!(names, [("qwen/coder", None), ("big", Some("fast"))]);
        assert!(!format!("{providers:?}").contains("hidden"));
        let document = serde_json::to_string(&providers).unwrap();
        assert_eq!(serde_json::to_string(&parse(&document).unwrap()).unwrap(), document);
    }

    #[test]
    fn wrong_provider_is_refused_by_its_name_and_key() {
        let provider = |more: &str| {
            let base = r#""kind": "openai", "url": "https://a.example", "models": ["m"]"#;
            parse(&format!(r#"{{"a": {{{base}{more}}}}}"#))
        };
        assert!(provider("").is_ok());
        for (text, part) in [
            (r#"{"a/b": {"kind": "openai", "url": "https://x", "models": ["m"]}}"#, "a/b.name"),
            (r#"{"a": {"kind": "openai", "url": "ftp://x", "models": ["m"]}}"#, "a.url"),
            (r#"{"a": {"kind": "openai", "url": "https://user@x", "models": ["m"]}}"#, "a.url"),
            (r#"{"a": {"kind": "openai", "url": "https://x", "models": []}}"#, "a.models"),
            (r#"{"a": {"kind": "openai", "url": "https://x", "models": [""]}}"#, "a.models"),
            (r#"{"a": {"kind": "openai", "url": "https://x", "models": [{"ID": "m"}]}}"#, "id, alias"),
            (
                r#"{"a": {"kind": "openai", "url": "https://x", "headers": {"Cookie": "x"}, "models": ["m"]}}"#,
                "a.headers",
            ),
            (
                r#"{"a": {"kind": "openai", "url": "https://x", "models": ["m"], "limits": {"requests_per_minute": 0}}}"#,
                "a.limits",
            ),
            (
                r#"{"a": {"kind": "openai", "url": "https://x", "models": ["m"], "limits": {"cost_per_day": 1}}}"#,
                "needs the price of each model; m has none",
            ),
            (r#"{"a": {"kind": "other", "url": "https://x", "models": ["m"]}}"#, "other"),
            (r#"{"a": {"kind": "openai", "url": "https://x", "models": ["m"], "keys": 1}}"#, "keys"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
        assert!(provider(r#", "timeout_seconds": 0"#).unwrap_err().contains("timeout_seconds"));
        assert!(provider(r#", "idle_seconds": 0"#).unwrap_err().contains("idle_seconds"));
        let two = provider(r#", "api_key": "sk-hidden", "api_key_env": "X""#).unwrap_err();
        assert!(two.contains("a.api_key_env") && !two.contains("hidden"), "{two}");
    }

    #[test]
    fn alias_belongs_to_one_provider() {
        let text = r#"{"a": {"kind": "openai", "url": "https://x", "models": [{"id": "m", "alias": "fast"}]},
                       "b": {"kind": "openai", "url": "https://y", "models": [{"id": "n", "alias": "fast"}]}}"#;
        assert!(parse(text).unwrap_err().contains("\"fast\" is used twice, by a and by b"));
    }

    #[test]
    fn key_comes_from_the_named_variable() {
        let text =
            r#"{"a": {"kind": "openai", "url": "https://x", "api_key_env": "A_KEY", "models": ["m"]}}"#;
        let mut providers = parse(text).unwrap();
        assert!(
            providers.clone().read_keys(|_| None).unwrap_err().contains("a.api_key_env: the environment")
        );
        providers.read_keys(|name| (name == "A_KEY").then(|| "sk-one".into())).unwrap();
        let (_, provider) = providers.iter().next().unwrap();
        assert_eq!(provider.api_key.as_ref().unwrap().expose_secret(), "sk-one");
    }
}
