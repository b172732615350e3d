//! `mlxd provider`: makes, lists, tests, changes and removes providers. Runs `mlxd-gateway provider` on the home folder, with or
//! without a running server. A running server notices the changes.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Answer, ClientError};
use crate::config::Environment;
use crate::gateway::{self, Folder, Form};
use crate::{hidden, routes, table};

/// Subcommands of `mlxd provider`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ProviderVerb {
    /// Make a provider. Its API key is read from standard input.
    Add(AddOptions),
    /// List all providers.
    Ls {
        #[command(flatten)]
        form: Form,
    },
    /// Show one of them.
    Show(Named),
    /// Remove it. Requests that it answers go on.
    Rm(Named),
    /// Ask it for its models.
    Test(Named),
    /// Offer its models.
    Enable(Named),
    /// Offer its models no longer.
    Disable(Named),
    /// Replace its API key, which is read from standard input.
    SetKey {
        /// The provider's name.
        name: String,
        #[command(flatten)]
        key: KeySource,
        #[command(flatten)]
        form: Form,
    },
}

/// One provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The provider's name.
    name: String,
    #[command(flatten)]
    form: Form,
}

/// The source of an API key. On a command line others would see it.
#[derive(Debug, clap::Args)]
pub(crate) struct KeySource {
    /// Read the API key from this environment variable instead of standard input.
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
    /// The provider asks for no API key.
    #[arg(long, conflicts_with = "key_env")]
    no_key: bool,
}

/// The provider to make.
#[derive(Debug, clap::Args)]
pub(crate) struct AddOptions {
    /// Its name, the part of its models' names before the slash.
    name: String,
    /// The protocol that it speaks.
    #[arg(long, value_parser = ["openai", "openai-compatible", "anthropic"])]
    kind: String,
    /// The address before /chat/completions or /v1/messages.
    #[arg(long)]
    url: String,
    /// A model to offer: its id, and known facts, such as ID,alias=fast,context=32768,max_output=8192, and prices in dollars for a
    /// million tokens, such as ID,input=3,cached_input=0.3,output=15; may be given several times.
    #[arg(long = "model", value_name = "ID", required = true, value_parser = model)]
    models: Vec<Value>,
    #[command(flatten)]
    key: KeySource,
    /// A header of every request, such as x-title=mlxd; may be given several times. It is shown, so use no secret.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = routes::pair)]
    headers: Vec<(String, String)>,
    /// Seconds that a request may take in all [default: 600].
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<u32>,
    /// Seconds without a byte after which a request ends [default: no limit].
    #[arg(long, value_name = "SECONDS")]
    idle_seconds: Option<u32>,
    #[command(flatten)]
    limits: LimitOptions,
    /// Allow a link-local address, as those of metadata services are.
    #[arg(long)]
    allow_link_local: bool,
    /// Do not offer its models yet.
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    form: Form,
}

/// The limits over all models of a provider. A provider that has reached one is not asked.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct LimitOptions {
    /// Requests in a minute.
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u32>,
    /// Tokens of prompts and outputs in a minute.
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<u32>,
    /// Dollars in a day (UTC), by the prices of the models.
    #[arg(long, value_name = "DOLLARS")]
    cost_per_day: Option<f64>,
    /// Dollars in a month (UTC).
    #[arg(long, value_name = "DOLLARS")]
    cost_per_month: Option<f64>,
}

/// A provider, as far as the list shows it.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    source: String,
    kind: String,
    url: String,
    has_key: bool,
    last_four: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    models: Vec<Model>,
    timeout_seconds: u32,
    idle_seconds: Option<u32>,
    #[serde(default)]
    limits: BTreeMap<String, Value>,
    enabled: bool,
    problem: Option<String>,
}

/// One of its models.
#[derive(Debug, Deserialize)]
struct Model {
    id: String,
    alias: Option<String>,
    context: Option<u32>,
}

/// The outcome of a test.
#[derive(Debug, Deserialize)]
struct Test {
    problem: Option<String>,
    missing_models: Vec<String>,
    models: Vec<Model>,
    elapsed_ms: Option<u64>,
}

