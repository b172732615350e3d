//! `mlxd requests show`: all that is known of one request.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

use crate::client::{Answer, ClientError};
use crate::config::Environment;
use crate::gateway::{Folder, Form};
use crate::table;

/// The request to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Its id, as the list shows it, or the `x-request-id` of its response.
    id: String,
    #[command(flatten)]
    form: Form,
}

/// The parts of a request that get sections of their own.
#[derive(Debug, Default, Deserialize)]
struct Detail {
    trace: Option<Trace>,
    content: Option<Content>,
    /// Its row in the log.
    #[serde(flatten)]
    row: serde_json::Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Trace {
    targets: Vec<String>,
    reasons: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Content {
    request: String,
    sent: Option<Sent>,
    outputs: Vec<Output>,
    answer: Option<String>,
    cut: bool,
}

#[derive(Debug, Deserialize)]
struct Sent {
    url: String,
    body: String,
}

#[derive(Debug, Deserialize)]
struct Output {
    text: String,
    reasoning: String,
    calls: Vec<Call>,
}

#[derive(Debug, Deserialize)]
struct Call {
    name: String,
    arguments: String,
}

/// Shows the request.
///
/// # Errors
/// There is none of this id, or the database refuses.
pub(crate) fn run(show: Show, environment: &Environment) -> Result<Answer, ClientError> {
    let verb = ["--show".as_ref(), show.id.as_ref()];
    let (answer, parsed) = Folder::new(show.form.home, environment)?.ask("requests", &verb, &Value::Null)?;
    if show.form.json {
        return Ok(answer.into());
    }
    let detail: Detail = serde_json::from_value(parsed).map_err(std::io::Error::from)?;
    Ok(text(&detail).into())
}

fn text(detail: &Detail) -> String {
    let known = detail.row.iter().filter(|(_, value)| !value.is_null());
    let mut rows: Vec<[String; 2]> = known.map(|(name, value)| [name.clone(), plain(value)]).collect();
    if let Some(trace) = &detail.trace {
        rows.push(["targets".into(), trace.targets.join(", ")]);
        rows.push(["reasons".into(), trace.reasons.join(", ")]);
    }
    let mut text = table::aligned(&rows);
    let Some(content) = &detail.content else { return text };
    section(&mut text, "request", &content.request);
    if let Some(sent) = &content.sent {
        section(&mut text, &format!("sent to {}", sent.url), &sent.body);
    }
    for (number, output) in content.outputs.iter().enumerate() {
        let name = format!("output {}", number + 1);
        if !output.reasoning.is_empty() {
            section(&mut text, &format!("{name}, reasoning"), &output.reasoning);
        }
        for call in &output.calls {
            section(&mut text, &format!("{name}, call of {}", call.name), &call.arguments);
        }
        if !output.text.is_empty() {
            section(&mut text, &name, &output.text);
        }
    }
    if let Some(answer) = &content.answer {
        section(&mut text, "answer of the provider", answer);
    }
    if content.cut {
        text.push_str("\nmore was not stored: it is too long\n");
    }
    text
}

/// Adds a text of a client or a model. Characters that control terminals are replaced.
fn section(text: &mut String, title: &str, body: &str) {
    let harmless = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c };
    let body: String = body.trim_end().chars().map(harmless).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n--- {title}\n{body}");
}

/// A value without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(value: Value) -> String {
        text(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn content_has_sections_after_the_row() {
        let outputs =
            json!([{"text": "hi\u{1b}[2J", "reasoning": "hm", "calls": [{"name": "f", "arguments": "{}"}]}]);
        let content = json!({"request": "{\"model\":\"x\"}", "sent": {"url": "http://far", "body": "{}"}, "outputs": outputs,
            "answer": null, "cut": true});
        let text = shown(json!({"id": "req_1/a", "error": null, "total_ms": 9, "content": content,
            "trace": {"targets": ["m", "far/n"], "reasons": ["overloaded"], "route": null, "steps": []}}));
        let titles: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("--- ")).collect();
        assert_eq!(
            titles,
            ["request", "sent to http://far", "output 1, reasoning", "output 1, call of f", "output 1"]
        );
        for part in ["id        req_1/a\n", "total_ms  9\n", "targets   m, far/n\n", "more was not stored"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("error") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn request_without_content_is_its_row() {
        assert_eq!(shown(json!({"id": "a", "trace": null, "content": null})), "id  a\n");
    }
}
