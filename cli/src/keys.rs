//! `mlxd key`: makes, lists and revokes API keys. Runs `mlxd-gateway key` on the home folder, with or without a running server:
//! the owner of the folder owns its keys.

use std::ffi::OsStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Answer, ClientError, Home};
use crate::config::{self, Environment};
use crate::gateway::{self, Form};
use crate::table;

const DAY_SECONDS: u64 = 86_400;

/// Subcommands of `mlxd key`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key. It goes to standard output, this once.
    Add(AddOptions),
    /// List all keys, without their secrets.
    Ls {
        #[command(flatten)]
        form: Form,
    },
    /// Refuse a key from now on.
    Revoke {
        /// The key's id, as `mlxd key ls` shows it.
        id: String,
        #[command(flatten)]
        form: Form,
    },
}

/// The key to make.
#[derive(Debug, clap::Args)]
pub(crate) struct AddOptions {
    /// Its user, a person or a program.
    name: String,
    /// A part of the API that it opens: inference, admin or admin-read; may be given several times [default: inference].
    #[arg(long = "scope", value_parser = ["inference", "admin", "admin-read"])]
    scopes: Vec<String>,
    /// A name that it may ask for: a model, an alias, a provider's model or a route, or the beginning of names with * at its
    /// end; may be given several times [default: all].
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    /// Never send its requests to a provider.
    #[arg(long)]
    local_only: bool,
    /// The class of its requests in a model's queue [default: the one of each request].
    #[arg(long, value_parser = ["high", "normal", "low"])]
    priority: Option<String>,
    /// POST requests in a minute.
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u32>,
    /// Tokens of prompts and outputs in a minute.
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<u32>,
    /// Tokens of prompts and outputs in a day (UTC).
    #[arg(long, value_name = "N")]
    tokens_per_day: Option<u64>,
    /// Tokens of prompts and outputs in a month (UTC).
    #[arg(long, value_name = "N")]
    tokens_per_month: Option<u64>,
    /// US dollars that providers may cost in a day (UTC).
    #[arg(long, value_name = "DOLLARS")]
    cost_per_day: Option<f64>,
    /// US dollars that providers may cost in a month (UTC).
    #[arg(long, value_name = "DOLLARS")]
    cost_per_month: Option<f64>,
    /// Store prompts and outputs of its requests with the request log. Administrators can read them.
    #[arg(long)]
    store_content: bool,
    /// Days until it expires [default: never].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires: Option<u32>,
    #[command(flatten)]
    form: Form,
}

/// A key, as far as the list shows it. Times are seconds since the epoch.
#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    name: String,
    status: String,
    last_four: String,
    scopes: Vec<String>,
    models: Vec<String>,
    local_only: bool,
    priority: Option<String>,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    tokens_per_day: Option<u64>,
    tokens_per_month: Option<u64>,
    cost_per_day: Option<f64>,
    cost_per_month: Option<f64>,
    store_content: bool,
    expires_at: Option<u64>,
    last_used_at: Option<u64>,
}

/// Runs a command and returns its output.
pub(crate) fn run(verb: KeyVerb, environment: &Environment) -> Result<Answer, ClientError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    match verb {
        KeyVerb::Add(options) => {
            let document = document(&options, now).to_string();
            let (answer, parsed) = ask(options.form.home, environment, &["add".as_ref()], &document)?;
            if options.form.json {
                return Ok(answer.into());
            }
            let text = |field: &str| parsed[field].as_str().unwrap_or_default().to_owned();
            let note = format!(
                "{} is made and shown only once. From now on the server answers no request without a key.\n",
                text("id")
            );
            Ok(Answer { text: text("secret") + "\n", note })
        }
        KeyVerb::Ls { form } => {
            let (answer, mut parsed) = ask(form.home, environment, &["list".as_ref()], "")?;
            if form.json {
                return Ok(answer.into());
            }
            let keys: Vec<Listed> =
                serde_json::from_value(parsed["keys"].take()).map_err(std::io::Error::from)?;
            Ok(list(&keys, now).into())
        }
        KeyVerb::Revoke { id, form } => {
            let (answer, _) = ask(form.home, environment, &["revoke".as_ref(), id.as_ref()], "")?;
            Ok(if form.json { answer } else { format!("{id} is revoked\n") }.into())
        }
    }
}

/// The gateway's answer, as it is and parsed.
fn ask(
    home: Home,
    environment: &Environment,
    verb: &[&OsStr],
    document: &str,
) -> Result<(String, Value), ClientError> {
    let home = config::home(home.folder(), environment)?;
    let answer = gateway::run_in(&home, "key", verb, document)?;
    let parsed = serde_json::from_str(&answer).map_err(std::io::Error::from)?;
    Ok((answer, parsed))
}

