use std::sync::{Arc, LazyLock};

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

/// Harmony apart, whose markers must be special tokens.
const FORMATS: [Format; 9] = [
    Format::Hermes,
    Format::QwenXml,
    Format::Llama,
    Format::Pythonic,
    Format::Mistral,
    Format::MistralArgs,
    Format::Gemma,
    Format::Phi,
    Format::Json,
];

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
        let lark = lark(format, demand, &|marker| self.grammars.marker(marker));
        self.grammars.compile_around(lark.clone(), answer).unwrap_or_else(|e| panic!("{e}\n{lark}"))
    }

    /// Random allowed tokens, of which short ones are likelier to end it, as text.
    fn walk(&self, mut matcher: Matcher, seed: u64) -> String {
        let mut random = seed;
        let mut text = Detokenizer::new(Arc::clone(&self.tokenizer));
        let mut out = String::new();
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
            if allowed.contains(&self.eos) {
                break;
            }
            if step > 6 && self.close(&mut matcher, &mut text, &mut out) {
                continue;
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // What closes strings and objects, every other time: else free text goes on for ever.
            let closing = |token: &&u32| {
                let bytes = self.tokenizer.bytes(**token);
                matches!(
                    &*bytes,
                    b"\"" | b"}" | b"\n" | b"<" | b"0" | b"</" | b"parameter" | b">" | b"escape"
                )
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
    /// Ends free text, which random tokens never would.
    fn close(&self, matcher: &mut Matcher, text: &mut Detokenizer, out: &mut String) -> bool {
        for end in ["\n</parameter>\n", "<escape>"] {
            let tokens = self.tokenizer.encode(end, false).unwrap();
            if matcher.valid(&tokens) == Ok(tokens.len()) {
                for token in tokens {
                    matcher.push(token).unwrap();
                    *out += &text.push(token).unwrap_or_default();
                }
                return true;
            }
        }
        false
    }
}

fn read(format: Format, tools: &[Tool], text: &str) -> Vec<(String, Value)> {
    let manner = Manner { format, tools: Some(Known::of(tools)), ..Manner::default() };
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

/// Whatever the grammar lets through, the parser reads, and the arguments are of the schema.
#[test]
fn what_is_demanded_always_parses() {
    let tools = tools(false);
    let named = ToolChoice::Named("get_weather".into());
    for subject in [&*SMOLLM2, &QWEN] {
        for format in FORMATS {
            for (choice, seed) in [(&ToolChoice::Required, 1), (&ToolChoice::Required, 2), (&named, 3)] {
                let demand = Demand {
                    tools: &tools,
                    choice,
                    parallel: false,
                    reasoning: None,
                    answer: false,
                    lenient: false,
                };
                let text = subject.walk(subject.compile(format, &demand, None), seed);
                let calls = read(format, &tools, &text);
                assert_eq!(calls.len(), 1, "{format:?}: {text}");
                let (name, arguments) = &calls[0];
                match name.as_str() {
                    "now" => assert_eq!(arguments, &json!({})),
                    "get_weather" => {
                        assert!(arguments["city"].is_string() && arguments["days"].is_number(), "{text}");
                        assert!(arguments.get("at").is_none_or(Value::is_boolean), "{text}");
                    }
                    _ => assert!(arguments.is_object()),
                }
                assert!(*choice != named || name == "get_weather");
            }
        }
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
        let lark = lark(Format::Harmony, &demand, &|marker| format!("<[{}]>", id(marker)));
        let mut matcher = SMOLLM2.grammars.compile_around(lark, None).unwrap();
        let tokens = pieces.iter().flat_map(|piece| match piece.starts_with("<|") {
            true => vec![id(piece)],
            false => SMOLLM2.tokenizer.encode(piece, false).unwrap(),
        });
        let taken = tokens.into_iter().all(|token| matcher.push(token).is_ok());
        assert_eq!(taken && matcher.may_end(), fits, "{pieces:?}");
    }
}
