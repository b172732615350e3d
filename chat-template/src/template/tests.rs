use std::path::Path;

use ipc_proto::generate::{Role, TextGrammar, Tool, ToolInput};
use serde::Deserialize;

use super::*;

mod jinja2;

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
        content: (*content).into(),
        ..Message::default()
    };
    ChatPrompt {
        messages: turns.iter().map(message).collect(),
        template_kwargs: extra.map(|extra| extra.to_string()),
        ..ChatPrompt::default()
    }
}

fn plain(template: &ChatTemplate, prompt: &ChatPrompt) -> Result<String, String> {
    template.render(prompt, None).map(|rendered| rendered.text)
}

fn render(template: &str, extra: Option<serde_json::Value>) -> Result<String, String> {
    let template = ChatTemplate::new(template, BTreeMap::new())?;
    plain(&template, &prompt(&[("user", "Hello <b>\"you\"</b>!")], extra))
}

/// Each golden holds the text that Transformers rendered, or that it could not.
#[test]
fn templates_render_as_transformers_renders_them() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../worker/tests/golden/templates.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let turns: Vec<(&str, &str)> =
            case.messages.iter().map(|turn| (&*turn.role, &*turn.content)).collect();
        let template = ChatTemplate::new(&case.template, case.tokens).unwrap();
        let extra = serde_json::from_value(case.extra).unwrap();
        // In this very form: Transformers knows no others.
        let fuel = environment::fuel(0);
        let rendered = template.try_render(&prompt(&turns, None).messages, Style::default(), &extra, fuel);
        match case.rendered {
            Some(expected) => assert_eq!(rendered.as_ref(), Ok(&expected), "{}", case.name),
            None => assert!(rendered.is_err(), "{}: {rendered:?}", case.name),
        }
    }
}

#[test]
fn raised_exception_is_the_error_message() {
    let error = render("{{ raise_exception('Only one system message, please') }}", None).unwrap_err();
    assert_eq!(error, "Only one system message, please");
}

#[test]
fn client_variables_override_all_but_messages() {
    let extra =
        serde_json::json!({"messages": [], "tools": ["t"], "add_generation_prompt": false, "deep": 3});
    let template = "{{ messages | length }}{{ tools[0] }}{{ add_generation_prompt }}{{ deep }}";
    assert_eq!(render(template, Some(extra)).unwrap(), "1tFalse3");
    assert_eq!(render("{{ messages | length }}{{ add_generation_prompt }}", None).unwrap(), "1True");
}

#[test]
fn strftime_now_formats_dates() {
    let year = render("{{ strftime_now('%Y') }}", None).unwrap();
    assert!(year.len() == 4 && year.starts_with('2'), "{year}");
    assert_eq!(render("{{ strftime_now('%Q%') }}", None).unwrap(), "%Q%");
}

/// Compares with the output of Python 3.11's `json.dumps`.
#[test]
fn tojson_matches_python() {
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
fn endless_template_is_stopped() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
    assert_eq!(render(endless, None).unwrap_err(), TOO_LONG);
    let deep = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}";
    assert!(render(deep, None).is_err());
}

#[test]
fn invalid_template_is_refused_at_load() {
    let error = ChatTemplate::new("{% if %}", BTreeMap::new()).unwrap_err();
    assert!(error.starts_with("the chat template is not valid"), "{error}");
}

#[test]
fn variables_without_an_object_are_refused() {
    for text in ["[1]", "3", "{", "null"] {
        let prompt = ChatPrompt { template_kwargs: Some(text.into()), ..ChatPrompt::default() };
        let template = ChatTemplate::new("x", BTreeMap::new()).unwrap();
        assert!(plain(&template, &prompt).is_err(), "{text}");
    }
}

const STRICT: &str = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system') }}{% endif %}\
    {% if loop.index0 > 0 and messages[loop.index0 - 1].role == m.role %}{{ raise_exception('Alternate') }}{% endif %}\
    [{{ m.role }}:{{ m.content }}]{% endfor %}";