/// The body of `POST /admin/v1/keys`.
fn document(options: &AddOptions, now: u64) -> Value {
    let scopes = if options.scopes.is_empty() { &["inference".to_owned()][..] } else { &options.scopes };
    json!({
        "name": options.name,
        "scopes": scopes,
        "models": options.models,
        "local_only": options.local_only,
        "priority": options.priority,
        "requests_per_minute": options.requests_per_minute,
        "tokens_per_minute": options.tokens_per_minute,
        "tokens_per_day": options.tokens_per_day,
        "tokens_per_month": options.tokens_per_month,
        "cost_per_day": options.cost_per_day,
        "cost_per_month": options.cost_per_month,
        "store_content": options.store_content,
        "expires_at": options.expires.map(|days| now + u64::from(days) * DAY_SECONDS),
    })
}

fn list(keys: &[Listed], now: u64) -> String {
    if keys.is_empty() {
        return "there is no key\n".into();
    }
    let head =
        ["ID", "NAME", "ENDS IN", "STATUS", "SCOPES", "LAST USE", "EXPIRES", "BOUNDS"].map(String::from);
    let row = |key: &Listed| {
        let ago = |at: u64| format!("{} ago", table::span(now.saturating_sub(at)));
        [
            key.id.clone(),
            key.name.clone(),
            key.last_four.clone(),
            key.status.clone(),
            key.scopes.join(" "),
            key.last_used_at.map_or_else(|| "never".into(), ago),
            match key.expires_at.map(|at| at.checked_sub(now)) {
                None => "never".into(),
                Some(Some(left)) => format!("in {}", table::span(left)),
                Some(None) => "over".into(),
            },
            bounds(key),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(keys.iter().map(row)).collect();
    table::aligned(&rows)
}

/// The limits of a key, for the list.
fn bounds(key: &Listed) -> String {
    let limit = |limit: Option<u64>, unit: &str| limit.map(|limit| format!("{limit} {unit}"));
    let all = [
        (!key.models.is_empty()).then(|| key.models.join(" ")),
        key.local_only.then(|| "local only".to_owned()),
        key.priority.as_ref().map(|class| format!("{class} priority")),
        limit(key.requests_per_minute, "requests/min"),
        limit(key.tokens_per_minute, "tokens/min"),
        limit(key.tokens_per_day, "tokens/day"),
        limit(key.tokens_per_month, "tokens/month"),
        key.cost_per_day.map(|dollars| format!("${dollars}/day")),
        key.cost_per_month.map(|dollars| format!("${dollars}/month")),
        key.store_content.then(|| "content is stored".to_owned()),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { "-".into() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(change: impl FnOnce(&mut Value)) -> Listed {
        let mut key = json!({
            "id": "key_1", "name": "laptop", "status": "active", "last_four": "ab12", "scopes": ["inference"],
            "models": [], "local_only": false, "priority": null, "requests_per_minute": null,
            "tokens_per_minute": null, "tokens_per_day": null, "tokens_per_month": null, "store_content": false,
            "expires_at": null, "last_used_at": null, "revoked_at": null, "created_at": 1,
        });
        change(&mut key);
        serde_json::from_value(key).unwrap()
    }

    #[test]
    fn list_shows_bounds_and_times() {
        let bounded = listed(|key| {
            (key["local_only"], key["requests_per_minute"]) = (true.into(), 60.into());
            (key["models"], key["priority"]) = (json!(["org/*", "fast"]), "low".into());
            key["store_content"] = true.into();
            (key["expires_at"], key["last_used_at"]) = ((1000 + 3 * DAY_SECONDS).into(), 880.into());
        });
        let text = list(&[listed(|_| {}), bounded], 1000);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[1], ["key_1", "laptop", "ab12", "active", "inference", "never", "never", "-"]);
        assert_eq!(
            lines[2][5..],
            [
                "2 min ago",
                "in 3 days",
                "org/* fast, local only, low priority, 60 requests/min, content is stored"
            ]
        );
        assert_eq!(list(&[], 1000), "there is no key\n");
    }

    #[test]
    fn expiry_counts_days_from_now() {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            options: AddOptions,
        }
        let line =
            Line::parse_from(["x", "laptop", "--expires", "2", "--scope", "admin", "--scope", "inference"]);
        let written = document(&line.options, 1000);
        assert_eq!(
            (&written["expires_at"], &written["scopes"]),
            (&json!(1000 + 2 * DAY_SECONDS), &json!(["admin", "inference"]))
        );
        assert_eq!(document(&Line::parse_from(["x", "laptop"]).options, 0)["scopes"], json!(["inference"]));
        assert!(Line::try_parse_from(["x", "laptop", "--scope", "root"]).is_err());
    }
}
