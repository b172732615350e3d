use std::sync::{Arc, LazyLock};

use clap::ValueEnum;
use ipc_proto::generate::{Constraint, Part, TextGrammar, ToolInput};
use serde_json::Value;

use super::*;
use crate::text::detokenize::Detokenizer;
use crate::text::grammar::{Grammars, Matcher};
use crate::text::output_parser::{OutputFormat, OutputParser};
use crate::text::reasoning::ReasoningFormat;
use crate::text::tokenizer::Tokenizer;
use crate::text::tokenizer::tests::{model, smollm2};
use crate::text::tool_parser::functions::Functions;

/// All formats except Harmony, whose markers must be special tokens.
fn formats() -> impl Iterator<Item = ToolFormat> {
    ToolFormat::value_variants().iter().copied().filter(|format| *format != ToolFormat::Harmony)
}

struct Subject {
    tokenizer: Arc<Tokenizer>,
    grammars: Grammars,
    eos: u32,
}

fn subject(tokenizer: Tokenizer, eos: u32, rows: u32) -> Subject {
    let tokenizer = Arc::new(tokenizer);
    let grammars = Grammars::new(Arc::clone(&tokenizer), Arc::new([eos].into()), rows);
    Subject { tokenizer, grammars, eos }
}

static SMOLLM2: LazyLock<Subject> = LazyLock::new(|| subject(smollm2(), 2, 49152));
/// In this vocabulary, `<tool_call>` is a token, but no special one.
static QWEN: LazyLock<Subject> =
    LazyLock::new(|| subject(Tokenizer::read(&model("toy-qwen2")).unwrap(), 151_645, 151_936));

fn tools(strict: bool) -> Vec<Tool> {
    let tool = |name: &str, schema: Option<&str>| Tool {
        name: name.into(),
        input: ToolInput::Json { schema: schema.map(str::to_owned), strict },
        ..Tool::default()
    };
    vec![
        tool("now", None),
        tool(
            "get_weather",
            Some(
                r##"{"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["C", "F"]},
                    "days": {"type": "integer"}, "at": {"$ref": "#/$defs/place"}}, "required": ["city", "days"],
                    "$defs": {"place": {"type": "boolean"}}}"##,
            ),
        ),
        tool(
            "set",
            Some(r#"{"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}}"#),
        ),
    ]
}

impl Subject {
    fn compile(&self, format: ToolFormat, spec: &GrammarSpec, answer: Option<&Constraint>) -> Matcher {
        let lark = lark_grammar(format, spec, &|marker| self.grammars.marker(marker)).unwrap();
        self.grammars.compile_with_answer(lark.clone(), answer).unwrap_or_else(|e| panic!("{e}\n{lark}"))
    }