#[test]
fn conversation_is_adapted_to_restrictions_of_the_template() {
    let template = ChatTemplate::new(STRICT, BTreeMap::new()).unwrap();
    for (turns, expected) in [
        (vec![("user", "a"), ("assistant", "b")], "[user:a][assistant:b]"),
        (vec![("system", "s"), ("user", "a")], "[user:s\n\na]"),
        (vec![("user", "a"), ("user", "b"), ("assistant", "c")], "[user:a\n\nb][assistant:c]"),
        (vec![("system", "s"), ("user", "a"), ("user", "b"), ("system", "t")], "[user:s\n\na\n\nb\n\nt]"),
        (vec![("system", "s")], "[user:s]"),
    ] {
        assert_eq!(plain(&template, &prompt(&turns, None)).unwrap(), expected);
    }
    // A system message that it silently leaves out is folded, too.
    let deaf = "{% for m in messages %}{% if m.role != 'system' %}[{{ m.content }}]{% endif %}{% endfor %}";
    let template = ChatTemplate::new(deaf, BTreeMap::new()).unwrap();
    assert_eq!(plain(&template, &prompt(&[("system", "s"), ("user", "a")], None)).unwrap(), "[s\n\na]");
}

/// The prompt before a later system message does not change with it, so it stays cached.
#[test]
fn later_system_message_stays_in_its_place() {
    let first_only = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('First') }}{% endif %}\
        [{{ m.role }}:{{ m.content }}]{% endfor %}";
    let drops_later = "{% for m in messages %}{% if m.role != 'system' or loop.first %}[{{ m.role }}:{{ m.content }}]{% endif %}{% endfor %}";
    let turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("system", "Later.")];
    for (template, expected) in [
        (first_only, "[system:s][user:a][assistant:b][user:Later.]"),
        (drops_later, "[system:s][user:a][assistant:b][user:Later.]"),
        (STRICT, "[user:s\n\na][assistant:b][user:Later.]"),
    ] {
        let template = ChatTemplate::new(template, BTreeMap::new()).unwrap();
        assert_eq!(plain(&template, &prompt(&turns, None)).unwrap(), expected);
        assert!(expected.starts_with(&plain(&template, &prompt(&turns[..3], None)).unwrap()));
    }
}

/// The prompt ends where the text ends, whatever the template would write after it.
#[test]
fn last_turn_is_continued() {
    let text = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}\
        {% if add_generation_prompt %}<assistant>{% endif %}";
    let template = ChatTemplate::new(text, BTreeMap::new()).unwrap();
    let mut prompt = prompt(&[("user", "q"), ("assistant", "The answer is ")], None);
    assert!(plain(&template, &prompt).unwrap().ends_with("<assistant>The answer is</><assistant>"));
    prompt.continues = true;
    assert_eq!(plain(&template, &prompt).unwrap(), "<user>q</><assistant>The answer is ");
    let silent = ChatTemplate::new("{{ messages[0].content }}", BTreeMap::new()).unwrap();
    assert!(plain(&silent, &prompt).unwrap_err().contains("leaves out"));
}

#[test]
fn template_without_documents_gets_them_as_text() {
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
        input: ToolInput::Json { schema: Some(r#"{"type":"object"}"#.into()), strict: false },
    }];
    prompt
}

