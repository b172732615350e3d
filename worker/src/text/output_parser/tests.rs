use clap::ValueEnum;
use ipc_proto::generate::{Tool, ToolInput};
use proptest::prelude::*;

use super::*;

fn functions() -> Functions {
    let tool = |name: &str, schema: &str| Tool {
        name: name.into(),
        input: ToolInput::Json { schema: Some(schema.into()), strict: false },
        ..Tool::default()
    };
    Functions::from_tools(&[
        tool(
            "f",
            r#"{"properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "zip": {"type": ["string", "null"]},
                "id": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}"#,
        ),
        tool("g", r#"{"properties": {}}"#),
    ])
}

fn with_functions(format: ToolFormat) -> OutputFormat {
    OutputFormat { tool_format: format, functions: Some(functions()), ..OutputFormat::default() }
}

fn thinking(format: ToolFormat, open: bool) -> OutputFormat {
    OutputFormat { reasoning: ReasoningFormat::Think, reasoning_open: open, ..with_functions(format) }
}

/// Parses pieces, and merges consecutive parts of one kind.
fn parse(output_format: OutputFormat, pieces: &[&str]) -> Vec<Part> {
    let mut parser = OutputParser::new(output_format, 7);
    let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
    parts.extend(parser.finish());
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

/// Writes parts in short: `|name(arguments)` for calls, `«text»` for reasoning.
fn short(parts: &[Part]) -> String {
    let one = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Reasoning(text) => format!("«{text}»"),
        Part::Call { name, .. } => format!("|{name}"),
        Part::Arguments(text) => format!("({text})"),
    };
    parts.iter().map(one).collect()
}

fn parse_short(output_format: OutputFormat, text: &str) -> String {
    short(&parse(output_format, &[text]))
}