/// Runs a command and returns its output.
pub(crate) fn run(verb: ProviderVerb, environment: &Environment) -> Result<Answer, ClientError> {
    match verb {
        ProviderVerb::Add(options) => {
            let key = options.key.read(environment)?;
            let document = document(&options, key.as_deref());
            let folder = Folder::new(options.form.home, environment)?;
            let (answer, _) = folder.ask("provider", &[OsStr::new("add")], &document)?;
            let text = format!("{} is made; a running server offers its models at once\n", options.name);
            Ok(if options.form.json { answer } else { text }.into())
        }
        ProviderVerb::Ls { form } => {
            let folder = Folder::new(form.home, environment)?;
            let (answer, mut parsed) = folder.ask("provider", &[OsStr::new("list")], &Value::Null)?;
            if form.json {
                return Ok(answer.into());
            }
            let all: Vec<Listed> =
                serde_json::from_value(parsed["providers"].take()).map_err(std::io::Error::from)?;
            Ok(list(&all).into())
        }
        ProviderVerb::Show(named) => named.change("show", environment, |one| Ok(facts(one))),
        ProviderVerb::Rm(named) => named.change("remove", environment, |one| confirmation(one, "removed")),
        ProviderVerb::Enable(named) => {
            named.change("enable", environment, |one| confirmation(one, "enabled"))
        }
        ProviderVerb::Disable(named) => {
            named.change("disable", environment, |one| confirmation(one, "disabled"))
        }
        ProviderVerb::Test(named) => {
            let name = named.name.clone();
            named.ask("test", environment, &Value::Null, |test: Test| tested(&name, &test))
        }
        ProviderVerb::SetKey { name, key, form } => {
            let key = key.read(environment)?;
            let named = Named { name, form };
            named.ask("set-key", environment, &json!(key), |one: Listed| {
                Ok(format!("the API key of {} is {}\n", one.name, key_of(&one)))
            })
        }
    }
}

impl Named {
    fn change(
        self,
        verb: &str,
        environment: &Environment,
        text: impl FnOnce(&Listed) -> Result<String, ClientError>,
    ) -> Result<Answer, ClientError> {
        self.ask(verb, environment, &Value::Null, |one: Listed| text(&one))
    }

    fn ask<T: serde::de::DeserializeOwned>(
        self,
        verb: &str,
        environment: &Environment,
        body: &Value,
        text: impl FnOnce(T) -> Result<String, ClientError>,
    ) -> Result<Answer, ClientError> {
        let folder = Folder::new(self.form.home, environment)?;
        let (answer, parsed) =
            folder.ask("provider", &[verb.as_ref(), "--".as_ref(), self.name.as_ref()], body)?;
        if self.form.json {
            return Ok(answer.into());
        }
        Ok(text(serde_json::from_value(parsed).map_err(std::io::Error::from)?)?.into())
    }
}

impl KeySource {
    /// The key; `None` if there is to be none.
    fn read(&self, environment: &Environment) -> Result<Option<String>, ClientError> {
        if self.no_key {
            return Ok(None);
        }
        let key = match &self.key_env {
            Some(name) => gateway::variable(name, environment)?,
            None => hidden::read("API key")?,
        };
        let key = key.trim();
        if key.is_empty() {
            let text = "there is no API key on standard input: pass one, name a variable with --key-env, or say --no-key";
            return Err(ClientError::Settings(text.into()));
        }
        Ok(Some(key.to_owned()))
    }
}

/// The body of `POST /admin/v1/providers`.
fn document(options: &AddOptions, key: Option<&str>) -> Value {
    json!({
        "name": options.name,
        "kind": options.kind,
        "url": options.url,
        "api_key": key,
        "headers": options.headers.iter().cloned().collect::<BTreeMap<_, _>>(),
        "models": options.models,
        "timeout_seconds": options.timeout_seconds,
        "idle_seconds": options.idle_seconds,
        "limits": limits(&options.limits),
        "allow_link_local": options.allow_link_local,
        "enabled": !options.disabled,
    })
}