#[test]
fn tools_calls_and_results_reach_the_template() {
    let text = "{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}|{{ m.content }}{{ m.reasoning_content }}\
        {{ m.tool_call_id }}{% for c in m.tool_calls %}{{ c.id }}{{ c.function.name }}{{ c.function.arguments.a }}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(text, BTreeMap::new()).unwrap();
    let tool = r#"{"type": "function", "function": {"name": "f", "description": "does", "parameters": {"type": "object"}}}"#;
    assert_eq!(plain(&template, &with_tools()).unwrap(), format!("{tool}|q|whycall_1f1|rcall_1"));
    let none = ChatPrompt { tool_choice: ToolChoice::None, ..with_tools() };
    assert!(plain(&template, &none).unwrap().starts_with("|q"));
    // Some put arguments together as text; Mistral's want ids of nine letters.
    let text = "{% if tools %}{% endif %}{% for m in messages %}{% for c in m.tool_calls %}{% if c.id | length != 9 %}\
        {{ raise_exception('id') }}{% endif %}{{ 'A: ' + c.function.arguments }}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(text, BTreeMap::new()).unwrap();
    assert_eq!(plain(&template, &with_tools()).unwrap(), r#"A: {"a":1}"#);
}

#[test]
fn template_without_tools_gets_them_as_text() {
    let text = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}";
    let template = ChatTemplate::new(text, BTreeMap::new()).unwrap();
    let rendered = plain(&template, &with_tools()).unwrap();
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

fn calls(names: &[&str]) -> Vec<ToolCall> {
    let call =
        |name: &&str| ToolCall { id: format!("id_{name}"), name: (*name).into(), arguments: "{}".into() };
    names.iter().map(call).collect()
}

fn two_calls() -> ChatPrompt {
    let mut prompt = prompt(&[("user", "q"), ("assistant", "text"), ("user", "end")], None);
    prompt.messages[1].tool_calls = calls(&["a", "b"]);
    prompt.messages[1].reasoning = Some("why".into());
    // Out of order: their ids identify them.
    let result = |name: &str| Message::result(Some(format!("id_{name}")), None, format!("result_{name}"));
    prompt.messages.splice(2..2, [result("b"), result("a")]);
    prompt
}

const FIRST_CALL_ONLY: &str = "{% if tools %}{% endif %}{% for m in messages %}[{{ m.role }}:{{ m.content }}{{ m.reasoning_content }}\
    {% if m.tool_calls %}|{{ m.tool_calls[0].function.name }}{% endif %}]{% endfor %}";

#[test]
fn template_with_one_call_per_turn_gets_split_turns() {
    let expected = "[user:q][assistant:textwhy|a][tool:result_a][assistant:|b][tool:result_b][user:end]";
    let raising = FIRST_CALL_ONLY.replace(
        "{% if m.tool_calls %}",
        "{% if m.tool_calls and m.tool_calls | length > 1 %}{{ raise_exception('one call') }}{% endif %}{% if m.tool_calls %}",
    );
    for text in [FIRST_CALL_ONLY, &raising] {
        let template = ChatTemplate::new(text, BTreeMap::new()).unwrap();
        let rendered = template.render(&two_calls(), None).unwrap();
        assert_eq!(rendered.text, expected);
        assert_eq!(rendered.adaptations, [Adaptation::OneCallPerTurn]);
    }
}

#[test]
fn template_with_several_calls_per_turn_gets_one_turn() {
    let text = FIRST_CALL_ONLY.replace(
        "m.tool_calls[0].function.name",
        "m.tool_calls | map(attribute='function.name') | join(',')",
    );
    let template = ChatTemplate::new(&text, BTreeMap::new()).unwrap();
    let rendered = template.render(&two_calls(), None).unwrap();
    assert!(rendered.text.contains("[assistant:textwhy|a,b][tool:result_b]"), "{rendered:?}");
    assert!(rendered.adaptations.is_empty());
}

/// Each expression with Jinja2 3.1.6's output.
#[test]
fn expressions_have_jinja2s_results() {
    let extra = serde_json::json!({"n": null, "s": "text", "m": {"a": [1, "x", true, null, 1e-7]}, "f": 1e16, "l": [1, 2, 3]});
    for (expression, expected) in [
        ("n is iterable", "False"),
        ("missing is iterable", "True"),
        ("s is iterable", "True"),
        ("s is sequence", "True"),
        ("m is sequence", "True"),
        ("n is sequence", "False"),
        ("m", "{'a': [1, 'x', True, None, 1e-07]}"),
        ("m | string", "{'a': [1, 'x', True, None, 1e-07]}"),
        ("m | tojson", r#"{"a": [1, "x", true, null, 1e-07]}"#),
        ("f", "1e+16"),
        ("l[::-1]", "[3, 2, 1]"),
        ("l[1:]", "[2, 3]"),
        ("s[:-1]", "tex"),
        ("'sunny' | float", "0.0"),
        ("'1_000' | float", "1000.0"),
        ("'x' | float(2.5)", "2.5"),
        ("'0x1f' | int(base=16)", "31"),
        ("'1_000' | int", "1000"),
        ("'7.9' | int", "7"),
        ("'x' | int(default=3)", "3"),
        ("n | int", "0"),
        ("'a' in missing", "False"),
        ("'<\"&>' | e", "&lt;&#34;&amp;&gt;"),
        ("'%s has %d' | format(s, 3)", "text has 3"),
        ("namespace(a=1).a + 1", "2"),
        ("'a-b'.partition('-')[2]", "b"),
    ] {
        assert_eq!(
            render(&format!("{{{{ {expression} }}}}"), Some(extra.clone())).unwrap(),
            expected,
            "{expression}"
        );
    }
}

#[test]
fn generation_blocks_change_nothing() {
    let text = "a{%- generation -%} b {%endgeneration%}{% generation %}c{% endgeneration %}";
    assert_eq!(render(text, None).unwrap(), "ab c");
}

/// Compares with the output of Jinja2 3.1.6.
#[test]
fn raw_blocks_keep_their_white_space() {
    for (text, expected) in [
        ("a{% raw %}\nb {{ x }}{% endraw %}\nc", "a\nb {{ x }}c"),
        ("a{% raw %}{% generation %}\n{% endraw %}b", "a{% generation %}\nb"),
        ("a{%- raw -%}\n b\n{%- endraw %}c", "abc"),
        ("x\n  {% raw %}\n y\n  {% endraw %}\nz", "x\n\n y\nz"),
        ("a{% raw %} {% endraw %}{% generation %}b{% endgeneration %}", "a b"),
        ("a {% raw %} {% if \\n \"{% endraw -%} b", "a  {% if \\n \"b"),
        ("a{% raw %}", "error"),
    ] {
        let rendered = render(text, None).unwrap_or_else(|_| "error".to_owned());
        assert_eq!(rendered, expected, "{text}");
    }
}

#[test]
fn line_ends_are_newlines() {
    assert_eq!(render("a\r\n{% if true %}\r\nb{% endif %}.\rc", None).unwrap(), "a\nb.\nc");
}

/// Templates iterate over arguments or print them. Text that is no object must not break either.
#[test]
fn arguments_that_are_no_object_become_one() {
    let called = |arguments: &str| {
        let mut prompt = with_tools();
        prompt.messages[1].tool_calls[0].arguments = arguments.into();
        prompt
    };
    let items = "{% if tools %}{% endif %}{% for m in messages %}{% for c in m.tool_calls %}{% for k, v in c.function.arguments|items %}<{{ k }}={{ v }}>{% endfor %}{% endfor %}{% endfor %}";
    let printed = "{% if tools %}{% endif %}{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}";
    for (arguments, text) in [
        (r#"{"a":1}"#, "<a=1>"),
        (r#"{"a": "#, r#"<INVALID_JSON={"a": >"#),
        ("[1,2]", "<INVALID_JSON=[1,2]>"),
        (r#""Oslo""#, r#"<INVALID_JSON="Oslo">"#),
        ("7", "<INVALID_JSON=7>"),
        ("null", ""),
        ("", ""),
    ] {
        let template = ChatTemplate::new(items, BTreeMap::new()).unwrap();
        assert_eq!(plain(&template, &called(arguments)).unwrap(), text, "{arguments}");
        let template = ChatTemplate::new(printed, BTreeMap::new()).unwrap();
        assert!(plain(&template, &called(arguments)).unwrap().starts_with('{'), "{arguments}");
    }
}

#[test]
fn tool_with_text_is_shown_as_a_function_with_one_argument() {
    let shown = |grammar: Option<TextGrammar>| {
        let mut prompt = with_tools();
        prompt.tools[0].input = ToolInput::Text(grammar);
        let template = ChatTemplate::new("{{ tools[0].function | tojson }}", BTreeMap::new()).unwrap();
        serde_json::from_str::<serde_json::Value>(&plain(&template, &prompt).unwrap()).unwrap()
    };
    let plain = shown(None);
    assert_eq!((&plain["name"], &plain["description"]), (&"f".into(), &"does".into()));
    assert_eq!(plain["parameters"]["required"], serde_json::json!(["input"]));
    assert_eq!(plain["parameters"]["properties"]["input"]["type"], "string");
    let lark = shown(Some(TextGrammar::Lark("start: \"x\"".into())));
    assert_eq!(lark["description"], "does\n\nThe text in \"input\" matches this Lark grammar:\nstart: \"x\"");
    let regex = shown(Some(TextGrammar::Regex("x+".into())));
    assert_eq!(regex["description"], "does\n\nThe text in \"input\" matches this regular expression:\nx+");
}

#[test]
fn missing_tool_fields_are_added_only_if_the_template_reads_them() {
    let tool = |parameters: Option<&str>| Tool {
        name: "f".into(),
        input: ToolInput::Json { schema: parameters.map(Into::into), strict: false },
        ..Tool::default()
    };
    let prompt = |tool| ChatPrompt { tools: vec![tool], ..prompt(&[("user", "q")], None) };
    let printing = ChatTemplate::new("{{ tools | tojson }}", BTreeMap::new()).unwrap();
    let plain = printing.render(&prompt(tool(Some("{}"))), None).unwrap();
    assert_eq!(plain.text, r#"[{"type": "function", "function": {"name": "f", "parameters": {}}}]"#);
    assert!(plain.adaptations.is_empty());
    let text = "{% for t in tools %}{{ t.function.name + ':' + t.function.description }}{% for p, s in t.function.parameters.properties.items() %}\
        |{{ p + s.description + s.type }}{% endfor %}{% endfor %}";
    let reading = ChatTemplate::new(text, BTreeMap::new()).unwrap();
    let schema = r#"{"properties": {"a": {"type": ["null", "integer"]}, "b": {"anyOf": [{"type": "null"}, {"type": "string"}]}, "c": {}}}"#;
    let rendered = reading.render(&prompt(tool(Some(schema))), None).unwrap();
    assert_eq!(rendered.text, "f:|ainteger|bstring|cstring");
    assert_eq!(rendered.adaptations, [Adaptation::ToolsCompleted]);
    assert_eq!(reading.render(&prompt(tool(None)), None).unwrap().text, "f:");
}

#[test]
fn client_control_tokens_are_found_in_the_prompt() {
    let tokens = ControlTokens::new(["<|end|>"]);
    let template = ChatTemplate::new(
        "{{ messages[0].content | trim }}<|end|>{{ messages | tojson(ensure_ascii=true) }}",
        BTreeMap::new(),
    )
    .unwrap();
    let prompt = prompt(&[("user", " a<|end|> ")], None);
    let rendered = template.render(&prompt, Some(&tokens)).unwrap();
    assert_eq!(rendered.text, plain(&template, &prompt).unwrap());
    let found: Vec<&str> = rendered.sanitized.iter().map(|span| &rendered.text[span.clone()]).collect();
    assert_eq!(found, ["<|end|>"; 2]);
    assert_eq!(rendered.sanitized[0], 1..8);
}

#[test]
fn alternatives_stop_at_the_time_limit() {
    let endless = "{% for a in range(3000) %}{% for b in range(300) %}{{ a * b }}{% endfor %}{% endfor %}{{ raise_exception('x') }}";
    let template = ChatTemplate::new(endless, BTreeMap::new()).unwrap();
    let mut prompt = with_tools();
    prompt.messages.insert(0, Message { role: Role::System, content: "s".into(), ..Message::default() });
    let started = Instant::now();
    assert!(plain(&template, &prompt).is_err());
    assert!(started.elapsed() < 5 * TRIAL_LIMIT, "{:?}", started.elapsed());
}

/// Templates that would need much more memory than they are given.
#[test]
fn templates_are_bounded_in_memory_and_depth() {
    let small = |text: &str| ChatTemplate::new(text, BTreeMap::new()).unwrap();
    let shared =
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}";
    for text in [
        "{{ 'x' * 99999999 ~ 'x' * 99999999 ~ 'x' * 99999999 }}".to_owned(),
        "{% set n = namespace(x='x' * 1000) %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x | length }}".to_owned(),
        format!("{shared}{{{{ n.x }}}}"),
        format!("{shared}{{{{ n.x | tojson }}}}"),
        "{{ '%999999999d' | format(1) }}".to_owned(),
        "{{ ('x' * 9999999) | replace('x', 'x' * 9999999) }}".to_owned(),
    ] {
        let before = peak();
        let rendered = plain(&small(&text), &prompt(&[("user", "q")], None));
        let used = peak().saturating_sub(before) >> 20;
        assert!(rendered.as_ref().map_or(true, |text| text.len() < 1 << 20), "{text}");
        assert!(used < 600, "{text}: {used} MiB");
    }
}

/// Values as deep as the budget allows.
#[test]
fn deep_values_overflow_no_stack() {
    let deep = "{% set n = namespace(x=[1]) %}{% for i in range(4000) %}{% set n.x = [n.x] %}{% endfor %}";
    for (end, expected) in [
        ("{{ (n.x ~ 'a') | length }}", "8004"),
        ("{{ n.x == [n.x] }}", "False"),
        ("{{ n.x | string | length > 500 }}", "True"),
        ("{{ n.x | pprint | length > 500 }}", "True"),
    ] {
        let template = ChatTemplate::new(&format!("{deep}{end}"), BTreeMap::new()).unwrap();
        assert_eq!(plain(&template, &prompt(&[("user", "q")], None)).as_deref(), Ok(expected), "{end}");
    }
}

#[test]
fn no_namespace_holds_itself() {
    for assigned in ["n", "[n]", "{'a': [n]}", "[1, n] | reverse"] {
        let text = format!("{{% set n = namespace() %}}{{% set n.x = {assigned} %}}{{{{ n }}}}");
        let template = ChatTemplate::new(&text, BTreeMap::new()).unwrap();
        let error = plain(&template, &prompt(&[("user", "q")], None)).unwrap_err();
        assert_eq!(error, "a namespace cannot hold another one", "{assigned}");
    }
}

/// The peak of this process's memory, in bytes; 0 where the system does not report it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}
