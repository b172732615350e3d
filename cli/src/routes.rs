//! `mlxd route`: lists, replaces and explains routes. Runs `mlxd-gateway route` on the home folder, with or without a running
//! server. A running server notices the changes.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::client::{Answer, ClientError};
use crate::config::Environment;
use crate::gateway::{Folder, Form};
use crate::prompt;

/// Subcommands of `mlxd route`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RouteVerb {
    /// List all routes in order.
    Ls {
        #[command(flatten)]
        form: Form,
    },
    /// Replace the routes that are not in config.toml.
    Set {
        /// A file with a list of routes, in JSON or as [[routes]] in TOML; - for standard input.
        file: PathBuf,
        /// Only if they are of this revision, as `mlxd route ls` shows it.
        #[arg(long, value_name = "N")]
        revision: Option<i64>,
        #[command(flatten)]
        form: Form,
    },
    /// Choose the route of a request, and ask no model but those that judge a given text.
    Explain(Question),
}

/// The request to choose a route for.
#[derive(Debug, clap::Args)]
pub(crate) struct Question {
    /// The model's name as a client gives it.
    model: String,
    /// The request has tools.
    #[arg(long)]
    tools: bool,
    /// The request has images.
    #[arg(long)]
    images: bool,
    /// The tokens of its prompt; 0 for a request that generates nothing.
    #[arg(long, value_name = "N", default_value_t = 1)]
    prompt_tokens: u32,
    /// The name or the id of the sender's API key.
    #[arg(long)]
    key: Option<String>,
    /// A header of the request; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// An entry of its metadata; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// The local time [default: now].
    #[arg(long, value_name = "HH:MM")]
    time: Option<String>,
    /// The last message of the user, for conditions that a model judges.
    #[arg(long)]
    text: Option<String>,
    #[command(flatten)]
    form: Form,
}

/// Runs a command and returns its output.
pub(crate) fn run(verb: RouteVerb, environment: &Environment) -> Result<Answer, ClientError> {
    match verb {
        RouteVerb::Ls { form } => {
            let (answer, parsed) =
                Folder::new(form.home, environment)?.ask("route", &["list".as_ref()], &Value::Null)?;
            Ok(if form.json { answer } else { list(&parsed) }.into())
        }
        RouteVerb::Set { file, revision, form } => {
            let routes = routes(&prompt::read_input(&file)?)
                .map_err(|problem| ClientError::Settings(format!("{}: {problem}", file.display())))?;
            let mut arguments = vec![OsString::from("set")];
            arguments.extend(revision.map(|revision| format!("--revision={revision}").into()));
            let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
            let folder = Folder::new(form.home, environment)?;
            let (answer, parsed) = folder.ask("route", &arguments, &json!({"routes": routes}))?;
            Ok(if form.json { answer } else { list(&parsed) }.into())
        }
        RouteVerb::Explain(question) => {
            let body = body(&question);
            let folder = Folder::new(question.form.home, environment)?;
            // Without a server no local model is ready.
            let nowhere = |_| folder.path().join("run");
            let supervisor = supervisor::control_socket(folder.path()).unwrap_or_else(nowhere);
            let arguments: [&OsStr; 3] =
                ["explain".as_ref(), "--supervisor".as_ref(), supervisor.as_os_str()];
            let (answer, parsed) = folder.ask("route", &arguments, &body)?;
            Ok(if question.form.json { answer } else { explanation(&parsed) }.into())
        }
    }
}

/// A flag's `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or_else(|| format!("\"{text}\" is no NAME=VALUE"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// The routes in a text: a list in JSON, or the list `routes` of JSON or TOML.
fn routes(text: &str) -> Result<Value, String> {
    let whole: Value = if text.trim_start().starts_with(['[', '{']) && !text.trim_start().starts_with("[[") {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        let table: Value = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if table.as_object().is_some_and(Map::is_empty) {
            return Ok(json!([]));
        }
        table
    };
    match whole {
        Value::Array(_) => Ok(whole),
        Value::Object(mut fields) => {
            let routes = fields.remove("routes").ok_or("it has no list of routes")?;
            match fields.keys().next().filter(|key| !matches!(key.as_str(), "revision" | "configured")) {
                Some(other) => Err(format!("\"{other}\" is no list of routes")),
                None => Ok(routes),
            }
        }
        _ => Err("it has no list of routes".into()),
    }
}

