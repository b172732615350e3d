//! Every chat template that llama.cpp and vLLM publish, in every conversation of `xtask/scripts/chat_template_cases.py`.
//!
//! An OpenAI request goes through the gateway's checks and the worker's renderer. The prompt is compared with that of Transformers.
//!
//! `cargo xtask test` fetches the templates and lets Transformers render them (`xtask/scripts/chat_templates.py`). To sweep over other
//! templates, put them into a folder `llama.cpp`, render them with that script, and name the folder in `MLXD_TEST_TEMPLATES`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chat_template::{Adaptation, ChatTemplate};
use chrono::NaiveDateTime;
use ipc_proto::generate::{ChatPrompt, Prompt, Role};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Sweep {
    tokens: BTreeMap<String, String>,
    templates: Vec<Template>,
    cases: Vec<Case>,
    renderings: Vec<Rendering>,
}

#[derive(Deserialize)]
struct Template {
    name: String,
    text: String,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    request: Value,
}

/// Transformers' rendering of a case, for each form in which a client could have written it.
#[derive(Deserialize)]
struct Rendering {
    template: String,
    case: String,
    forms: Vec<Form>,
}

#[derive(Deserialize)]
struct Form {
    form: String,
    text: Option<String>,
    /// The text is that of the form before.
    #[serde(default)]
    same: bool,
}

/// The clock that the reference had.
fn clock() -> NaiveDateTime {
    NaiveDateTime::parse_from_str("2026-11-28T09:05:07", "%Y-%m-%dT%H:%M:%S").unwrap()
}