/// The limits that are given.
fn limits(options: &LimitOptions) -> Value {
    let LimitOptions { requests_per_minute, tokens_per_minute, cost_per_day, cost_per_month } = options;
    let all = [
        ("requests_per_minute", requests_per_minute.map(Value::from)),
        ("tokens_per_minute", tokens_per_minute.map(Value::from)),
        ("cost_per_day", cost_per_day.map(Value::from)),
        ("cost_per_month", cost_per_month.map(Value::from)),
    ];
    all.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?))).collect()
}

/// A model from the text of a flag.
fn model(text: &str) -> Result<Value, String> {
    let (id, facts) = text.split_once(',').unwrap_or((text, ""));
    let (mut model, mut prices) = (json!({"id": id}), serde_json::Map::new());
    for fact in facts.split(',').filter(|fact| !fact.is_empty()) {
        let (key, value) = fact.split_once('=').unwrap_or((fact, ""));
        model[key] = match key {
            "alias" => value.into(),
            "context" | "max_output" => {
                value.parse::<u32>().map_err(|_| format!("{key} must be a number of tokens"))?.into()
            }
            "input" | "cached_input" | "output" => {
                let dollars =
                    value.parse::<f64>().map_err(|_| format!("{key} must be a number of dollars"))?;
                prices.insert(key.to_owned(), dollars.into());
                continue;
            }
            _ => {
                let known = "alias, context, max_output, input, cached_input and output";
                return Err(format!("\"{key}\" is none of {known}"));
            }
        };
    }
    if !prices.is_empty() {
        model["price"] = prices.into();
    }
    Ok(model)
}

fn confirmation(one: &Listed, what: &str) -> Result<String, ClientError> {
    Ok(format!("{} is {what}\n", one.name))
}

fn key_of(one: &Listed) -> String {
    match (&one.last_four, one.has_key) {
        (Some(end), _) => format!("…{end}"),
        (None, true) => "set".into(),
        (None, false) => "none".into(),
    }
}

fn status(one: &Listed) -> &'static str {
    match (&one.problem, one.enabled) {
        (_, false) => "disabled",
        (Some(_), true) => "problem",
        (None, true) => "enabled",
    }
}

fn list(all: &[Listed]) -> String {
    if all.is_empty() {
        return "there is no provider\n".into();
    }
    let head = ["NAME", "KIND", "URL", "MODELS", "KEY", "STATUS", "FROM"].map(String::from);
    let row = |one: &Listed| {
        let models = one.models.len().to_string();
        let (status, source) = (status(one).to_owned(), from(one).to_owned());
        [one.name.clone(), one.kind.clone(), one.url.clone(), models, key_of(one), status, source]
    };
    let rows: Vec<_> = std::iter::once(head).chain(all.iter().map(row)).collect();
    let problems = all.iter().filter_map(|one| Some(format!("{}: {}\n", one.name, one.problem.as_ref()?)));
    table::aligned(&rows) + &problems.collect::<String>()
}

fn from(one: &Listed) -> &'static str {
    if one.source == "config" { "config.toml" } else { "database" }
}

fn facts(one: &Listed) -> String {
    let mut lines = vec![
        ("name", one.name.clone()),
        ("from", from(one).into()),
        ("kind", one.kind.clone()),
        ("url", one.url.clone()),
        ("key", key_of(one)),
        ("timeout", format!("{} s", one.timeout_seconds)),
        ("status", status(one).into()),
    ];
    lines.extend(one.idle_seconds.map(|seconds| ("without a byte", format!("{seconds} s"))));
    lines.extend(one.headers.iter().map(|(name, value)| ("header", format!("{name}: {value}"))));
    lines.extend(one.limits.iter().map(|(name, limit)| ("limit", format!("{name} = {limit}"))));
    lines.extend(one.problem.clone().map(|problem| ("problem", problem)));
    for model in &one.models {
        let alias = model.alias.as_ref().map(|alias| format!(" ({alias})")).unwrap_or_default();
        let context = model.context.map(|count| format!(", {count} tokens")).unwrap_or_default();
        lines.push(("model", format!("{}/{}{alias}{context}", one.name, model.id)));
    }
    lines.into_iter().map(|(name, value)| format!("{name:8} {value}\n")).collect()
}