/// The body of `POST /admin/v1/routes/explain`.
fn body(question: &Question) -> Value {
    let object = |pairs: &[(String, String)]| -> Map<String, Value> {
        pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()
    };
    json!({
        "model": question.model,
        "has_tools": question.tools,
        "has_images": question.images,
        "prompt_tokens": (question.prompt_tokens > 0).then_some(question.prompt_tokens),
        "key": question.key,
        "headers": object(&question.headers),
        "metadata": object(&question.metadata),
        "time": question.time,
        "text": question.text,
    })
}

fn list(routes: &Value) -> String {
    let lists = [("configured", "config.toml"), ("routes", "database")];
    let mut lines = Vec::new();
    for (field, source) in lists {
        for route in routes[field].as_array().into_iter().flatten() {
            lines.push(format!("{:3}  {source:11}  {route}\n", lines.len() + 1));
        }
    }
    if lines.is_empty() {
        lines.push("there is no route\n".into());
    }
    format!("{}revision {}\n", lines.concat(), routes["revision"])
}

/// What a model was asked for a route.
fn judgement(one: &Value) -> String {
    let verdict = match (one["similarity"].as_f64(), one["holds"].as_bool()) {
        (Some(similarity), _) => format!("similarity {similarity}"),
        (None, Some(true)) => "yes".into(),
        (None, Some(false)) => "no".into(),
        (None, None) => "no answer".into(),
    };
    let count = |field: &str| one[field].as_u64().unwrap_or_default();
    let tokens = count("prompt_tokens") + count("completion_tokens");
    let model = one["model"].as_str().unwrap_or_default();
    format!("  {model} in {} ms, {tokens} tokens: {verdict}\n", count("ms"))
}

fn explanation(decision: &Value) -> String {
    let mut text = String::new();
    for step in decision["steps"].as_array().into_iter().flatten() {
        let because = step["because"].as_str().unwrap_or("applies");
        text += &format!("{}: {because}\n", step["route"].as_str().unwrap_or_default());
        let judged = step["judged"].as_array().into_iter().flatten();
        judged.for_each(|one| text += &judgement(one));
    }
    let targets: Vec<&str> =
        decision["targets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if targets.is_empty() {
        text + "no route applies: the name itself is the model\n"
    } else {
        text + &format!("models in order: {}\n", targets.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_come_from_json_and_toml() {
        let expected = json!([{"model": "a", "targets": ["m"]}]);
        for text in [
            r#"[{"model": "a", "targets": ["m"]}]"#,
            r#" {"routes": [{"model": "a", "targets": ["m"]}], "revision": 3, "configured": []}"#,
            "[[routes]]\nmodel = \"a\"\ntargets = [\"m\"]\n",
        ] {
            assert_eq!(routes(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(routes(""), Ok(json!([])));
        for wrong in ["port = 3", "{\"port\": 3}", "[[routes]]\nmodel = ", "[1", "3"] {
            assert!(routes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn explanation_names_each_route_and_its_reason() {
        let decision = json!({"route": "b", "targets": ["m", "far/n"], "steps": [
            {"route": "a", "matched": false, "because": "the request has no tools"},
            {"route": "b", "matched": true, "because": null, "judged": [
                {"condition": "similar", "model": "e", "holds": true, "similarity": 0.7123, "ms": 9, "prompt_tokens": 5,
                    "completion_tokens": 0},
                {"condition": "sentence", "model": "j", "holds": true, "similarity": null, "ms": 70, "prompt_tokens": 90,
                    "completion_tokens": 1}]}]});
        let text = explanation(&decision);
        let expected = "a: the request has no tools\nb: applies\n  e in 9 ms, 5 tokens: similarity 0.7123\n  \
                        j in 70 ms, 91 tokens: yes\nmodels in order: m, far/n\n";
        assert_eq!(text, expected);
        assert!(explanation(&json!({"targets": [], "steps": []})).contains("no route applies"));
    }

    #[test]
    fn list_numbers_the_routes_of_both_places() {
        let text = list(&json!({"revision": 3, "configured": [{"model": "a"}], "routes": [{"model": "b"}]}));
        let expected =
            "  1  config.toml  {\"model\":\"a\"}\n  2  database     {\"model\":\"b\"}\nrevision 3\n";
        assert_eq!(text, expected);
    }
}
