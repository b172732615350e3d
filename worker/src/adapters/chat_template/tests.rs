use std::path::Path;

use ipc_proto::generate::Role;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    template: String,
    messages: Vec<Turn>,
    extra: serde_json::Value,
    tokens: BTreeMap<String, String>,
    rendered: Option<String>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

fn prompt(turns: &[(&str, &str)], extra: Option<serde_json::Value>) -> ChatPrompt {
    let role = |role: &str| match role {
        "system" => Role::System,
        "assistant" => Role::Assistant,
        _ => Role::User,
    };
    let message = |(of, content): &(&str, &str)| Message {
        role: role(of),
        content: (*content).to_owned(),
        ..Message::default()
    };
    ChatPrompt {
        messages: turns.iter().map(message).collect(),
        template_kwargs: extra.map(|extra| extra.to_string()),
        ..ChatPrompt::default()
    }
}

fn render(template: &str, extra: Option<serde_json::Value>) -> Result<String, String> {
    let template = ChatTemplate::new(template.to_owned(), BTreeMap::new())?;
    template.render(&prompt(&[("user", "Hello <b>\"you\"</b>!")], extra))
}

/// What Transformers rendered, or that it could not.
#[test]
fn templates_render_as_transformers_renders_them() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/templates.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let turns: Vec<(&str, &str)> =
            case.messages.iter().map(|turn| (&*turn.role, &*turn.content)).collect();
        let template = ChatTemplate::new(case.template, case.tokens).unwrap();
        let rendered = template.render(&prompt(&turns, Some(case.extra)));
        match case.rendered {
            Some(expected) => assert_eq!(rendered.as_ref(), Ok(&expected), "{}", case.name),
            None => assert!(rendered.is_err(), "{}: {rendered:?}", case.name),
        }
    }
}

#[test]
fn a_raised_exception_is_the_whole_message() {
    let error = render("{{ raise_exception('Only one system message, please') }}", None).unwrap_err();
    assert_eq!(error, "Only one system message, please");
}

#[test]
fn a_client_sets_any_variable_but_the_messages() {
    let extra =
        serde_json::json!({"messages": [], "tools": ["t"], "add_generation_prompt": false, "deep": 3});
    let template = "{{ messages | length }}{{ tools[0] }}{{ add_generation_prompt }}{{ deep }}";
    assert_eq!(render(template, Some(extra)).unwrap(), "1tFalse3");
    assert_eq!(render("{{ messages | length }}{{ add_generation_prompt }}", None).unwrap(), "1True");
}

#[test]
fn dates_are_formatted_and_strange_formats_refused() {
    let year = render("{{ strftime_now('%Y') }}", None).unwrap();
    assert!(year.len() == 4 && year.starts_with('2'), "{year}");
    assert!(render("{{ strftime_now('%Q%') }}", None).unwrap_err().contains("%Q%"));
}

#[test]
fn a_template_that_computes_for_ever_is_stopped() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
    assert_eq!(render(endless, None).unwrap_err(), "the chat template took too long");
    let deep = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}";
    assert!(render(deep, None).is_err());
}

#[test]
fn a_template_that_is_none_is_refused_at_load() {
    let error = ChatTemplate::new("{% if %}".into(), BTreeMap::new()).unwrap_err();
    assert!(error.starts_with("the chat template is not valid"), "{error}");
}

#[test]
fn variables_that_are_no_object_are_refused() {
    for text in ["[1]", "3", "{", "null"] {
        let prompt = ChatPrompt { template_kwargs: Some(text.into()), ..ChatPrompt::default() };
        let template = ChatTemplate::new("x".into(), BTreeMap::new()).unwrap();
        assert!(template.render(&prompt).is_err(), "{text}");
    }
}