    /// The text of the reasoning and then of random allowed tokens. Prefers tokens that end the output. With `more`, goes on
    /// beyond the first possible end now and then.
    fn walk(
        &self,
        mut matcher: Matcher,
        format: ToolFormat,
        reasoning_text: &str,
        seed: u64,
        more: bool,
    ) -> String {
        let mut random = seed;
        let mut text = Detokenizer::new(Arc::clone(&self.tokenizer));
        let mut out = String::new();
        assert!(self.add(&mut matcher, reasoning_text, &mut text, &mut out));
        // Ends free text. Random tokens never would.
        let end = match format {
            ToolFormat::Gemma => "<escape>",
            ToolFormat::Gemma4 => "<|\"|>",
            ToolFormat::Glm => "</arg_value>\n",
            ToolFormat::Seed | ToolFormat::MiniMax => "</parameter>\n",
            _ => "\n</parameter>\n",
        };
        for step in 0..900 {
            if matcher.is_complete() {
                break;
            }
            let mut words = vec![0u32; matcher.words()];
            matcher.mask(&mut words).unwrap();
            let bit = |(at, word): (usize, &u32)| {
                let word = *word;
                (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u32 * 32 + bit)
            };
            let allowed: Vec<u32> = words.iter().enumerate().flat_map(bit).collect();
            assert!(!allowed.is_empty(), "after {out}");
            if allowed.contains(&self.eos)
                && !(more && step < 200 && allowed.len() > 1 && random >> 40 & 1 == 1)
            {
                break;
            }
            let allowed: Vec<u32> = allowed.into_iter().filter(|token| *token != self.eos).collect();
            if step > 6 && step % 3 == 0 && self.add(&mut matcher, end, &mut text, &mut out) {
                continue;
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Prefers tokens that close strings and objects. Otherwise free text goes on for ever.
            let on = more && step < 200 && random >> 41 & 1 == 1;
            let closing = |token: &&u32| match &*self.tokenizer.bytes(**token) {
                b"]" => !on,
                bytes => matches!(
                    bytes,
                    b"\"" | b"}" | b"\n" | b"<" | b"0" | b"</" | b"parameter" | b">" | b"escape"
                ),
            };
            let closers: Vec<u32> = allowed.iter().filter(closing).copied().collect();
            let from = if step % 4 != 0 && !closers.is_empty() { &closers } else { &allowed };
            let token = from[(random >> 33) as usize % from.len()];
            matcher.push(token).unwrap();
            if self.tokenizer.is_special(token) {
                out += &text.push_marker(token);
            } else {
                out += &text.push(token).unwrap_or_default();
            }
        }
        out + &text.finish()
    }
}

impl Subject {
    /// Whether a constraint accepts a whole text.
    fn accepts(&self, constraint: &Constraint, text: &str) -> bool {
        let mut matcher = self.grammars.compile(constraint).unwrap();
        let tokens = self.tokenizer.encode(text, false).unwrap();
        tokens.iter().all(|token| matcher.push(*token).is_ok()) && matcher.may_end()
    }

    /// Pushes `added` if it may come. Returns whether it may.
    fn add(&self, matcher: &mut Matcher, added: &str, text: &mut Detokenizer, out: &mut String) -> bool {
        let tokens = self.tokenizer.encode(added, false).unwrap();
        if matcher.valid(&tokens) != Ok(tokens.len()) {
            return false;
        }
        for token in tokens {
            matcher.push(token).unwrap();
            *out += &text.push(token).unwrap_or_default();
        }
        true
    }
}

fn parse_calls(format: ToolFormat, tools: &[Tool], think: bool, text: &str) -> Vec<(String, Value)> {
    let reasoning = if think { ReasoningFormat::Think } else { ReasoningFormat::None };
    let output_format = OutputFormat {
        tool_format: format,
        reasoning,
        reasoning_open: think,
        functions: Some(Functions::from_tools(tools)),
        ..OutputFormat::default()
    };
    let mut parser = OutputParser::new(output_format, 0);
    let mut parts = parser.push(text);
    parts.extend(parser.finish());
    let mut calls: Vec<(String, String)> = Vec::new();
    for part in parts {
        match part {
            Part::Call { name, .. } => calls.push((name, String::new())),
            Part::Arguments(more) => calls.last_mut().unwrap().1.push_str(&more),
            Part::Text(other) => panic!("{format:?}: \"{other}\" is no call in {text}"),
            Part::Reasoning(_) => {}
        }
    }
    calls
        .into_iter()
        .map(|(name, arguments)| {
            let value = serde_json::from_str(&arguments).unwrap_or_else(|e| panic!("{e}: {arguments}"));
            (name, value)
        })
        .collect()
}

/// Functions with schemas beyond an object of plain members.
fn complex_tools(strict: bool) -> Vec<Tool> {
    let tool = |name: &str, schema: Value| Tool {
        name: name.into(),
        input: ToolInput::Json { schema: Some(schema.to_string()), strict },
        ..Tool::default()
    };
    let made = json!({"type": "object", "required": ["kind", "unit", "code", "short", "tags", "size"], "properties": {
        "kind": {"type": "string", "const": "x<y"}, "unit": {"$ref": "#/$defs/Unit"},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d$"}, "short": {"type": "string", "minLength": 2, "maxLength": 4},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
        "size": {"anyOf": [{"type": "integer", "maximum": 9, "minimum": 0}, {"type": "null"}]}},
        "$defs": {"Unit": {"type": "string", "enum": ["C", "\"F\""]}}});
    let place = json!({"$ref": "#/$defs/Place", "$defs": {
        "Place": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}}});
    vec![tool("make", made), tool("place", place)]
}