/// A failed test is an error, so that scripts notice it.
fn tested(name: &str, test: &Test) -> Result<String, ClientError> {
    if let Some(problem) = &test.problem {
        return Err(ClientError::Settings(problem.clone()));
    }
    let mut text = format!(
        "{name} answers after {} ms, with {} models\n",
        test.elapsed_ms.unwrap_or(0),
        test.models.len()
    );
    for model in &test.models {
        let context = model.context.map(|count| format!("  {count} tokens")).unwrap_or_default();
        text += &format!("  {}{context}\n", model.id);
    }
    if !test.missing_models.is_empty() {
        text += &format!("its list lacks: {}\n", test.missing_models.join(", "));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(change: impl FnOnce(&mut Value)) -> Listed {
        let mut one = json!({
            "name": "far", "source": "database", "kind": "openai", "url": "https://far.example/v1", "has_key": true,
            "last_four": "ab12", "models": [{"id": "m", "alias": "fast", "context": 4096, "max_output": null}],
            "timeout_seconds": 600, "allow_link_local": false, "enabled": true, "problem": null,
            "created_at": 1, "updated_at": 1,
        });
        change(&mut one);
        serde_json::from_value(one).unwrap()
    }

    #[test]
    fn list_shows_ends_of_keys_and_problems() {
        let broken = listed(|one| (one["name"], one["problem"]) = ("near".into(), "no master key".into()));
        let text = list(&[listed(|_| {}), listed(|one| one["enabled"] = false.into()), broken]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[1],
            ["far", "openai", "https://far.example/v1", "1", "…ab12", "enabled", "database"]
        );
        assert_eq!((lines[2][5], lines[3][5]), ("disabled", "problem"));
        assert!(text.ends_with("near: no master key\n"), "{text}");
        assert!(facts(&listed(|_| {})).contains("model    far/m (fast), 4096 tokens\n"));
        let limited = listed(|one| one["limits"] = json!({"cost_per_day": 0.5}));
        assert!(facts(&limited).contains("limit    cost_per_day = 0.5\n"));
    }

    #[test]
    fn model_of_a_flag_has_its_facts() {
        assert_eq!(model("org/m:free"), Ok(json!({"id": "org/m:free"})));
        let whole = json!({"id": "m", "alias": "fast", "context": 32768, "max_output": 8192});
        assert_eq!(model("m,alias=fast,context=32768,max_output=8192"), Ok(whole));
        let priced = json!({"id": "m", "price": {"input": 3.0, "output": 15.5}});
        assert_eq!(model("m,input=3,output=15.5"), Ok(priced));
        for wrong in ["m,context=many", "m,input=much", "m,price=3", "m,fast"] {
            assert!(model(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_given_limits_are_sent() {
        let options =
            LimitOptions { tokens_per_minute: Some(9), cost_per_day: Some(0.5), ..LimitOptions::default() };
        assert_eq!(limits(&options), json!({"tokens_per_minute": 9, "cost_per_day": 0.5}));
        assert_eq!(limits(&LimitOptions::default()), json!({}));
    }

    #[test]
    fn failed_test_is_an_error() {
        let test = |more: Value| -> Test {
            let mut all = json!({"problem": null, "missing_models": ["b"], "models": [{"id": "a", "context": 9}], "elapsed_ms": 3});
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(all).unwrap()
        };
        let text = tested("far", &test(json!({}))).unwrap();
        assert_eq!(text, "far answers after 3 ms, with 1 models\n  a  9 tokens\nits list lacks: b\n");
        assert!(tested("far", &test(json!({"problem": "it cannot be reached"}))).is_err());
    }
}
