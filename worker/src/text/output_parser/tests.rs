use clap::ValueEnum;
use ipc_proto::generate::Tool;
use proptest::prelude::*;

use super::*;

fn tools() -> Known {
    let tool = |name: &str, schema: &str| Tool {
        name: name.into(),
        parameters: Some(schema.into()),
        ..Tool::default()
    };
    Known::of(&[
        tool("f", r#"{"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}"#),
        tool("g", r#"{"properties": {}}"#),
    ])
}

fn manner(format: Format) -> Manner {
    Manner { format, tools: Some(tools()), ..Manner::default() }
}

fn thinking(format: Format, open: bool) -> Manner {
    Manner { reasoning: ReasoningFormat::Think, open, ..manner(format) }
}

/// The parts of pieces, those of one kind joined.
fn read(manner: Manner, pieces: &[&str]) -> Vec<Part> {
    let mut reading = Reading::new(manner, 7);
    let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| reading.push(piece)).collect();
    parts.extend(reading.finish());
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(Part::Text(last)), Part::Text(more)) => last.push_str(&more),
            (Some(Part::Reasoning(last)), Part::Reasoning(more)) => last.push_str(&more),
            (Some(Part::Arguments(last)), Part::Arguments(more)) => last.push_str(&more),
            (_, part) => joined.push(part),
        }
    }
    joined
}

/// In short: `name(arguments)` for calls, `<thought>` for reasoning.
fn short(parts: &[Part]) -> String {
    let one = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Reasoning(text) => format!("«{text}»"),
        Part::Call { name, .. } => format!("|{name}"),
        Part::Arguments(text) => format!("({text})"),
    };
    parts.iter().map(one).collect()
}

fn told(manner: Manner, text: &str) -> String {
    short(&read(manner, &[text]))
}