/// Whether arguments match the schema of their function.
fn fits(name: &str, arguments: &Value) -> bool {
    let text = |key: &str| arguments[key].as_str().unwrap_or_default();
    let length = |key: &str| text(key).chars().count();
    match name {
        "now" => *arguments == json!({}),
        "get_weather" => {
            length("city") <= 8
                && arguments["city"].is_string()
                && arguments["days"].is_number()
                && arguments.get("at").is_none_or(Value::is_boolean)
        }
        "make" => {
            let code: Vec<char> = text("code").chars().collect();
            let tags = arguments["tags"].as_array().is_some_and(|tags| {
                tags.len() <= 2
                    && tags.iter().all(|tag| tag.as_str().is_some_and(|tag| tag.chars().count() <= 3))
            });
            let coded = matches!(code[..], [a, b, '-', digit] if a.is_ascii_uppercase() && b.is_ascii_uppercase() && digit.is_ascii_digit());
            let size =
                arguments["size"].is_null() || arguments["size"].as_u64().is_some_and(|size| size <= 9);
            text("kind") == "x<y"
                && ["C", "\"F\""].contains(&text("unit"))
                && coded
                && tags
                && size
                && (2..=4).contains(&length("short"))
        }
        "place" => arguments["on"].is_boolean(),
        _ => arguments.is_object(),
    }
}

/// The parser reads every output that the grammar allows, and the arguments match the schema.
#[test]
fn allowed_calls_are_parsed_and_match_their_schema() {
    let plain = tools(false);
    let [strict, place] = [complex_tools(true), complex_tools(true).split_off(1)];
    let schema = r#"{"anyOf": [{"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"],
            "additionalProperties": false}]}"#;
    let either = Tool {
        name: "either".into(),
        input: ToolInput::Json { schema: Some(schema.into()), strict: false },
        ..Tool::default()
    };
    let named = ToolChoice::Named("get_weather".into());
    let required = ToolChoice::Required;
    let tags = ReasoningFormat::Think.tags().map(|(open, close)| (open, close, true));
    let cases: [(&[Tool], &ToolChoice, bool, _); 7] = [
        (&plain, &required, false, None),
        (&plain, &named, false, None),
        (&plain, &required, true, None),
        (&strict, &required, false, None),
        (&strict, &required, true, tags),
        (&place, &required, false, None),
        (std::slice::from_ref(&either), &required, true, tags),
    ];
    let mut several = HashSet::new();
    for subject in [&*SMOLLM2, &QWEN] {
        for format in formats() {
            for (seed, (tools, choice, parallel, reasoning)) in (1..).zip(cases) {
                let spec = GrammarSpec { tools, choice, parallel, reasoning, answer: false, lenient: false };
                let reasoning_text = if reasoning.is_some() { "Hm.</think>\n" } else { "" };
                let text = subject.walk(
                    subject.compile(format, &spec, None),
                    format,
                    reasoning_text,
                    seed,
                    parallel,
                );
                let calls = parse_calls(format, tools, reasoning.is_some(), &text);
                assert!(!calls.is_empty() && (parallel || calls.len() == 1), "{format:?}: {text}");
                if calls.len() > 1 {
                    several.insert(format);
                }
                for (name, arguments) in &calls {
                    assert!(fits(name, arguments), "{format:?}: {name} {arguments} of {text}");
                    assert!(*choice != named || name == "get_weather");
                }
            }
        }
    }
    // Two have a test of their own, because random tokens rarely go on to a second call.
    let single = [ToolFormat::Llama, ToolFormat::Json, ToolFormat::Glm, ToolFormat::Cohere];
    let never: Vec<ToolFormat> =
        formats().filter(|format| !several.contains(format) && !single.contains(format)).collect();
    assert!(never.is_empty(), "no output had several calls in {never:?}");
}

