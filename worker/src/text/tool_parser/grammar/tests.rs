use std::sync::{Arc, LazyLock};

use clap::ValueEnum;
use ipc_proto::generate::{Constraint, Part};
use serde_json::Value;

use super::*;
use crate::adapters::detokenize::Detokenizer;
use crate::adapters::grammar::{Grammars, Matcher};
use crate::adapters::reading::{Manner, Reading};
use crate::adapters::reasoning::ReasoningFormat;
use crate::adapters::tokenizer::Tokenizer;
use crate::adapters::tokenizer::tests::{model, smollm2};
use crate::adapters::tool_parser::Known;

/// All but Harmony, whose markers must be special tokens.
fn formats() -> impl Iterator<Item = Format> {
    Format::value_variants().iter().copied().filter(|format| *format != Format::Harmony)
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
/// In its vocabulary `<tool_call>` is a token, though no special one.
static QWEN: LazyLock<Subject> = LazyLock::new(|| {
    subject(Tokenizer::read(&model("Qwen2.5-Coder-0.5B-Instruct")).unwrap(), 151_645, 151_936)
});

fn tools(strict: bool) -> Vec<Tool> {
    let tool = |name: &str, schema: Option<&str>| Tool {
        name: name.into(),
        parameters: schema.map(str::to_owned),
        strict,
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
    fn compile(&self, format: Format, demand: &Demand, answer: Option<&Constraint>) -> Matcher {
        let lark = lark(format, demand, &|marker| self.grammars.marker(marker)).unwrap();
        self.grammars.compile_around(lark.clone(), answer).unwrap_or_else(|e| panic!("{e}\n{lark}"))
    }

    /// What was thought, then random allowed tokens, of which short ones are likelier to end it, as text; with `more` it need
    /// not end where it may.
    fn walk(&self, mut matcher: Matcher, format: Format, thought: &str, seed: u64, more: bool) -> String {
        let mut random = seed;
        let mut text = Detokenizer::new(Arc::clone(&self.tokenizer));
        let mut out = String::new();
        assert!(self.add(&mut matcher, thought, &mut text, &mut out));
        // Ends free text, which random tokens never would.
        let end = if format == Format::Gemma { "<escape>" } else { "\n</parameter>\n" };
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
            // What closes strings and objects, every other time: else free text goes on for ever.
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
            match self.tokenizer.is_special(token) {
                true => out += &text.push_marker(token),
                false => out += &text.push(token).unwrap_or_default(),
            }
        }
        out + &text.finish()
    }
}

impl Subject {
    /// Goes on with `added` where that may come; says whether it could.
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

fn read(format: Format, tools: &[Tool], think: bool, text: &str) -> Vec<(String, Value)> {
    let reasoning = if think { ReasoningFormat::Think } else { ReasoningFormat::None };
    let manner =
        Manner { format, reasoning, open: think, tools: Some(Known::of(tools)), ..Manner::default() };
    let mut reading = Reading::new(manner, 0);
    let mut parts = reading.push(text);
    parts.extend(reading.finish());
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

/// Functions whose schemas are not just an object of plain members.
fn demanding(strict: bool) -> Vec<Tool> {
    let tool = |name: &str, schema: Value| Tool {
        name: name.into(),
        parameters: Some(schema.to_string()),
        strict,
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

/// Whether arguments are of the schema of their function.
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

/// Whatever the grammar lets through, the parser reads, and the arguments are of the schema.
#[test]
fn what_is_demanded_always_parses() {
    let plain = tools(false);
    let [strict, place] = [demanding(true), demanding(true).split_off(1)];
    let either = Tool {
        name: "either".into(),
        parameters: Some(
            r#"{"anyOf": [{"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"],
            "additionalProperties": false}]}"#
                .into(),
        ),
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
                let demand = Demand { tools, choice, parallel, reasoning, answer: false, lenient: false };
                let thought = if reasoning.is_some() { "Hm.</think>\n" } else { "" };
                let text =
                    subject.walk(subject.compile(format, &demand, None), format, thought, seed, parallel);
                let calls = read(format, tools, reasoning.is_some(), &text);
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
    let single = [Format::Llama, Format::Json];
    let never: Vec<Format> =
        formats().filter(|format| !several.contains(format) && !single.contains(format)).collect();
    assert!(never.is_empty(), "several calls were never written by {never:?}");
}

/// What no list of members and no terminal can say is refused by name where the function is strict.
#[test]
fn what_a_format_cannot_follow_is_named() {
    let refusal = |format, schema: Value, strict| {
        let tool = Tool { name: "f".into(), parameters: Some(schema.to_string()), strict, ..Tool::default() };
        let tools = [tool];
        let choice = &ToolChoice::Required;
        let demand =
            Demand { tools: &tools, choice, parallel: false, reasoning: None, answer: false, lenient: false };
        lark(format, &demand, &|marker| QWEN.grammars.marker(marker)).err()
    };
    let either = json!({"anyOf": [{"properties": {"a": {}}, "required": ["a"]}]});
    let date = json!({"properties": {"day": {"type": "string", "format": "date"}}});
    let name = json!({"properties": {"a>b: c": {"type": "string"}}});
    for format in formats() {
        let one_by_one = matches!(format, Format::QwenXml | Format::Gemma | Format::Pythonic);
        let quoted = format == Format::Pythonic;
        for (schema, word, refused) in [
            (&either, "\"anyOf\"", one_by_one),
            (&date, "\"format\"", one_by_one && !quoted),
            (&name, "a>b", one_by_one),
        ] {
            let error = refusal(format, schema.clone(), true);
            assert_eq!(error.is_some(), refused, "{format:?}: {error:?}");
            assert!(error.is_none_or(|error| error.contains(word)));
            assert_eq!(refusal(format, schema.clone(), false), None, "a hint only");
        }
    }
}

/// Where a schema cannot be followed, arguments are free: not always none.
#[test]
fn arguments_that_are_not_followed_are_free() {
    let tools =
        [Tool { name: "f".into(), parameters: Some(r#"{"oneOf": [{}, {}]}"#.into()), ..Tool::default() }];
    let choice = &ToolChoice::Required;
    let demand =
        Demand { tools: &tools, choice, parallel: false, reasoning: None, answer: false, lenient: false };
    for (format, text) in [
        (
            Format::QwenXml,
            "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=b>\n1\n</parameter>\n</function>\n</tool_call>",
        ),
        (Format::Gemma, "<start_function_call>call:f{a:<escape>x<escape>,b:1}<end_function_call>"),
        (Format::Pythonic, "[f(a=\"x\", b=1)]"),
    ] {
        let mut matcher = QWEN.compile(format, &demand, None);
        assert!(accepts(&QWEN, &mut matcher, text), "{format:?}");
        assert_eq!(read(format, &tools, false, text), [("f".to_owned(), json!({"a": "x", "b": 1}))]);
    }
}

#[test]
fn a_model_may_think_before_it_answers() {
    let tags = ReasoningFormat::MistralThink.tags().map(|(open, close)| (open, close, false));
    let choice = &ToolChoice::Auto;
    let demand = Demand { tools: &[], choice, parallel: true, reasoning: tags, answer: true, lenient: false };
    let answer = Constraint::JsonSchema(r#"{"const": 1}"#.into());
    for (text, fits) in
        [("1", true), ("[THINK]Hm[/TH.[/THINK]1", true), ("[THINK]1", false), ("Hm.[/THINK]1", false)]
    {
        let mut matcher = SMOLLM2.compile(Format::Mistral, &demand, Some(&answer));
        assert_eq!(accepts(&SMOLLM2, &mut matcher, text), fits, "{text}");
    }
}

fn accepts(subject: &Subject, matcher: &mut Matcher, text: &str) -> bool {
    let tokens = subject.tokenizer.encode(text, false).unwrap();
    tokens.iter().all(|token| matcher.push(*token).is_ok()) && matcher.may_end()
}

#[test]
fn answers_stay_free_where_calls_are_strict() {
    let tools = tools(true);
    let choice = &ToolChoice::Auto;
    let demand =
        Demand { tools: &tools, choice, parallel: true, reasoning: None, answer: false, lenient: false };
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
        let mut matcher = QWEN.compile(Format::Hermes, &demand, None);
        assert_eq!(accepts(&QWEN, &mut matcher, &text), fits, "{text}");
    }
    let json = r#"{"name": "set", "parameters": {"b": null}}"#;
    for (text, fits) in
        [("Hello {x}", true), (json, true), (r#"{"name": "set", "parameters": {"b": 1}}"#, false)]
    {
        let mut matcher = QWEN.compile(Format::Llama, &demand, None);
        assert_eq!(accepts(&QWEN, &mut matcher, text), fits, "{text}");
    }
}

#[test]
fn answers_and_calls_can_both_be_demanded() {
    let tools = tools(false);
    let choice = &ToolChoice::Auto;
    let demand =
        Demand { tools: &tools, choice, parallel: true, reasoning: None, answer: true, lenient: true };
    let answer = Constraint::JsonSchema(r#"{"const": [1]}"#.into());
    for (text, fits) in [
        ("[1]", true),
        ("[2]", false),
        ("<tool_call>\n{\"name\": \"set\", \"arguments\": {\"any\": 1}}\n</tool_call>", true),
    ] {
        let mut matcher = QWEN.compile(Format::Hermes, &demand, Some(&answer));
        assert_eq!(accepts(&QWEN, &mut matcher, text), fits, "{text}");
    }
}

#[test]
fn thinking_comes_first() {
    let tags = ReasoningFormat::Think.tags().map(|(open, close)| (open, close, true));
    let choice = &ToolChoice::Auto;
    let demand = Demand { tools: &[], choice, parallel: true, reasoning: tags, answer: true, lenient: false };
    let answer = Constraint::JsonSchema(r#"{"const": 1}"#.into());
    for (text, fits) in
        [("Hm.\n</think>\n\n1", true), ("Hm </b> </think>1", true), ("1", false), ("</think>2", false)]
    {
        let mut matcher = SMOLLM2.compile(Format::Hermes, &demand, Some(&answer));
        assert_eq!(accepts(&SMOLLM2, &mut matcher, text), fits, "{text}");
    }
}

/// gpt-oss' markers stand in for by special tokens of another model.
#[test]
fn messages_of_channels_are_demanded() {
    const MARKERS: [(&str, u32); 5] =
        [("<|start|>", 4), ("<|channel|>", 5), ("<|message|>", 6), ("<|constrain|>", 7), ("<|end|>", 8)];
    let id = |marker: &str| MARKERS.iter().find(|(name, _)| *name == marker).unwrap().1;
    let tools = tools(true);
    let thought = ["<|channel|>", "analysis", "<|message|>", "Hm.", "<|end|>", "<|start|>", "assistant"];
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
    let joined = |more: &[&'static str]| [&thought, more].concat();
    for (choice, pieces, fits) in [
        (ToolChoice::Auto, answer.to_vec(), true),
        (ToolChoice::Auto, joined(&answer), true),
        (ToolChoice::Auto, joined(&call), true),
        (ToolChoice::Auto, wrong.to_vec(), false),
        (ToolChoice::Required, joined(&call), true),
        (ToolChoice::Required, answer.to_vec(), false),
    ] {
        let demand = Demand {
            tools: &tools,
            choice: &choice,
            parallel: false,
            reasoning: None,
            answer: false,
            lenient: false,
        };
        let lark = lark(Format::Harmony, &demand, &|marker| format!("<[{}]>", id(marker))).unwrap();
        let mut matcher = SMOLLM2.grammars.compile_around(lark, None).unwrap();
        let tokens = pieces.iter().flat_map(|piece| match piece.starts_with("<|") {
            true => vec![id(piece)],
            false => SMOLLM2.tokenizer.encode(piece, false).unwrap(),
        });
        let taken = tokens.into_iter().all(|token| matcher.push(token).is_ok());
        assert_eq!(taken && matcher.may_end(), fits, "{pieces:?}");
    }
}