/// Format, text, and the expected parts in short. `{f}` is a call of `f` with both arguments.
const CASES: &[(ToolFormat, &str, &str)] = &[
    (
        ToolFormat::Hermes,
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x\", \"b\": 1}}\n</tool_call>",
        "{f}",
    ),
    (
        ToolFormat::Hermes,
        "Let me see.\n\n<tool_call>{\"arguments\": {\"a\": \"x\", \"b\": 1}, \"name\": \"f\"}</tool_call>\n",
        "Let me see.{f}",
    ),
    (
        ToolFormat::Hermes,
        "<tool_call>\n{\"name\": \"g\"}\n</tool_call>\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
        "|g({})|g({})",
    ),
    (
        ToolFormat::Hermes,
        r#"<tool_call>{"type": "function", "function": {"name": "g", "arguments": "{\"k\": 1}"}}"#,
        r#"|g({"k": 1})"#,
    ),
    (ToolFormat::Hermes, r#"{"name": "f", "arguments": {"a": "x", "b": 1}}"#, "{f}"),
    (ToolFormat::Hermes, "```json\n{\"name\": \"g\", \"arguments\": {}}\n```", "|g({})"),
    (
        ToolFormat::QwenXml,
        "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=b>\n1\n</parameter>\n</function>\n</tool_call>",
        "{f}",
    ),
    (
        ToolFormat::QwenXml,
        "<function=f>\n<parameter=a>\ntwo\n\"lines\" <b>\n</parameter>\n</function>",
        r#"|f({"a": "two\n\"lines\" <b>"})"#,
    ),
    (
        ToolFormat::QwenXml,
        "<function=f>\n<parameter=a>\nx </parameter> y\n</parameter>\n\nz</parameter>\n</parameter>\n<parameter=b>1</parameter></function>",
        r#"|f({"a": "x </parameter> y\n</parameter>\n\nz</parameter>", "b": 1})"#,
    ),
    (
        ToolFormat::QwenXml,
        "<function=f>\n<parameter=c>\n[\"</parameter>\"]\n</parameter>\n</tool_call>",
        r#"|f({"c": ["</parameter>"]})"#,
    ),
    (
        ToolFormat::QwenXml,
        "<function=f>\n<parameter=zip>\n12345\n</parameter>\n<parameter=id>\nnull\n</parameter>\n</function>",
        r#"|f({"zip": "12345", "id": null})"#,
    ),
    (
        ToolFormat::QwenXml,
        "<function=f>\n<parameter=zip>\nnu\n</parameter>\n<parameter=id>\nnullable\n</parameter>\n</function>",
        r#"|f({"zip": "nu", "id": "nullable"})"#,
    ),
    (ToolFormat::QwenXml, "<tool_call>\n<function=g>\n</function>\n</tool_call>", "|g({})"),
    (
        ToolFormat::QwenXml,
        "<function=f>\n<parameter=b>\n12345678901234567890123\n</parameter>\n<parameter=c>\n{\"n\": [-98765432109876543210, 1.10]}\n</parameter>\n</function>",
        r#"|f({"b": 12345678901234567890123, "c": {"n":[-98765432109876543210,1.10]}})"#,
    ),
    (
        ToolFormat::QwenXml,
        "<tool_call><function=g><parameter=other>True</parameter></function>",
        r#"|g({"other": true})"#,
    ),
    (
        ToolFormat::Seed,
        "\n<seed:tool_call>\n<function=f>\n<parameter=a>x</parameter>\n<parameter=b>1</parameter>\n</function>\n</seed:tool_call>",
        "{f}",
    ),
    (
        ToolFormat::Seed,
        "<seed:tool_call>\n<function=f>\n<parameter=a>\ntwo\nlines\n</parameter>\n</function>\n</seed:tool_call>",
        r#"|f({"a": "\ntwo\nlines\n"})"#,
    ),
    (
        ToolFormat::MiniMax,
        "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"a\">x</parameter>\n<parameter name=\"b\">1</parameter>\n</invoke>\n</minimax:tool_call>",
        "{f}",
    ),
    (
        ToolFormat::MiniMax,
        "<minimax:tool_call>\n<invoke name=\"g\">\n</invoke>\n<invoke name=\"f\"><parameter name=\"a\">a \"b\"> </parameter> c</parameter></invoke>\n</minimax:tool_call>",
        r#"|g({})|f({"a": "a \"b\"> </parameter> c"})"#,
    ),
    (
        ToolFormat::Glm,
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n<arg_key>b</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
        "{f}",
    ),
    (
        ToolFormat::Glm,
        "<tool_call>g\n</tool_call>\n<tool_call>f<arg_key>zip</arg_key><arg_value>null</arg_value></tool_call>",
        r#"|g({})|f({"zip": null})"#,
    ),
    (
        ToolFormat::Glm,
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>\n</arg_value> y\n</arg_value>\n</tool_call>",
        r#"|f({"a": "\n</arg_value> y\n"})"#,
    ),
    (
        ToolFormat::Granite,
        r#"<|tool_call|>[{"name": "f", "arguments": {"a": "x", "b": 1}}, {"name": "g", "arguments": {}}]"#,
        "{f}|g({})",
    ),
    (
        ToolFormat::Cohere,
        "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": {\"a\": \"x\", \"b\": 1}},\n    {\"tool_call_id\": \"1\", \"tool_name\": \"g\", \"parameters\": {}}\n]<|END_ACTION|>",
        "{f}|g({})",
    ),
    (ToolFormat::Llama, r#"{"name": "f", "parameters": {"a": "x", "b": 1}}"#, "{f}"),
    (
        ToolFormat::Llama,
        r#"<|python_tag|>{"name": "g", "parameters": {}}; {"name": "g", "parameters": {"a": [1, {}]}}"#,
        r#"|g({})|g({"a": [1, {}]})"#,
    ),
    (ToolFormat::Pythonic, r#"[f(a="x", b=1)]"#, "{f}"),
    (
        ToolFormat::Pythonic,
        "[f(b=12345678901234567890123, c={'n': (98765432109876543210,)})]",
        r#"|f({"b": 12345678901234567890123, "c": {"n":[98765432109876543210]}})"#,
    ),
    (
        ToolFormat::Pythonic,
        r#"[g(), f(a='it\'s', b=[1, (True, None)], c={'k': -1.5})]"#,
        r#"|g({})|f({"a": "it's", "b": [1,[true,null]], "c": {"k":-1.5}})"#,
    ),
    (
        ToolFormat::Mistral,
        r#"[TOOL_CALLS][{"name": "f", "arguments": {"a": "x", "b": 1}}, {"name": "g", "arguments": {}}]"#,
        "{f}|g({})",
    ),
    (
        ToolFormat::MistralArgs,
        r#"Now.[TOOL_CALLS]f[ARGS]{"a": "x", "b": 1}[TOOL_CALLS]g[CALL_ID]123456789[ARGS]{}"#,
        "Now.{f}|g({})",
    ),
    (
        ToolFormat::Gemma,
        "<start_function_call>call:f{a:<escape>x {,}<escape>,b:1}<end_function_call>",
        r#"|f({"a": "x {,}", "b": 1})"#,
    ),
    (
        ToolFormat::Gemma,
        "<start_function_call>call:g{}<end_function_call><start_function_call>call:g{k:{l:[1,2]}}<end_function_call>",
        r#"|g({})|g({"k": {"l":[1,2]}})"#,
    ),
    (
        ToolFormat::Gemma,
        "<start_function_call>call:f{a:\"}<escape>\\u00e9\",\"c:d\":{<escape>e<escape>:<escape>},\"<escape>}, g: 5\", h,}<end_function_call>",
        r#"|f({"a": "}<escape>é", "c:d": {"e":"},\""}, "g": "5\"", "arg3": "h"})"#,
    ),
    (
        ToolFormat::Gemma4,
        "Now.<|tool_call>call:f{a:<|\"|>x {,} <| \"<|\"|>,b:1}<tool_call|><|tool_call>call:g{k:{l:[<|\"|>}<|\"|>,2]}}<tool_call|>",
        r#"Now.|f({"a": "x {,} <| \"", "b": 1})|g({"k": {"l":["}",2]}})"#,
    ),
    (
        ToolFormat::Lfm2,
        "<|tool_call_start|>[f(a=\"x\", b=1), unknown(k=[true, None])]<|tool_call_end|>Done.",
        r#"{f}|unknown({"k": [true,null]})Done."#,
    ),
    (
        ToolFormat::Phi,
        r#"<|tool_call|>[{"name": "f", "arguments": {"a": "x", "b": 1}}]<|/tool_call|>"#,
        "{f}",
    ),
    (ToolFormat::Phi, r#"functools[{"name": "f", "arguments": {"a": "x", "b": 1}}]"#, "{f}"),
    (
        ToolFormat::DeepSeek,
        "Now.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": \"x\", \"b\": 1}<｜tool▁call▁end｜>\
            <｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "Now.{f}|g({})",
    ),
    (
        ToolFormat::DeepSeekR1,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": \"x\", \"b\": 1}\n```\
            <｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "{f}|g({})",
    ),
    (
        ToolFormat::Kimi,
        "Now.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\": \"x\", \"b\": 1}\
            <|tool_call_end|><|tool_call_begin|>g:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
        "Now.{f}|g({})",
    ),
    (ToolFormat::Json, "```json\n{\"name\": \"f\", \"arguments\": {\"a\": \"x\", \"b\": 1}}\n```", "{f}"),
    (ToolFormat::Json, r#"[{"name": "g", "parameters": null}]"#, "|g({})"),
    (
        ToolFormat::Harmony,
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.f \
            <|constrain|>json<|message|>{\"a\": \"x\", \"b\": 1}<|call|>",
        "«Hm.»{f}",
    ),
    (
        ToolFormat::Harmony,
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello!",
        "«Hm.»Hello!",
    ),
    (
        ToolFormat::Harmony,
        "<|start|>assistant to=functions.g<|channel|>commentary json<|message|><|call|>",
        "|g({})",
    ),
];

#[test]
fn calls_are_parsed_in_every_format() {
    let f = r#"|f({"a": "x", "b": 1})"#;
    for (format, text, expected) in CASES {
        assert_eq!(
            parse_short(with_functions(*format), text),
            expected.replace("{f}", f),
            "{format:?}: {text}"
        );
    }
}

#[test]
fn text_that_is_no_call_stays_text() {
    for (format, text) in [
        (ToolFormat::Hermes, "a <tool_call> b"),
        (ToolFormat::Hermes, "<tool_call>{\"name\": 3}</tool_call>"),
        (ToolFormat::Hermes, "a < b, <tool and <tool_call"),
        (ToolFormat::Hermes, "<tool_call>{\"a\": 1}"),
        (ToolFormat::Hermes, r#"{"name": "unknown", "arguments": {}}"#),
        (ToolFormat::Hermes, "```rust\nfn main() {}\n```\n"),
        (ToolFormat::QwenXml, "<tool_call>\n<functio"),
        (ToolFormat::Glm, "<tool_call>{\"name\": 3}</tool_call>"),
        (ToolFormat::Glm, "The tag <tool_call> opens a call\nin GLM."),
        (ToolFormat::MiniMax, "<minimax:tool_call>\n<invoke nam"),
        (ToolFormat::Seed, "<seed:tool_call> none"),
        (ToolFormat::Granite, "<|tool_call|> none"),
        (ToolFormat::Llama, r#"{"name": "unknown", "parameters": {}}"#),
        (ToolFormat::Llama, r#"Say {"name": "f", "parameters": {}}"#),
        (ToolFormat::Llama, r#"  {"answer": 42}"#),
        (ToolFormat::Pythonic, "[1, 2, 3]"),
        (ToolFormat::Pythonic, "[unknown(a=1)]"),
        (ToolFormat::Pythonic, "[f"),
        (ToolFormat::Mistral, "[TOOL_CALLS] none"),
        (ToolFormat::MistralArgs, "[TOOL_CALLS]f{}"),
        (ToolFormat::Gemma, "<start_function_call>say:f{}"),
        (ToolFormat::Gemma4, "<|tool_call>say:f{}"),
        (ToolFormat::Lfm2, "<|tool_call_start|>none"),
        (ToolFormat::DeepSeek, "<｜tool▁calls▁begin｜>none{"),
        (ToolFormat::Kimi, "<|tool_calls_section_begin|>none{"),
        (ToolFormat::Phi, "functools are fun"),
        (ToolFormat::Json, "```python\nprint(1)\n```"),
        (ToolFormat::Json, "`x` is a variable\n"),
        (ToolFormat::Json, r#"[{"name": "Ann"}, {"name": "Bob"}]"#),
        (ToolFormat::Harmony, "plain text"),
    ] {
        assert_eq!(parse_short(with_functions(format), text), text, "{format:?}");
        let none = OutputFormat { functions: None, ..with_functions(format) };
        assert_eq!(parse_short(none, text), text, "{format:?}");
    }
    let call = "<tool_call>\n{\"name\": \"g\"}\n</tool_call>";
    assert_eq!(
        parse_short(OutputFormat { functions: None, ..with_functions(ToolFormat::Hermes) }, call),
        call
    );
    assert_eq!(
        parse_short(with_functions(ToolFormat::Hermes), &format!("{call} and more")),
        "|g({}) and more"
    );
    let broken = r#"<tool_call>{"name": "f", "arguments": {"a": 1} oops"#;
    assert_eq!(parse_short(with_functions(ToolFormat::Hermes), broken), r#"|f({"a": 1})oops"#);
}

#[test]
fn reasoning_in_think_tags_is_separated() {
    for (open, text, expected) in [
        (false, "<think>\nHm.\n</think>\n\nHello.", "«Hm.»Hello."),
        (true, "Hm.\n\nYes.</think>Hello.", "«Hm.\n\nYes.»Hello."),
        (true, "<think>Hm.</think>\nHello.", "«Hm.»Hello."),
        (false, "<think>\n\n</think>\n\nHello.", "Hello."),
        (false, "Hello. <think>no</think>", "Hello. <think>no</think>"),
        // The model reasons although its prompt opens no reasoning.
        (false, "Hm.\n</think>\n\nHello.", "Hm.\n\n\nHello."),
        (false, "Hm.</think>Hello. </think>", "Hm.Hello. </think>"),
        (false, "Write <think></think>. </think>Hello", "Write <think></think>. Hello"),
        (true, "Hm.</think>Hello. </think>", "«Hm.»Hello. </think>"),
        (false, "Hello.</thi", "Hello.</thi"),
        (
            false,
            "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"</think>\"}}</tool_call>",
            "|f({\"a\": \"</think>\"})",
        ),
        (false, " \n<b>", " \n<b>"),
        (true, "never ends </thin", "«never ends </thin»"),
        (false, "<think>Call it.</think>\n<tool_call>{\"name\": \"g\"}</tool_call>", "«Call it.»|g({})"),
    ] {
        assert_eq!(parse_short(thinking(ToolFormat::Hermes, open), text), expected, "{text}");
    }
}

/// Models of Gemma 4 that do not reason get an empty channel in their prompt or write one.
#[test]
fn reasoning_in_gemmas_channel_is_separated() {
    let format = OutputFormat { reasoning: ReasoningFormat::Gemma, ..with_functions(ToolFormat::Gemma4) };
    for (text, expected) in [
        ("<|channel>thought\nHm.\n<channel|>Hello.", "«Hm.»Hello."),
        ("<|channel>thought\n<channel|>Hello.", "Hello."),
        ("<|channel>thought\nCall it.<channel|><|tool_call>call:g{}<tool_call|>", "«Call it.»|g({})"),
        ("Hello <|channel>.", "Hello <|channel>."),
    ] {
        assert_eq!(parse_short(format.clone(), text), expected, "{text}");
    }
    assert_eq!(ReasoningFormat::detect("<|think|> <|channel>thought"), ReasoningFormat::Gemma);
}

#[test]
fn closing_tag_in_a_constrained_answer_is_text() {
    let constrained = OutputFormat { constrained: true, ..thinking(ToolFormat::Hermes, false) };
    assert_eq!(parse_short(constrained, "{\"tag\": \"a</think>\"}"), "{\"tag\": \"a</think>\"}");
}

#[test]
fn is_reasoning_is_true_within_the_tags() {
    let mut parser = OutputParser::new(thinking(ToolFormat::Hermes, false), 0);
    let mut states = Vec::new();
    for piece in ["<think>", "Hm", "</think>", "Yes"] {
        parser.push(piece);
        states.push(parser.is_reasoning());
    }
    assert_eq!(states, [true, true, false, false]);
}

#[test]
fn arguments_are_streamed() {
    let mut parser = OutputParser::new(with_functions(ToolFormat::Hermes), 1);
    let mut seen = Vec::new();
    for piece in
        ["<tool_call>\n{\"name\": \"f\", ", "\"arguments\": {\"a\":", " \"x", "\"}", "}\n</tool", "_call>"]
    {
        seen.push(short(&parser.push(piece)));
    }
    assert_eq!(seen, ["|f", r#"({"a":)"#, r#"( "x)"#, r#"("})"#, "", ""]);
}

#[test]
fn xml_strings_are_streamed() {
    let mut parser = OutputParser::new(with_functions(ToolFormat::QwenXml), 1);
    let text = ["<function=f>", "<parameter=a>\n", "long ", "text", "\n</parameter></function>"];
    let seen: Vec<String> = text.iter().map(|piece| short(&parser.push(piece))).collect();
    assert_eq!(seen, ["|f", r#"({"a": ")"#, "(long )", "(text)", r#"("})"#]);
}

#[test]
fn xml_values_hold_back_a_possible_end() {
    let mut parser = OutputParser::new(with_functions(ToolFormat::QwenXml), 1);
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
    let seen: Vec<String> = text.iter().map(|piece| short(&parser.push(piece))).collect();
    assert_eq!(seen, [r#"|f({"a": "x)"#, "", "", "", r"(\n</parameter>\n y)", "", r#"(")"#, ""]);
}

/// Arguments that `max_tokens` cuts off go out, except for the beginning of a marker.
#[test]
fn arguments_that_are_cut_off_are_not_lost() {
    for (format, text, expected) in [
        (ToolFormat::QwenXml, "<function=f>\n<parameter=a>\nlong te", r#"|f({"a": "long te)"#),
        (ToolFormat::QwenXml, "<function=f>\n<parameter=a>\nlong\n</par", r#"|f({"a": "long\n</par)"#),
        (
            ToolFormat::QwenXml,
            "<function=f>\n<parameter=a>\nlong\n</parameter>\n</fun",
            r#"|f({"a": "long")"#,
        ),
        (ToolFormat::QwenXml, "<function=f>\n<parameter=b>\n1\n</parameter>", r#"|f({"b": 1)"#),
        (ToolFormat::QwenXml, "<function=f>\n<parameter=b>\n[12, 3", r#"|f({"b": [12, 3)"#),
        (ToolFormat::QwenXml, "<function=f>\n<parameter=lon", r#"|f({"lon)"#),
        (ToolFormat::QwenXml, "<function=f>\n<para", "|f"),
        (ToolFormat::Glm, "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>long te", r#"|f({"a": "long te)"#),
        (ToolFormat::Glm, "<tool_call>f\n<arg_key>a</arg_key>\n<arg_val", r#"|f({"a": )"#),
        (ToolFormat::Glm, "<tool_call>f\n<arg_key>lon</arg_k", r#"|f({"lon)"#),
        (
            ToolFormat::Glm,
            "<tool_call>f\n<arg_key>b</arg_key>\n<arg_value>12</arg_value>\n</tool",
            r#"|f({"b": 12)"#,
        ),
        (ToolFormat::MiniMax, "<invoke name=\"f\"><parameter name=\"lon\"", r#"|f({"lon)"#),
        (ToolFormat::Pythonic, "[f(a='it\\'s \"on", r#"|f({"a": "it's \"on)"#),
        (ToolFormat::Pythonic, "[f(a='x', b=[1, {'k': Tr", r#"|f({"a": "x", "b": [1, {'k': Tr)"#),
        (ToolFormat::Pythonic, "[f(a='x', lon", r#"|f({"a": "x", "lon)"#),
        (ToolFormat::Pythonic, "[g(), f", "|g({}), f"),
        (ToolFormat::Gemma, "<start_function_call>call:f{a:<escape>long \"te", r#"|f({"a": "long \"te)"#),
        (
            ToolFormat::Gemma,
            "<start_function_call>call:f{a:<escape>x<escape>,b:1",
            r#"|f({"a": "x", "b": 1)"#,
        ),
        (ToolFormat::Gemma, "<start_function_call>call:f{lon", r#"|f({"lon)"#),
        (ToolFormat::Gemma4, "<|tool_call>call:f{a:<|\"|>long <|", r#"|f({"a": "long <|)"#),
        (ToolFormat::Gemma, "<start_function_call>call:f{a:<esc", r#"|f({"a": )"#),
        (ToolFormat::Hermes, r#"<tool_call>{"name": "f", "arguments": {"a": "lon"#, r#"|f({"a": "lon)"#),
        (
            ToolFormat::Hermes,
            r#"<tool_call>{"name": "f", "arguments": "{\"a\": \"\u00e9 lon\"#,
            r#"|f({"a": "é lon)"#,
        ),
        (ToolFormat::Hermes, r#"<tool_call>{"name": "f", "arguments": 12"#, "|f(12)"),
        (ToolFormat::MistralArgs, r#"[TOOL_CALLS]f[ARGS]{"a": "lon"#, r#"|f({"a": "lon)"#),
        (ToolFormat::MistralArgs, "[TOOL_CALLS]f[ARG", "[TOOL_CALLS]f[ARG"),
        (
            ToolFormat::Harmony,
            "<|channel|>commentary to=functions.f<|message|>{\"a\": \"lon",
            r#"|f({"a": "lon)"#,
        ),
    ] {
        assert_eq!(parse_short(with_functions(format), text), expected, "{format:?}: {text}");
    }
}

#[test]
fn gemma_strings_are_streamed() {
    let mut parser = OutputParser::new(with_functions(ToolFormat::Gemma), 1);
    let text = ["<start_function_call>call:f{", "a:<esc", "ape>long ", "te<x", "t<escape", ">,b:", "12", "}"];
    let seen: Vec<String> = text.iter().map(|piece| short(&parser.push(piece))).collect();
    assert_eq!(seen, ["|f", r#"({"a": )"#, r#"("long )"#, "(te<x)", "(t)", r#"(", "b": )"#, "", "(12})"]);
}

#[test]
fn reasoning_in_mistral_tags_is_separated() {
    let format = |open| OutputFormat {
        reasoning: ReasoningFormat::MistralThink,
        reasoning_open: open,
        ..with_functions(ToolFormat::Mistral)
    };
    for (open, text, expected) in [
        (false, "[THINK]Hm [TH.[/THINK]\nHello.", "«Hm [TH.»Hello."),
        (true, "Hm.[/THINK][TOOL_CALLS][{\"name\": \"g\"}]", "«Hm.»|g({})"),
        (false, "[THI", "[THI"),
        (false, "Hello. [THINK]no[/THINK]", "Hello. [THINK]no[/THINK]"),
        (true, "never ends [/THI", "«never ends [/THI»"),
    ] {
        assert_eq!(parse_short(format(open), text), expected, "{text}");
    }
}

/// Granite and Command R7B put the answer between tags, too.
#[test]
fn tags_around_the_answer_do_not_belong_to_it() {
    let format = |reasoning, open| OutputFormat {
        reasoning,
        reasoning_open: open,
        ..with_functions(ToolFormat::Cohere)
    };
    use ReasoningFormat::{Cohere, Granite, SeedThink};
    for (reasoning, open, text, expected) in [
        (Granite, false, "<think>Hm.</think>\n\n<response>Hello </response>", "«Hm.»Hello "),
        (Granite, false, "Write <response> and </response>.", "Write <response> and </response>."),
        (Granite, false, "<response>a <b> </respons", "a <b> </respons"),
        (Granite, false, "<resp", "<resp"),
        (Cohere, false, "<|START_RESPONSE|>Hello.<|END_RESPONSE|>", "Hello."),
        (
            Cohere,
            false,
            "<|START_THINKING|>Hm.<|END_THINKING|><|START_ACTION|>[{\"tool_name\": \"g\"}]<|END_ACTION|>",
            "«Hm.»|g({})",
        ),
        (Cohere, true, "Hm.<|END_THINKING|><|START_RESPONSE|>Hello.", "«Hm.»Hello."),
        (SeedThink, false, "<seed:think>Hm.</seed:think>\nHello.", "«Hm.»Hello."),
    ] {
        assert_eq!(parse_short(format(reasoning, open), text), expected, "{text}");
    }
}

#[test]
fn call_ids_differ_within_a_request_and_are_reproducible() {
    let call = "<tool_call>{\"name\": \"g\"}</tool_call>";
    let ids = |format, key| -> Vec<String> {
        let mut parser = OutputParser::new(with_functions(format), key);
        let text = if format == ToolFormat::Hermes {
            call.repeat(3)
        } else {
            "[TOOL_CALLS][{\"name\":\"g\"}]".into()
        };
        let parts = parser.push(&text).into_iter();
        parts.filter_map(|part| if let Part::Call { id, .. } = part { Some(id) } else { None }).collect()
    };
    let first = ids(ToolFormat::Hermes, 1);
    assert_eq!(first, ids(ToolFormat::Hermes, 1));
    let all: std::collections::HashSet<String> =
        first.into_iter().chain(ids(ToolFormat::Hermes, 2)).collect();
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|id| id.starts_with("call_") && id.len() == 29), "{all:?}");
    assert!(ids(ToolFormat::Mistral, 1)[0].len() == 9);
}

#[test]
fn single_call_ends_the_output() {
    let call = "<tool_call>\n{\"name\": \"g\"}\n</tool_call>\n";
    let mut parser =
        OutputParser::new(OutputFormat { single_call: true, ..with_functions(ToolFormat::Hermes) }, 0);
    assert_eq!(short(&parser.push(&call.repeat(2))), "|g({})");
    assert!(parser.is_over() && parser.has_whole_calls() && parser.finish().is_empty());
}

/// Building blocks of texts in all formats.
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

/// A piece of an output with two words in it: reasoning, text, a lone marker, or a call.
fn output_piece(format: ToolFormat, kind: usize, a: &str, b: &str) -> String {
    if format == ToolFormat::Harmony {
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
            ToolFormat::Hermes => {
                format!("<tool_call>\n{{\"name\": \"f\", \"arguments\": {object}}}\n</tool_call>\n")
            }
            ToolFormat::QwenXml => {
                format!(
                    "<tool_call>\n<function=f>\n<parameter=a>\n{a}\n</parameter>\n<parameter={b}>\n[\"{b}\", 1]\n</parameter>\n</function>\n</tool_call>"
                )
            }
            ToolFormat::Seed => {
                format!(
                    "<seed:tool_call>\n<function=f>\n<parameter=a>{a}</parameter>\n<parameter={b}>[\"{b}\", 1]</parameter>\n</function>\n</seed:tool_call>"
                )
            }
            ToolFormat::MiniMax => {
                format!(
                    "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"a\">{a}</parameter>\n<parameter name=\"{b}\">[\"{b}\", 1]</parameter>\n</invoke>\n</minimax:tool_call>"
                )
            }
            ToolFormat::Glm => {
                format!(
                    "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>{a}</arg_value>\n<arg_key>{b}</arg_key>\n<arg_value>[\"{b}\", 1]</arg_value>\n</tool_call>"
                )
            }
            ToolFormat::Granite => format!("<|tool_call|>[{{\"name\": \"f\", \"arguments\": {object}}}]"),
            ToolFormat::Cohere => {
                format!("<|START_ACTION|>[{{\"tool_name\": \"f\", \"parameters\": {object}}}]<|END_ACTION|>")
            }
            ToolFormat::Pythonic => format!("[f(a='{a}', b=[\"{b}\"], c={a}), f({b}={a})]"),
            ToolFormat::Gemma => {
                format!(
                    "<start_function_call>call:f{{a:<escape>{a}<escape>,{b}:{{k:<escape>{b}<escape>}},c:{a}}}<end_function_call>"
                )
            }
            ToolFormat::Mistral => format!("[TOOL_CALLS][{{\"name\": \"f\", \"arguments\": {object}}}]"),
            ToolFormat::MistralArgs => format!("[TOOL_CALLS]f[ARGS]{object}"),
            ToolFormat::Phi => {
                format!("<|tool_call|>[{{\"name\": \"f\", \"arguments\": {object}}}]<|/tool_call|>")
            }
            ToolFormat::Llama => format!("{{\"name\": \"f\", \"parameters\": {object}}}"),
            _ => format!("{{\"name\": \"f\", \"arguments\": {object}}}"),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn parts_do_not_depend_on_the_cuts(text in text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        at in 0..ToolFormat::value_variants().len(), open: bool, think: bool, single: bool) {
        let reasoning = if think { ReasoningFormat::Think } else { ReasoningFormat::None };
        let output_format = OutputFormat { reasoning, reasoning_open: open, single_call: single, ..with_functions(ToolFormat::value_variants()[at]) };
        let mut places: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let pieces: Vec<&str> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let whole = parse(output_format.clone(), &[&text]);
        prop_assert_eq!(&parse(output_format, &pieces), &whole);
    }

    #[test]
    fn output_without_calls_keeps_all_text(text in text(), at in 0..ToolFormat::value_variants().len() - 1) {
        let parts = parse(with_functions(ToolFormat::value_variants()[at]), &[&text]);
        prop_assume!(parts.iter().all(|part| matches!(part, Part::Text(_))));
        prop_assert_eq!(short(&parts), text);
    }

    /// Reasoning, text and calls between stray markers, cut off anywhere: every word of the output goes out, in order.
    #[test]
    fn words_are_not_lost(pieces in prop::collection::vec((0..9usize, "[α-ω]{1,6}", "[α-ω]{1,6}"), 1..8), end: prop::sample::Index,
        at in 0..ToolFormat::value_variants().len(), open: bool, reasoning in prop::sample::select(ReasoningFormat::value_variants())) {
        let format = ToolFormat::value_variants()[at];
        let text: String = pieces.iter().map(|(kind, a, b)| output_piece(format, *kind, a, b)).collect();
        let text = &text[..text.floor_char_boundary(end.index(text.len() + 1))];
        let whole = OutputFormat { reasoning, reasoning_open: open, ..with_functions(format) };
        let letters = |text: &str| text.chars().filter(|c| matches!(c, 'α'..='ω')).collect::<String>();
        prop_assert_eq!(letters(&short(&parse(whole, &[text]))), letters(text), "{}", text);
    }

    /// Words in random text go out too, in the formats without a JSON object around the arguments.
    #[test]
    fn words_in_random_text_are_not_lost(text in text(), words in prop::collection::vec((any::<prop::sample::Index>(), "[α-ω]{1,3}"), 1..6),
        at in 0..6usize) {
        let mut text = text;
        for (place, word) in words {
            let place = text.floor_char_boundary(place.index(text.len() + 1));
            text.insert_str(place, &word);
        }
        let letters = |text: &str| text.chars().filter(|c| matches!(c, 'α'..='ω')).collect::<String>();
        let formats = [ToolFormat::QwenXml, ToolFormat::Pythonic, ToolFormat::Gemma, ToolFormat::Glm, ToolFormat::Seed, ToolFormat::MiniMax];
        let output_format = with_functions(formats[at]);
        prop_assert_eq!(letters(&short(&parse(output_format, &[&text]))), letters(&text), "{}", text);
    }

    #[test]
    fn arguments_of_complete_calls_are_json(words in prop::collection::vec(
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
        let format = [ToolFormat::Hermes, ToolFormat::Mistral, ToolFormat::QwenXml][at];
        let parts = parse(with_functions(format), &[&text]);
        let Some(Part::Arguments(arguments)) = parts.last() else { panic!("{parts:?}") };
        let arguments: serde_json::Value = serde_json::from_str(arguments).unwrap();
        prop_assert_eq!(&arguments["a"], &json);
    }
}

#[test]
fn output_after_an_unfinished_answer_is_answer() {
    for format in [ToolFormat::Hermes, ToolFormat::Harmony] {
        let within = OutputFormat { in_answer: true, functions: None, ..thinking(format, false) };
        assert_eq!(short(&parse(within, &["is ", "42"])), "is 42");
    }
}