#[test]
fn several_calls_follow_one_another_as_in_the_published_templates() {
    let tools = tools(false);
    for (format, text) in [
        (ToolFormat::Glm, "<tool_call>now\n</tool_call>\n<tool_call>now\n</tool_call>"),
        (
            ToolFormat::MiniMax,
            "<minimax:tool_call>\n<invoke name=\"now\">\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
        ),
        (
            ToolFormat::Cohere,
            r#"<|START_ACTION|>[{"tool_name": "now", "parameters": {}}, {"tool_name": "now", "parameters": {}}]<|END_ACTION|>"#,
        ),
    ] {
        for parallel in [true, false] {
            let spec = GrammarSpec {
                tools: &tools,
                choice: &ToolChoice::Required,
                parallel,
                reasoning: None,
                answer: false,
                lenient: false,
            };
            let mut matcher = QWEN.compile(format, &spec, None);
            assert_eq!(accepts(&QWEN, &mut matcher, text), parallel, "{format:?}");
        }
        let calls = parse_calls(format, &tools, false, text);
        assert_eq!(calls, [("now".to_owned(), json!({})), ("now".to_owned(), json!({}))], "{format:?}");
    }
}

/// A strict function is refused if neither a list of members nor a terminal can express its schema.
#[test]
fn inexpressible_schema_of_a_strict_function_names_the_keyword() {
    let refusal = |format, schema: Value, strict| {
        let input = ToolInput::Json { schema: Some(schema.to_string()), strict };
        let tool = Tool { name: "f".into(), input, ..Tool::default() };
        let tools = [tool];
        let choice = &ToolChoice::Required;
        let spec = GrammarSpec {
            tools: &tools,
            choice,
            parallel: false,
            reasoning: None,
            answer: false,
            lenient: false,
        };
        lark_grammar(format, &spec, &|marker| QWEN.grammars.marker(marker)).err()
    };
    let either = json!({"anyOf": [{"properties": {"a": {}}, "required": ["a"]}]});
    let host = json!({"properties": {"host": {"type": "string", "format": "ipv6"}}});
    let name = json!({"properties": {"a>b: c": {"type": "string"}}});
    for format in formats() {
        let elements = [ToolFormat::QwenXml, ToolFormat::Seed, ToolFormat::MiniMax, ToolFormat::Glm];
        let lists = [ToolFormat::Gemma, ToolFormat::Gemma4, ToolFormat::Pythonic, ToolFormat::Lfm2];
        let one_by_one = elements.contains(&format) || lists.contains(&format);
        let quoted = matches!(format, ToolFormat::Pythonic | ToolFormat::Lfm2);
        for (schema, word, refused) in [
            (&either, "\"anyOf\"", one_by_one),
            (&host, "\"format\"", one_by_one && !quoted),
            (&name, "a>b", one_by_one),
        ] {
            let error = refusal(format, schema.clone(), true);
            assert_eq!(error.is_some(), refused, "{format:?}: {error:?}");
            assert!(error.is_none_or(|error| error.contains(word)));
            assert_eq!(refusal(format, schema.clone(), false), None, "a hint only");
        }
    }
}