/// Format, text, and what it says in short; `{f}` is a call of f with both arguments.
const CASES: &[(Format, &str, &str)] = &[
    (
        Format::Hermes,
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x\", \"b\": 1}}\n</tool_call>",
        "{f}",
    ),
    (
        Format::Hermes,
        "Let me see.\n\n<tool_call>{\"arguments\": {\"a\": \"x\", \"b\": 1}, \"name\": \"f\"}</tool_call>\n",
        "Let me see.{f}",
    ),
    (
        Format::Hermes,
        "<tool_call>\n{\"name\": \"g\"}\n</tool_call>\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
        "|g({})|g({})",
    ),
    (
        Format::Hermes,
        r#"<tool_call>{"type": "function", "function": {"name": "g", "arguments": "{\"k\": 1}"}}"#,
        r#"|g({"k": 1})"#,
    ),
    (Format::Hermes, r#"{"name": "f", "arguments": {"a": "x", "b": 1}}"#, "{f}"),
    (Format::Hermes, "```json\n{\"name\": \"g\", \"arguments\": {}}\n```", "|g({})"),
    (
        Format::QwenXml,
        "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=b>\n1\n</parameter>\n</function>\n</tool_call>",
        "{f}",
    ),
    (
        Format::QwenXml,
        "<function=f>\n<parameter=a>\ntwo\n\"lines\" <b>\n</parameter>\n</function>",
        r#"|f({"a": "two\n\"lines\" <b>"})"#,
    ),
    (
        Format::QwenXml,
        "<function=f>\n<parameter=a>\nx </parameter> y\n</parameter>\n\nz</parameter>\n</parameter>\n<parameter=b>1</parameter></function>",
        r#"|f({"a": "x </parameter> y\n</parameter>\n\nz</parameter>", "b": 1})"#,
    ),
    (
        Format::QwenXml,
        "<function=f>\n<parameter=c>\n[\"</parameter>\"]\n</parameter>\n</tool_call>",
        r#"|f({"c": ["</parameter>"]})"#,
    ),
    (Format::QwenXml, "<tool_call>\n<function=g>\n</function>\n</tool_call>", "|g({})"),
    (
        Format::QwenXml,
        "<tool_call><function=g><parameter=other>True</parameter></function>",
        r#"|g({"other": true})"#,
    ),
    (Format::Llama, r#"{"name": "f", "parameters": {"a": "x", "b": 1}}"#, "{f}"),
    (
        Format::Llama,
        r#"<|python_tag|>{"name": "g", "parameters": {}}; {"name": "g", "parameters": {"a": [1, {}]}}"#,
        r#"|g({})|g({"a": [1, {}]})"#,
    ),
    (Format::Pythonic, r#"[f(a="x", b=1)]"#, "{f}"),
    (
        Format::Pythonic,
        r#"[g(), f(a='it\'s', b=[1, (True, None)], c={'k': -1.5})]"#,
        r#"|g({})|f({"a": "it's", "b": [1,[true,null]], "c": {"k":-1.5}})"#,
    ),
    (
        Format::Mistral,
        r#"[TOOL_CALLS][{"name": "f", "arguments": {"a": "x", "b": 1}}, {"name": "g", "arguments": {}}]"#,
        "{f}|g({})",
    ),
    (
        Format::MistralArgs,
        r#"Now.[TOOL_CALLS]f[ARGS]{"a": "x", "b": 1}[TOOL_CALLS]g[CALL_ID]123456789[ARGS]{}"#,
        "Now.{f}|g({})",
    ),
    (
        Format::Gemma,
        "<start_function_call>call:f{a:<escape>x {,}<escape>,b:1}<end_function_call>",
        r#"|f({"a": "x {,}", "b": 1})"#,
    ),
    (
        Format::Gemma,
        "<start_function_call>call:g{}<end_function_call><start_function_call>call:g{k:{l:[1,2]}}<end_function_call>",
        r#"|g({})|g({"k": {"l":[1,2]}})"#,
    ),
    (
        Format::Gemma,
        "<start_function_call>call:f{a:\"}<escape>\\u00e9\",\"c:d\":{<escape>e<escape>:<escape>},\"<escape>}, g: 5\", h,}<end_function_call>",
        r#"|f({"a": "}<escape>é", "c:d": {"e":"},\""}, "g": "5\"", "arg3": "h"})"#,
    ),
    (Format::Phi, r#"<|tool_call|>[{"name": "f", "arguments": {"a": "x", "b": 1}}]<|/tool_call|>"#, "{f}"),
    (Format::Phi, r#"functools[{"name": "f", "arguments": {"a": "x", "b": 1}}]"#, "{f}"),
    (Format::Json, "```json\n{\"name\": \"f\", \"arguments\": {\"a\": \"x\", \"b\": 1}}\n```", "{f}"),
    (Format::Json, r#"[{"name": "g", "parameters": null}]"#, "|g({})"),
    (
        Format::Harmony,
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.f \
            <|constrain|>json<|message|>{\"a\": \"x\", \"b\": 1}<|call|>",
        "«Hm.»{f}",
    ),
    (
        Format::Harmony,
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello!",
        "«Hm.»Hello!",
    ),
    (
        Format::Harmony,
        "<|start|>assistant to=functions.g<|channel|>commentary json<|message|><|call|>",
        "|g({})",
    ),
];

#[test]
fn every_format_is_read() {
    let f = r#"|f({"a": "x", "b": 1})"#;
    for (format, text, expected) in CASES {
        assert_eq!(told(manner(*format), text), expected.replace("{f}", f), "{format:?}: {text}");
    }
}

#[test]
fn what_is_no_call_stays_text() {
    for (format, text) in [
        (Format::Hermes, "a <tool_call> b"),
        (Format::Hermes, "<tool_call>{\"name\": 3}</tool_call>"),
        (Format::Hermes, "a < b, <tool and <tool_call"),
        (Format::Hermes, "<tool_call>{\"a\": 1}"),
        (Format::Hermes, r#"{"name": "unknown", "arguments": {}}"#),
        (Format::Hermes, "```rust\nfn main() {}\n```\n"),
        (Format::QwenXml, "<tool_call>\n<functio"),
        (Format::Llama, r#"{"name": "unknown", "parameters": {}}"#),
        (Format::Llama, r#"Say {"name": "f", "parameters": {}}"#),
        (Format::Llama, r#"  {"answer": 42}"#),
        (Format::Pythonic, "[1, 2, 3]"),
        (Format::Pythonic, "[unknown(a=1)]"),
        (Format::Pythonic, "[f"),
        (Format::Mistral, "[TOOL_CALLS] none"),
        (Format::MistralArgs, "[TOOL_CALLS]f{}"),
        (Format::Gemma, "<start_function_call>say:f{}"),
        (Format::Phi, "functools are fun"),
        (Format::Json, "```python\nprint(1)\n```"),
        (Format::Json, "`x` is a variable\n"),
        (Format::Json, r#"[{"name": "Ann"}, {"name": "Bob"}]"#),
        (Format::Harmony, "plain text"),
    ] {
        assert_eq!(told(manner(format), text), text, "{format:?}");
        let none = Manner { tools: None, ..manner(format) };
        assert_eq!(told(none, text), text, "{format:?}");
    }
    let call = "<tool_call>\n{\"name\": \"g\"}\n</tool_call>";
    assert_eq!(told(Manner { tools: None, ..manner(Format::Hermes) }, call), call);
    assert_eq!(told(manner(Format::Hermes), &format!("{call} and more")), "|g({}) and more");
    let broken = r#"<tool_call>{"name": "f", "arguments": {"a": 1} oops"#;
    assert_eq!(told(manner(Format::Hermes), broken), r#"|f({"a": 1})oops"#);
}

#[test]
fn what_is_thought_is_told_apart() {
    for (open, text, expected) in [
        (false, "<think>\nHm.\n</think>\n\nHello.", "«Hm.»Hello."),
        (true, "Hm.\n\nYes.</think>Hello.", "«Hm.\n\nYes.»Hello."),
        (true, "<think>Hm.</think>\nHello.", "«Hm.»Hello."),
        (false, "<think>\n\n</think>\n\nHello.", "Hello."),
        (false, "Hello. <think>no</think>", "Hello. <think>no</think>"),
        (false, " \n<b>", " \n<b>"),
        (true, "never ends </thin", "«never ends </thin»"),
        (false, "<think>Call it.</think>\n<tool_call>{\"name\": \"g\"}</tool_call>", "«Call it.»|g({})"),
    ] {
        assert_eq!(told(thinking(Format::Hermes, open), text), expected, "{text}");
    }
    let mut reading = Reading::new(thinking(Format::Hermes, false), 0);
    let mut states = Vec::new();
    for piece in ["<think>", "Hm", "</think>", "Yes"] {
        reading.push(piece);
        states.push(reading.is_reasoning());
    }
    assert_eq!(states, [true, true, false, false]);
}

#[test]
fn arguments_go_out_as_they_come() {
    let mut reading = Reading::new(manner(Format::Hermes), 1);
    let mut seen = Vec::new();
    for piece in
        ["<tool_call>\n{\"name\": \"f\", ", "\"arguments\": {\"a\":", " \"x", "\"}", "}\n</tool", "_call>"]
    {
        seen.push(short(&reading.push(piece)));
    }
    assert_eq!(seen, ["|f", r#"({"a":)"#, r#"( "x)"#, r#"("})"#, "", ""]);
    let mut reading = Reading::new(manner(Format::QwenXml), 1);
    let text = ["<function=f>", "<parameter=a>\n", "long ", "text", "\n</parameter></function>"];
    let seen: Vec<String> = text.iter().map(|piece| short(&reading.push(piece))).collect();
    assert_eq!(seen, ["|f", r#"({"a": ")"#, "(long )", "(text)", r#"("})"#]);
    let mut reading = Reading::new(manner(Format::QwenXml), 1);
    let text = [
        "<function=f><parameter=a>\nx",
        "\n</parameter>",
        "\n",
        " ",
        "y",
        "\n</parameter>\n<",
        "parameter=",
        "b",
    ];
    let seen: Vec<String> = text.iter().map(|piece| short(&reading.push(piece))).collect();
    assert_eq!(seen, [r#"|f({"a": "x)"#, "", "", "", r"(\n</parameter>\n y)", "", r#"(")"#, ""]);
}

/// What `max_tokens` cuts off goes out as far as it has come; only the beginning of a marker does not.
#[test]
fn what_is_cut_off_is_not_lost() {
    for (format, text, expected) in [
        (Format::QwenXml, "<function=f>\n<parameter=a>\nlong te", r#"|f({"a": "long te)"#),
        (Format::QwenXml, "<function=f>\n<parameter=a>\nlong\n</par", r#"|f({"a": "long\n</par)"#),
        (Format::QwenXml, "<function=f>\n<parameter=a>\nlong\n</parameter>\n</fun", r#"|f({"a": "long")"#),
        (Format::QwenXml, "<function=f>\n<parameter=b>\n1\n</parameter>", r#"|f({"b": 1)"#),
        (Format::QwenXml, "<function=f>\n<parameter=b>\n[12, 3", r#"|f({"b": [12, 3)"#),
        (Format::QwenXml, "<function=f>\n<parameter=lon", r#"|f({"lon)"#),
        (Format::QwenXml, "<function=f>\n<para", "|f"),
        (Format::Pythonic, "[f(a='it\\'s \"on", r#"|f({"a": "it's \"on)"#),
        (Format::Pythonic, "[f(a='x', b=[1, {'k': Tr", r#"|f({"a": "x", "b": [1, {'k': Tr)"#),
        (Format::Pythonic, "[f(a='x', lon", r#"|f({"a": "x", "lon)"#),
        (Format::Pythonic, "[g(), f", "|g({}), f"),
        (Format::Gemma, "<start_function_call>call:f{a:<escape>long \"te", r#"|f({"a": "long \"te)"#),
        (Format::Gemma, "<start_function_call>call:f{a:<escape>x<escape>,b:1", r#"|f({"a": "x", "b": 1)"#),
        (Format::Gemma, "<start_function_call>call:f{lon", r#"|f({"lon)"#),
        (Format::Gemma, "<start_function_call>call:f{a:<esc", r#"|f({"a": )"#),
        (Format::Hermes, r#"<tool_call>{"name": "f", "arguments": {"a": "lon"#, r#"|f({"a": "lon)"#),
        (
            Format::Hermes,
            r#"<tool_call>{"name": "f", "arguments": "{\"a\": \"\u00e9 lon\"#,
            r#"|f({"a": "é lon)"#,
        ),
        (Format::Hermes, r#"<tool_call>{"name": "f", "arguments": 12"#, "|f(12)"),
        (Format::MistralArgs, r#"[TOOL_CALLS]f[ARGS]{"a": "lon"#, r#"|f({"a": "lon)"#),
        (Format::MistralArgs, "[TOOL_CALLS]f[ARG", "[TOOL_CALLS]f[ARG"),
        (
            Format::Harmony,
            "<|channel|>commentary to=functions.f<|message|>{\"a\": \"lon",
            r#"|f({"a": "lon)"#,
        ),
    ] {
        assert_eq!(told(manner(format), text), expected, "{format:?}: {text}");
    }
}

#[test]
fn texts_of_gemmas_go_out_as_they_come() {
    let mut reading = Reading::new(manner(Format::Gemma), 1);
    let text = ["<start_function_call>call:f{", "a:<esc", "ape>long ", "te<x", "t<escape", ">,b:", "12", "}"];
    let seen: Vec<String> = text.iter().map(|piece| short(&reading.push(piece))).collect();
    assert_eq!(seen, ["|f", r#"({"a": )"#, r#"("long )"#, "(te<x)", "(t)", r#"(", "b": )"#, "", "(12})"]);
}

#[test]
fn mistrals_thoughts_are_told_apart() {
    let manner = |open| Manner { reasoning: ReasoningFormat::MistralThink, open, ..manner(Format::Mistral) };
    for (open, text, expected) in [
        (false, "[THINK]Hm [TH.[/THINK]\nHello.", "«Hm [TH.»Hello."),
        (true, "Hm.[/THINK][TOOL_CALLS][{\"name\": \"g\"}]", "«Hm.»|g({})"),
        (false, "[THI", "[THI"),
        (false, "Hello. [THINK]no[/THINK]", "Hello. [THINK]no[/THINK]"),
        (true, "never ends [/THI", "«never ends [/THI»"),
    ] {
        assert_eq!(told(manner(open), text), expected, "{text}");
    }
}

#[test]
fn ids_differ_and_return() {
    let call = "<tool_call>{\"name\": \"g\"}</tool_call>";
    let ids = |format, key| -> Vec<String> {
        let mut reading = Reading::new(manner(format), key);
        let text =
            if format == Format::Hermes { call.repeat(3) } else { "[TOOL_CALLS][{\"name\":\"g\"}]".into() };
        let parts = reading.push(&text).into_iter();
        parts.filter_map(|part| if let Part::Call { id, .. } = part { Some(id) } else { None }).collect()
    };
    let first = ids(Format::Hermes, 1);
    assert_eq!(first, ids(Format::Hermes, 1));
    let all: std::collections::HashSet<String> = first.into_iter().chain(ids(Format::Hermes, 2)).collect();
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|id| id.starts_with("call_") && id.len() == 29), "{all:?}");
    assert!(ids(Format::Mistral, 1)[0].len() == 9);
}

#[test]
fn one_call_can_be_all() {
    let call = "<tool_call>\n{\"name\": \"g\"}\n</tool_call>\n";
    let mut reading = Reading::new(Manner { single: true, ..manner(Format::Hermes) }, 0);
    assert_eq!(short(&reading.push(&call.repeat(2))), "|g({})");
    assert!(reading.is_over() && reading.has_called() && reading.finish().is_empty());
}

/// What texts of all formats are made of.
const PIECES: [&str; 58] = [
    "<tool_call>",
    "</tool_call>",
    "{\"name\": ",
    "\"f\"",
    "\"g\"",
    ", \"arguments\": ",
    ", \"parameters\": ",
    "{\"a\": \"x\"}",
    "{}",
    "}",
    "]",
    "[",
    "{",
    "<function=f>",
    "<function=",
    "</function>",
    "<parameter=a>",
    "<parameter=b>",
    "</parameter>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "<|tool_call|>",
    "<|/tool_call|>",
    "functools",
    "<|python_tag|>",
    "f(a=",
    "g()",
    ")",
    "'x'",
    "<start_function_call>",
    "<end_function_call>",
    "call:f{a:",
    "<escape>",
    "<think>",
    "</think>",
    "<|channel|>",
    "analysis",
    "final",
    "commentary to=functions.f",
    "<|message|>",
    "<|end|>",
    "<|start|>",
    "<|call|>",
    "```json\n",
    "```",
    "\n",
    " ",
    "ü",
    "\\",
    "\"",
    ",",
    "null",
    "12",
    "<",
    "tool",
    "緑",
    "\"function\": ",
];

fn text() -> impl Strategy<Value = String> {
    let piece =
        prop_oneof![9 => prop::sample::select(PIECES.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A piece of an output with two words in it: a thought, a text, a marker that stands alone, or a call.
fn said(format: Format, kind: usize, a: &str, b: &str) -> String {
    if format == Format::Harmony {
        return match kind {
            0..3 => format!("<|channel|>analysis<|message|>{a} {b}<|end|><|start|>assistant"),
            3..6 => format!("<|channel|>final<|message|>{a}\n{b}<|end|><|start|>assistant"),
            _ => format!(
                "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{{\"a\": \"{a}\", \"{b}\": 1}}<|end|><|start|>assistant"
            ),
        };
    }
    let object = format!("{{\"a\": \"{a}\", \"b\": [\"{b}\", 1]}}");
    match kind {
        0 => format!("<think>{a}</think>{b}"),
        1 => format!("[THINK]{a} {b}[/THINK]"),
        2 => format!("{a} {b}\n"),
        3 => format!("{a}{}{b}", format.markers().open.first().unwrap_or(&"`")),
        4 => format!("{a}{}{b}", format.markers().close.first().unwrap_or(&"</x>")),
        _ => match format {
            Format::Hermes => {
                format!("<tool_call>\n{{\"name\": \"f\", \"arguments\": {object}}}\n</tool_call>\n")
            }
            Format::QwenXml => {
                format!(
                    "<tool_call>\n<function=f>\n<parameter=a>\n{a}\n</parameter>\n<parameter={b}>\n[\"{b}\", 1]\n</parameter>\n</function>\n</tool_call>"
                )
            }
            Format::Pythonic => format!("[f(a='{a}', b=[\"{b}\"], c={a}), f({b}={a})]"),
            Format::Gemma => {
                format!(
                    "<start_function_call>call:f{{a:<escape>{a}<escape>,{b}:{{k:<escape>{b}<escape>}},c:{a}}}<end_function_call>"
                )
            }
            Format::Mistral => format!("[TOOL_CALLS][{{\"name\": \"f\", \"arguments\": {object}}}]"),
            Format::MistralArgs => format!("[TOOL_CALLS]f[ARGS]{object}"),
            Format::Phi => {
                format!("<|tool_call|>[{{\"name\": \"f\", \"arguments\": {object}}}]<|/tool_call|>")
            }
            Format::Llama => format!("{{\"name\": \"f\", \"parameters\": {object}}}"),
            _ => format!("{{\"name\": \"f\", \"arguments\": {object}}}"),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// However a text is cut, its parts are the same, and none of it is lost but what the format itself is made of.
    #[test]
    fn cuts_make_no_difference(text in text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        at in 0..Format::value_variants().len(), open: bool, think: bool, single: bool) {
        let reasoning = if think { ReasoningFormat::Think } else { ReasoningFormat::None };
        let manner = Manner { reasoning, open, single, ..manner(Format::value_variants()[at]) };
        let mut places: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let pieces: Vec<&str> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let whole = read(manner.clone(), &[&text]);
        prop_assert_eq!(&read(manner, &pieces), &whole);
    }

    /// Where no call is found, the text is what came.
    #[test]
    fn what_is_no_call_is_all_text(text in text(), at in 0..Format::value_variants().len() - 1) {
        let parts = read(manner(Format::value_variants()[at]), &[&text]);
        prop_assume!(parts.iter().all(|part| matches!(part, Part::Text(_))));
        prop_assert_eq!(short(&parts), text);
    }

    /// Thoughts, texts and calls, between stray markers and cut off anywhere: every letter of what was said comes out, in order.
    #[test]
    fn nothing_is_lost(pieces in prop::collection::vec((0..9usize, "[α-ω]{1,6}", "[α-ω]{1,6}"), 1..8), end: prop::sample::Index,
        at in 0..Format::value_variants().len(), open: bool, reasoning in prop::sample::select(ReasoningFormat::value_variants())) {
        let format = Format::value_variants()[at];
        let text: String = pieces.iter().map(|(kind, a, b)| said(format, *kind, a, b)).collect();
        let text = &text[..text.floor_char_boundary(end.index(text.len() + 1))];
        let whole = Manner { reasoning, open, ..manner(format) };
        let letters = |text: &str| text.chars().filter(|c| matches!(c, 'α'..='ω')).collect::<String>();
        prop_assert_eq!(letters(&short(&read(whole, &[text]))), letters(text), "{}", text);
    }

    /// Likewise, in junk, of the formats that have no envelope around their arguments.
    #[test]
    fn nothing_is_lost_in_junk(text in text(), words in prop::collection::vec((any::<prop::sample::Index>(), "[α-ω]{1,3}"), 1..6),
        at in 0..3usize) {
        let mut text = text;
        for (place, word) in words {
            let place = text.floor_char_boundary(place.index(text.len() + 1));
            text.insert_str(place, &word);
        }
        let letters = |text: &str| text.chars().filter(|c| matches!(c, 'α'..='ω')).collect::<String>();
        let manner = manner([Format::QwenXml, Format::Pythonic, Format::Gemma][at]);
        prop_assert_eq!(letters(&short(&read(manner, &[&text]))), letters(&text), "{}", text);
    }

    /// Arguments of whole calls are JSON, whatever their values are.
    #[test]
    fn whole_calls_have_json_arguments(words in prop::collection::vec(
        prop_oneof![4 => "[a-z\"'\\\\{}\\[\\]<>=,: \n\u{e9}]{0,20}", 1 => prop::sample::select(vec!["</parameter>", "\n</parameter>\n"]).prop_map(str::to_owned)],
        0..4,
    ), at in 0usize..3) {
        let value = words.concat();
        let json = serde_json::Value::from(value.as_str());
        let text = match at {
            0 => format!("<tool_call>\n{{\"name\": \"f\", \"arguments\": {{\"a\": {json}}}}}\n</tool_call>"),
            1 => format!("[TOOL_CALLS][{{\"name\": \"f\", \"arguments\": {{\"a\": {json}}}}}]"),
            _ => format!("<tool_call>\n<function=f>\n<parameter=a>\n{value}\n</parameter>\n</function>\n</tool_call>"),
        };
        let format = [Format::Hermes, Format::Mistral, Format::QwenXml][at];
        let parts = read(manner(format), &[&text]);
        let Some(Part::Arguments(arguments)) = parts.last() else { panic!("{parts:?}") };
        let arguments: serde_json::Value = serde_json::from_str(arguments).unwrap();
        prop_assert_eq!(&arguments["a"], &json);
    }
}

/// A prompt that ends within the answer is followed by more of it.
#[test]
fn what_begins_within_the_answer_is_answer() {
    for format in [Format::Hermes, Format::Harmony] {
        let within = Manner { answering: true, tools: None, ..thinking(format, false) };
        assert_eq!(short(&read(within, &["is ", "42"])), "is 42");
    }
}