fn sweep() -> Sweep {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.mlx/templates");
    let folder = std::env::var_os("MLXD_TEST_TEMPLATES").map_or(default, Into::into);
    let file = folder.join("renderings.json");
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask test`", file.display()));
    serde_json::from_str(&text).unwrap()
}

/// The prompt that the gateway makes of a chat request.
fn prompt(request: &Value) -> ChatPrompt {
    let mut request = request.clone();
    request["model"] = json!("m");
    let request = serde_json::from_value(request).unwrap();
    match gateway::protocols::openai::chat::parse::parse(request).unwrap().request.generation.prompt {
        Prompt::Chat(prompt) => prompt,
        _ => panic!("a chat request has a conversation"),
    }
}

impl Rendering {
    /// The reference's text: of the form that vLLM gives to templates, else of the first that renders.
    fn expected(&self) -> Option<&str> {
        let mut texts: Vec<(&str, &str)> = Vec::new();
        let mut last = None;
        for form in &self.forms {
            last = if form.same { last } else { form.text.as_deref() };
            texts.extend(last.map(|text| (&*form.form, text)));
        }
        let of = |wanted: &str| texts.iter().find(|(form, _)| *form == wanted).map(|(_, text)| *text);
        ["empty", "objects", "empty-text", "text"].into_iter().find_map(of)
    }
}

/// Why a prompt is not the reference's, where that is meant.
struct Deviation {
    template: &'static str,
    case: &'static str,
    reason: &'static str,
}

/// In the order in which they are looked at; `*` at an end of a name stands for anything.
const DEVIATIONS: [Deviation; 8] = [
    Deviation {
        template: "*",
        case: "*_parts",
        reason: "parts of text are joined to one text, which every template takes",
    },
    Deviation {
        template: "*",
        case: "schema_sorted",
        reason: "tools have the order of keys that Transformers' own schemas have, whatever order a client sends",
    },
    Deviation {
        template: "*",
        case: "schema_strict",
        reason: "`strict` is for the server, not for the model",
    },
    Deviation {
        template: "llama.cpp/CohereForAI-c4ai-command-r-plus-tool_use.jinja",
        case: "*array*",
        reason: "`schema.items` is the schema of a list's items here; in Jinja2 it is a method of Python's dictionaries",
    },
    Deviation {
        template: "llama.cpp/meetkai-functionary-medium-v3.1.jinja",
        case: "*",
        reason: "`tools | tojson | safe` makes Jinja2 escape quotes as HTML; the model was trained on plain JSON",
    },
    Deviation {
        template: "*functiongemma.jinja",
        case: "*",
        reason: "a result has the name of its function, which clients do not send",
    },
    Deviation {
        template: "llama.cpp/upstage-Solar-Open-100B.jinja",
        case: "reasoning*",
        reason: "reasoning has each of its three names, and this template reads one that Transformers does not add",
    },
    Deviation {
        template: "vllm/pooling/*",
        case: "*",
        reason: "the template drops content that is a text, so it gets a list of parts",
    },
];

impl Deviation {
    fn covers(&self, template: &str, case: &str) -> bool {
        matches(self.template, template) && matches(self.case, case)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => name.contains(pattern.trim_matches('*')),
        (Some(end), None) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == pattern,
    }
}

/// Whether a prompt has text of our own because the template lacks something: tools, a second call in a turn, system messages.
/// Any other change would be a way around an error that the reference does not make.
fn is_ours(adaptations: &[Adaptation], expected: &str, prompt: &ChatPrompt) -> bool {
    let mut system = prompt.messages.iter().filter(|message| message.role == Role::System);
    let drops_system = system.any(|message| !expected.contains(message.content.text().trim()));
    adaptations.iter().any(|adaptation| match adaptation {
        Adaptation::ToolsAsText | Adaptation::OneCallPerTurn => true,
        Adaptation::LaterSystemAsUser | Adaptation::SystemInFirstUserTurn | Adaptation::TurnsMerged => {
            drops_system
        }
        _ => false,
    })
}

#[test]
fn published_templates_render_as_in_transformers() {
    let sweep = sweep();
    assert!(sweep.templates.len() > 30 && sweep.cases.len() > 30, "the sweep is whole");
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    let mut counts = BTreeMap::<&str, usize>::new();
    let templates: BTreeMap<&str, _> = sweep
        .templates
        .iter()
        .map(|template| {
            (&*template.name, ChatTemplate::with_clock(&template.text, sweep.tokens.clone(), clock))
        })
        .collect();
    let prompts: BTreeMap<&str, ChatPrompt> =
        sweep.cases.iter().map(|case| (&*case.name, prompt(&case.request))).collect();
    for rendering in &sweep.renderings {
        let Some(expected) = rendering.expected() else {
            *counts.entry("the reference refuses").or_default() += 1;
            continue;
        };
        let context = format!("{} | {}", rendering.template, rendering.case);
        let rendered = match &templates[&*rendering.template] {
            Ok(template) => template.render(&prompts[&*rendering.case], None),
            Err(error) => Err(error.clone()),
        };
        let rendered = match rendered {
            Ok(rendered) => rendered,
            Err(error) => {
                problems.push(format!("{context}: {error}"));
                continue;
            }
        };
        if rendered.text == expected {
            *counts.entry("equal").or_default() += 1;
        } else if is_ours(&rendered.adaptations, expected, &prompts[&*rendering.case]) {
            *counts.entry("with text of our own").or_default() += 1;
        } else if let Some(at) =
            DEVIATIONS.iter().position(|d| d.covers(&rendering.template, &rendering.case))
        {
            used.insert(at);
            *counts.entry(DEVIATIONS[at].reason).or_default() += 1;
        } else {
            problems.push(format!("{context}:\n{}", difference(expected, &rendered.text)));
        }
    }
    for (reason, count) in &counts {
        println!("{count:6} {reason}");
    }
    let count = problems.len();
    assert!(problems.is_empty(), "{count} prompts differ:\n{}", problems.join("\n"));
    // Other templates than the published ones need not deviate in the same ways.
    let published = sweep.templates.len() > 100;
    for (at, deviation) in DEVIATIONS.iter().enumerate().filter(|_| published) {
        assert!(used.contains(&at), "no prompt deviates any more: {}", deviation.reason);
    }
}

/// Both texts around the first character that differs.
fn difference(expected: &str, rendered: &str) -> String {
    let same = expected.chars().zip(rendered.chars()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.chars().skip(same.saturating_sub(40)).take(120).collect::<String>();
    format!("  expected {:?}\n  rendered {:?}", around(expected), around(rendered))
}
