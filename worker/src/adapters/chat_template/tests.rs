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
        let extra = serde_json::from_value(case.extra).unwrap();
        // In this very form: Transformers knows no others.
        let rendered = template.try_render(&prompt(&turns, None).messages, Arguments::Object, &extra);
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

/// What Python 3.11's `json.dumps` writes.
#[test]
fn json_is_written_as_python_writes_it() {
    let extra = || Some(serde_json::json!({"v": {"b": [1, {}, []], "a": "é\u{1f600}\"<"}}));
    for (options, expected) in [
        ("", r#"{"b": [1, {}, []], "a": "é😀\"<"}"#),
        ("(separators=(',', ':'))", r#"{"b":[1,{},[]],"a":"é😀\"<"}"#),
        ("(separators=[' ; ', ' = '], sort_keys=true)", r#"{"a" = "é😀\"<" ; "b" = [1 ; {} ; []]}"#),
        ("(ensure_ascii=true)", r#"{"b": [1, {}, []], "a": "\u00e9\ud83d\ude00\"<"}"#),
        (
            "(true, 1, none, true)",
            "{\n \"a\": \"\\u00e9\\ud83d\\ude00\\\"<\",\n \"b\": [\n  1,\n  {},\n  []\n ]\n}",
        ),
        ("(indent='~', ensure_ascii=false)", "{\n~\"b\": [\n~~1,\n~~{},\n~~[]\n~],\n~\"a\": \"é😀\\\"<\"\n}"),
        ("(indent=0, separators=(', ', ':'))", "{\n\"b\":[\n1, \n{}, \n[]\n], \n\"a\":\"é😀\\\"<\"\n}"),
        ("(indent=none)", r#"{"b": [1, {}, []], "a": "é😀\"<"}"#),
    ] {
        assert_eq!(
            render(&format!("{{{{ v | tojson{options} }}}}"), extra()).unwrap(),
            expected,
            "{options}"
        );
    }
    assert_eq!(
        render("{{ {3: none, true: 1.0, 'x': 'y'} | tojson }}", None).unwrap(),
        r#"{"3": null, "true": 1.0, "x": "y"}"#
    );
    for wrong in ["(colour=1)", "(separators=3)", "(separators=(',',))", "(indent=[])"] {
        assert!(render(&format!("{{{{ v | tojson{wrong} }}}}"), extra()).is_err(), "{wrong}");
    }
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

const STRICT: &str = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system') }}{% endif %}\
    {% if loop.index0 > 0 and messages[loop.index0 - 1].role == m.role %}{{ raise_exception('Alternate') }}{% endif %}\
    [{{ m.role }}:{{ m.content }}]{% endfor %}";

#[test]
fn what_a_template_forbids_is_said_otherwise() {
    let template = ChatTemplate::new(STRICT.into(), BTreeMap::new()).unwrap();
    for (turns, expected) in [
        (vec![("user", "a"), ("assistant", "b")], "[user:a][assistant:b]"),
        (vec![("system", "s"), ("user", "a")], "[user:s\n\na]"),
        (vec![("user", "a"), ("user", "b"), ("assistant", "c")], "[user:a\n\nb][assistant:c]"),
        (vec![("system", "s"), ("user", "a"), ("user", "b"), ("system", "t")], "[user:s\n\nt\n\na\n\nb]"),
        (vec![("system", "s")], "[user:s]"),
    ] {
        assert_eq!(template.render(&prompt(&turns, None)).as_deref(), Ok(expected));
    }
    // What it silently leaves out is said too.
    let deaf = "{% for m in messages %}{% if m.role != 'system' %}[{{ m.content }}]{% endif %}{% endfor %}";
    let template = ChatTemplate::new(deaf.into(), BTreeMap::new()).unwrap();
    assert_eq!(template.render(&prompt(&[("system", "s"), ("user", "a")], None)).unwrap(), "[s\n\na]");
}

/// The prompt ends where the text ends, whatever the template would write after it.
#[test]
fn a_last_turn_is_gone_on_with() {
    let text = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}\
        {% if add_generation_prompt %}<assistant>{% endif %}";
    let template = ChatTemplate::new(text.into(), BTreeMap::new()).unwrap();
    let mut prompt = prompt(&[("user", "q"), ("assistant", "The answer is ")], None);
    assert!(template.render(&prompt).unwrap().ends_with("<assistant>The answer is</><assistant>"));
    prompt.continues = true;
    assert_eq!(template.render(&prompt).unwrap(), "<user>q</><assistant>The answer is ");
    let silent = ChatTemplate::new("{{ messages[0].content }}".into(), BTreeMap::new()).unwrap();
    assert!(silent.render(&prompt).unwrap_err().contains("leaves out"));
}

#[test]
fn a_template_without_documents_is_told_them_in_text() {
    let extra = serde_json::json!({"documents": [{"title": "T", "text": "x"}, "y"]});
    let text = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}";
    let rendered = render(text, Some(extra.clone())).unwrap();
    assert!(rendered.starts_with("[system:# Documents"), "{rendered}");
    assert!(
        rendered.contains("<document>\nTitle: T\nx\n</document>\n<document>\ny\n</document>]"),
        "{rendered}"
    );
    let knows = "{% for d in documents %}({{ d }}){% endfor %}{{ messages | length }}";
    assert!(render(knows, Some(extra)).unwrap().ends_with("(y)1"));
}

fn with_tools() -> ChatPrompt {
    let call = ToolCall { id: "call_1".into(), name: "f".into(), arguments: r#"{"a":1}"#.into() };
    let mut prompt = prompt(&[("user", "q"), ("assistant", ""), ("user", "r")], None);
    prompt.messages[1].tool_calls = vec![call];
    prompt.messages[1].reasoning = Some("why".into());
    prompt.messages[2].role = Role::Tool;
    prompt.messages[2].tool_call_id = Some("call_1".into());
    prompt.tools = vec![Tool {
        name: "f".into(),
        description: Some("does".into()),
        parameters: Some(r#"{"type":"object"}"#.into()),
        strict: false,
    }];
    prompt
}

#[test]
fn tools_calls_and_results_reach_the_template() {
    let text = "{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}|{{ m.content }}{{ m.reasoning_content }}\
        {{ m.tool_call_id }}{% for c in m.tool_calls %}{{ c.id }}{{ c.function.name }}{{ c.function.arguments.a }}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(text.into(), BTreeMap::new()).unwrap();
    let tool = r#"{"type": "function", "function": {"name": "f", "description": "does", "parameters": {"type": "object"}}}"#;
    assert_eq!(template.render(&with_tools()).unwrap(), format!("{tool}|q|Nonewhycall_1f1|rcall_1"));
    let none = ChatPrompt { tool_choice: ToolChoice::None, ..with_tools() };
    assert!(template.render(&none).unwrap().starts_with("|q"));
    // Some put arguments together as text; Mistral's want ids of nine letters.
    let text = "{% if tools %}{% endif %}{% for m in messages %}{% for c in m.tool_calls %}{% if c.id | length != 9 %}\
        {{ raise_exception('id') }}{% endif %}{{ 'A: ' + c.function.arguments }}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(text.into(), BTreeMap::new()).unwrap();
    assert_eq!(template.render(&with_tools()).unwrap(), r#"A: {"a":1}"#);
}

#[test]
fn a_template_without_tools_is_told_in_text() {
    let text = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}";
    let rendered = ChatTemplate::new(text.into(), BTreeMap::new()).unwrap().render(&with_tools()).unwrap();
    assert!(rendered.starts_with("[system:# Tools"), "{rendered}");
    assert!(
        rendered.contains(
            r#"<tools>
{"type":"function","function":{"name":"f""#
        ),
        "{rendered}"
    );
    assert!(
        rendered.ends_with(
            "[assistant:<tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\":1}}\n</tool_call>]\
        [user:<tool_response>\nr\n</tool_response>]"
        ),
        "{rendered}"
    );
}