/// A schema that the format cannot express allows any arguments, not only empty ones.
#[test]
fn inexpressible_schema_allows_any_arguments() {
    let input = ToolInput::Json { schema: Some(r#"{"oneOf": [{}, {}]}"#.into()), strict: false };
    let tools = [Tool { name: "f".into(), input, ..Tool::default() }];
    let choice = &ToolChoice::Required;
    let spec = GrammarSpec {
        tools: &tools,
        choice,
        parallel: false,
        reasoning: None,
        answer: false,
        lenient: false,
    };
    for (format, text) in [
        (
            ToolFormat::QwenXml,
            "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=b>\n1\n</parameter>\n</function>\n</tool_call>",
        ),
        (
            ToolFormat::Seed,
            "<seed:tool_call>\n<function=f>\n<parameter=a>x</parameter>\n<parameter=b>1</parameter>\n</function>\n</seed:tool_call>",
        ),
        (
            ToolFormat::MiniMax,
            "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"a\">x</parameter>\n<parameter name=\"b\">1</parameter>\n</invoke>\n</minimax:tool_call>",
        ),
        (
            ToolFormat::Glm,
            "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n<arg_key>b</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
        ),
        (ToolFormat::Gemma, "<start_function_call>call:f{a:<escape>x<escape>,b:1}<end_function_call>"),
        (ToolFormat::Gemma4, "<|tool_call>call:f{a:<|\"|>x<|\"|>,b:1}<tool_call|>"),
        (ToolFormat::Pythonic, "[f(a=\"x\", b=1)]"),
        (ToolFormat::Lfm2, "<|tool_call_start|>[f(a=\"x\", b=1)]<|tool_call_end|>"),
    ] {
        let mut matcher = QWEN.compile(format, &spec, None);
        assert!(accepts(&QWEN, &mut matcher, text), "{format:?}");
        assert_eq!(parse_calls(format, &tools, false, text), [("f".to_owned(), json!({"a": "x", "b": 1}))]);
    }
}

#[test]
fn reasoning_may_precede_the_answer() {
    let tags = ReasoningFormat::MistralThink.tags().map(|(open, close)| (open, close, false));
    let choice = &ToolChoice::Auto;
    let spec =
        GrammarSpec { tools: &[], choice, parallel: true, reasoning: tags, answer: true, lenient: false };
    let answer = Constraint::JsonSchema(r#"{"const": 1}"#.into());
    for (text, fits) in
        [("1", true), ("[THINK]Hm[/TH.[/THINK]1", true), ("[THINK]1", false), ("Hm.[/THINK]1", false)]
    {
        let mut matcher = SMOLLM2.compile(ToolFormat::Mistral, &spec, Some(&answer));
        assert_eq!(accepts(&SMOLLM2, &mut matcher, text), fits, "{text}");
    }
}

fn accepts(subject: &Subject, matcher: &mut Matcher, text: &str) -> bool {
    let tokens = subject.tokenizer.encode(text, false).unwrap();
    tokens.iter().all(|token| matcher.push(*token).is_ok()) && matcher.may_end()
}

#[test]
fn strict_functions_leave_the_answer_free() {
    let tools = tools(true);
    let choice = &ToolChoice::Auto;
    let spec =
        GrammarSpec { tools: &tools, choice, parallel: true, reasoning: None, answer: false, lenient: false };
    let call = "<tool_call>\n{\"name\": \"set\", \"arguments\": {\"a\": true}}\n</tool_call>";
    for (text, fits) in [
        ("Hello there, a < b <tool>.".to_owned(), true),
        (call.to_owned(), true),
        (format!("I look.\n{call}\n{call}"), true),
        (format!("I look.\n{}", call.replace("true", "3")), false),
        (call.replace("set", "unset"), false),
        (format!("{call} and more"), false),
        ("{\"name\": \"set\", \"arguments\": {\"a\": 3}}".to_owned(), false),
        ("{\"name\": \"set\", \"arguments\": {\"a\": true}}".to_owned(), true),
    ] {
        let mut matcher = QWEN.compile(ToolFormat::Hermes, &spec, None);
        assert_eq!(accepts(&QWEN, &mut matcher, &text), fits, "{text}");
    }
    let json = r#"{"name": "set", "parameters": {"b": null}}"#;
    for (text, fits) in
        [("Hello {x}", true), (json, true), (r#"{"name": "set", "parameters": {"b": 1}}"#, false)]
    {
        let mut matcher = QWEN.compile(ToolFormat::Llama, &spec, None);
        assert_eq!(accepts(&QWEN, &mut matcher, text), fits, "{text}");
    }
}

#[test]
fn answer_and_calls_can_both_be_constrained() {
    let tools = tools(false);
    let choice = &ToolChoice::Auto;
    let spec =
        GrammarSpec { tools: &tools, choice, parallel: true, reasoning: None, answer: true, lenient: true };
    let answer = Constraint::JsonSchema(r#"{"const": [1]}"#.into());
    for (text, fits) in [
        ("[1]", true),
        ("[2]", false),
        ("<tool_call>\n{\"name\": \"set\", \"arguments\": {\"any\": 1}}\n</tool_call>", true),
    ] {
        let mut matcher = QWEN.compile(ToolFormat::Hermes, &spec, Some(&answer));
        assert_eq!(accepts(&QWEN, &mut matcher, text), fits, "{text}");
    }
}

#[test]
fn reasoning_precedes_the_call() {
    let tags = ReasoningFormat::Think.tags().map(|(open, close)| (open, close, true));
    let choice = &ToolChoice::Auto;
    let spec =
        GrammarSpec { tools: &[], choice, parallel: true, reasoning: tags, answer: true, lenient: false };
    let answer = Constraint::JsonSchema(r#"{"const": 1}"#.into());
    for (text, fits) in
        [("Hm.\n</think>\n\n1", true), ("Hm </b> </think>1", true), ("1", false), ("</think>2", false)]
    {
        let mut matcher = SMOLLM2.compile(ToolFormat::Hermes, &spec, Some(&answer));
        assert_eq!(accepts(&SMOLLM2, &mut matcher, text), fits, "{text}");
    }
}

/// Special tokens of another model take the place of gpt-oss' markers.
#[test]
fn harmony_messages_are_constrained() {
    const MARKERS: [(&str, u32); 5] =
        [("<|start|>", 4), ("<|channel|>", 5), ("<|message|>", 6), ("<|constrain|>", 7), ("<|end|>", 8)];
    let id = |marker: &str| MARKERS.iter().find(|(name, _)| *name == marker).unwrap().1;
    let tools = tools(true);
    let reasoning_text =
        ["<|channel|>", "analysis", "<|message|>", "Hm.", "<|end|>", "<|start|>", "assistant"];
    let answer = ["<|channel|>", "final", "<|message|>", "Hello"];
    let call = [
        "<|channel|>",
        "commentary to=functions.set ",
        "<|constrain|>",
        "json",
        "<|message|>",
        "{\"b\": null}",
    ];
    let wrong =
        ["<|channel|>", "commentary to=functions.set ", "<|constrain|>", "json", "<|message|>", "{\"b\": 1}"];
    let joined = |more: &[&'static str]| [&reasoning_text, more].concat();
    for (choice, pieces, fits) in [
        (ToolChoice::Auto, answer.to_vec(), true),
        (ToolChoice::Auto, joined(&answer), true),
        (ToolChoice::Auto, joined(&call), true),
        (ToolChoice::Auto, wrong.to_vec(), false),
        (ToolChoice::Required, joined(&call), true),
        (ToolChoice::Required, answer.to_vec(), false),
    ] {
        let spec = GrammarSpec {
            tools: &tools,
            choice: &choice,
            parallel: false,
            reasoning: None,
            answer: false,
            lenient: false,
        };
        let lark = lark_grammar(ToolFormat::Harmony, &spec, &|marker| format!("<[{}]>", id(marker))).unwrap();
        let mut matcher = SMOLLM2.grammars.compile_with_answer(lark, None).unwrap();
        let tokens = pieces.iter().flat_map(|piece| {
            if piece.starts_with("<|") {
                vec![id(piece)]
            } else {
                SMOLLM2.tokenizer.encode(piece, false).unwrap()
            }
        });
        let taken = tokens.into_iter().all(|token| matcher.push(token).is_ok());
        assert_eq!(taken && matcher.may_end(), fits, "{pieces:?}");
    }
}

/// A grammar of short edits. Every walk ends soon.
const EDITS: &str =
    "start: \"Begin\\n\" line{1,3} \"End\" LF?\nline: /[+\\-]/ /[^\\n]{0,4}/ LF\n%import common.LF\n";

/// In every format, the text of a call matches the tool's grammar, and the parser reads it unchanged.
#[test]
fn text_of_a_call_matches_the_tools_grammar() {
    let tool = |name: &str, grammar: Option<TextGrammar>| Tool {
        name: name.into(),
        input: ToolInput::Text(grammar),
        ..Tool::default()
    };
    let choice = &ToolChoice::Required;
    let regex = TextGrammar::Regex(r#"["\\\n]{1,3}x"#.into());
    let cases = [
        (TextGrammar::Lark(EDITS.into()), Constraint::Lark(EDITS.into())),
        (regex.clone(), Constraint::Regex(r#"["\\\n]{1,3}x"#.into())),
    ];
    for subject in [&*SMOLLM2, &QWEN] {
        for format in formats() {
            for (seed, (grammar, original)) in (1..).zip(&cases) {
                let tools = [tool("edit", Some(grammar.clone()))];
                let spec = GrammarSpec {
                    tools: &tools,
                    choice,
                    parallel: false,
                    reasoning: None,
                    answer: false,
                    lenient: false,
                };
                let text = subject.walk(subject.compile(format, &spec, None), format, "", seed, false);
                let calls = parse_calls(format, &tools, false, &text);
                let [(name, arguments)] = &calls[..] else { panic!("{format:?}: {text}") };
                assert_eq!(name, "edit");
                let input = arguments[Tool::TEXT_ARGUMENT].as_str().unwrap();
                assert_eq!(*arguments, json!({ Tool::TEXT_ARGUMENT: input }));
                assert!(subject.accepts(original, input), "{format:?}: {input:?} of {text}");
            }
        }
    }
}

/// Without a grammar, a call has the one argument too, even if other functions are not strict.
#[test]
fn text_without_grammar_is_the_only_argument() {
    let tools = [Tool { name: "say".into(), input: ToolInput::Text(None), ..Tool::default() }];
    let choice = &ToolChoice::Required;
    for format in formats() {
        for lenient in [false, true] {
            let spec = GrammarSpec {
                tools: &tools,
                choice,
                parallel: false,
                reasoning: None,
                answer: false,
                lenient,
            };
            let text = SMOLLM2.walk(SMOLLM2.compile(format, &spec, None), format, "", 3, false);
            let calls = parse_calls(format, &tools, false, &text);
            let members = calls[0].1.as_object().unwrap();
            assert!(members.len() == 1 && members[Tool::TEXT_ARGUMENT].is_string(), "{format:?}: {text}");
        }
    }
}

#[test]
fn unusable_grammar_names_the_tool() {
    let grammar = TextGrammar::Lark("start: \"a\" start".into());
    let tools = [Tool { name: "edit".into(), input: ToolInput::Text(Some(grammar)), ..Tool::default() }];
    for format in ToolFormat::value_variants() {
        let spec = GrammarSpec {
            tools: &tools,
            choice: &ToolChoice::Auto,
            parallel: false,
            reasoning: None,
            answer: false,
            lenient: false,
        };
        let error = lark_grammar(*format, &spec, &|marker| literal(marker)).unwrap_err();
        assert!(error.starts_with("the grammar of the tool \"edit\" "), "{error}");
    }
}
