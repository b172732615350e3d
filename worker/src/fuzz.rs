//! Fuzz targets: arbitrary bytes as input for the code that parses the output of models and the input of clients. A target panics
//! when an invariant breaks. `fuzz/` runs the targets for a long time, the tests here briefly.

use std::sync::OnceLock;

use chat_template::ChatTemplate;
use clap::ValueEnum;
use image_input::Processor;
use ipc_proto::generate::{ChatPrompt, Content, Message, Part, Role, Tool, ToolCall, ToolChoice, ToolInput};

use serde_json::json;

use crate::text::output_parser::{OutputFormat, OutputParser};
use crate::text::reasoning::ReasoningFormat;
use crate::text::tool_parser::ToolFormat;
use crate::text::tool_parser::functions::Functions;
use crate::text::tool_parser::grammar::{GrammarSpec, lark_grammar};

/// A template that accepts every conversation, one with many restrictions, and one that writes JSON itself.
const TEMPLATES: [&str; 3] = [
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}",
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}[{{ m.content.strip().split('x')[0] }}]{% endfor %}",
    "{{ messages | tojson(separators=(',', ':'), sort_keys=true, ensure_ascii=true) }}{{ extra | tojson }}",
];

/// The first `N` bytes as choices, and the rest as text.
fn split_choices<const N: usize>(data: &[u8]) -> ([u8; N], String) {
    let mut choices = [0; N];
    let (head, rest) = data.split_at(data.len().min(N));
    choices[..head.len()].copy_from_slice(head);
    (choices, String::from_utf8_lossy(rest).into_owned())
}

/// A variant of an enum, chosen by a byte.
fn variant<T: ValueEnum + Copy>(choice: u8) -> T {
    let all = T::value_variants();
    all[usize::from(choice) % all.len()]
}

/// Merges consecutive parts of one kind.
fn merge_parts(parts: impl Iterator<Item = Part>) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::new();
    for part in parts {
        match (all.last_mut(), part) {
            (Some(Part::Text(last)), Part::Text(more))
            | (Some(Part::Reasoning(last)), Part::Reasoning(more))
            | (Some(Part::Arguments(last)), Part::Arguments(more)) => last.push_str(&more),
            (_, part) => all.push(part),
        }
    }
    all
}

/// An output in any format, cut into arbitrary pieces. Checks three invariants. The cuts do not change the result. An output
/// without calls loses no text. Arguments that the parser itself assembles are JSON.
///
/// # Panics
/// When an invariant breaks.
pub fn output(data: &[u8]) {
    let ([format, flags, seed], text) = split_choices(data);
    let format = variant::<ToolFormat>(format);
    let tool = |name: &str, schema: &str| Tool {
        name: name.into(),
        input: ToolInput::Json { schema: Some(schema.into()), strict: false },
        ..Tool::default()
    };
    let tools = [
        tool("f", r#"{"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}"#),
        tool("g", "{}"),
    ];
    let output_format = OutputFormat {
        reasoning: variant::<ReasoningFormat>(flags >> 3),
        reasoning_open: flags & 1 == 1,
        functions: (flags & 2 == 0).then(|| Functions::from_tools(&tools)),
        single_call: flags & 4 == 4,
        tool_format: format,
        ..OutputFormat::default()
    };
    let mut parser = OutputParser::new(output_format.clone(), 7);
    let parts = parser.push(&text);
    let whole = merge_parts(parts.into_iter().chain(parser.finish()));
    let reasons = output_format.reasoning != ReasoningFormat::None;
    let cut = parse_in_pieces(output_format, &text, seed);
    assert_eq!(cut, whole, "the result depends on the cuts");
    if !reasons && format != ToolFormat::Harmony {
        assert_text_is_complete(&whole, &text);
    }
    let elements = [ToolFormat::QwenXml, ToolFormat::Seed, ToolFormat::MiniMax, ToolFormat::Glm];
    let lists = [ToolFormat::Gemma, ToolFormat::Gemma4, ToolFormat::Pythonic, ToolFormat::Lfm2];
    if elements.contains(&format) || lists.contains(&format) {
        assert_arguments_are_json(&whole);
    }
}

/// Parses `text` in pieces of 1 to 9 bytes, chosen by `seed`.
fn parse_in_pieces(output_format: OutputFormat, text: &str, seed: u8) -> Vec<Part> {
    let mut parser = OutputParser::new(output_format, 7);
    let (mut parts, mut rest, mut random) = (Vec::new(), text, seed);
    while !rest.is_empty() {
        random = random.wrapping_mul(37).wrapping_add(11);
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(1 + usize::from(random % 9)));
        parts.extend(parser.push(piece));
        rest = after;
    }
    parts.extend(parser.finish());
    merge_parts(parts.into_iter())
}

/// Asserts that parts without a call contain all of `text`.
fn assert_text_is_complete(parts: &[Part], text: &str) {
    let mut answer = String::new();
    for part in parts {
        let Part::Text(piece) = part else { return };
        answer += piece;
    }
    assert_eq!(answer, text, "text is lost");
}

/// Asserts that all arguments but the last, which may be cut off, are JSON objects.
fn assert_arguments_are_json(parts: &[Part]) {
    let complete = match parts.split_last() {
        Some((Part::Arguments(_), rest)) => rest,
        _ => parts,
    };
    for part in complete {
        if let Part::Arguments(text) = part {
            assert!(serde_json::from_str::<serde_json::Map<_, _>>(text).is_ok(), "{text} is no object");
        }
    }
}

/// A function's schema: compiling its grammar and finding its string parameters must not panic.
pub fn schema(data: &[u8]) {
    let ([format, flags], text) = split_choices(data);
    let input = ToolInput::Json { schema: Some(text), strict: flags & 1 == 1 };
    let tool = Tool { name: "f".into(), input, ..Tool::default() };
    let tools = [tool];
    let spec = GrammarSpec {
        tools: &tools,
        choice: &ToolChoice::Required,
        parallel: flags & 2 == 2,
        reasoning: variant::<ReasoningFormat>(flags >> 3)
            .tags()
            .map(|(open, close)| (open, close, flags & 4 == 4)),
        answer: false,
        lenient: false,
    };
    let marker = |marker: &str| serde_json::Value::from(marker).to_string();
    let _ = lark_grammar(variant::<ToolFormat>(format), &spec, &marker);
    let _ = Functions::from_tools(&tools);
}

/// A conversation with a line for each turn: rendering it may fail but must not panic.
pub fn conversation(data: &[u8]) {
    let ([which, flags], text) = split_choices(data);
    let Ok(template) = ChatTemplate::new(TEMPLATES[usize::from(which) % TEMPLATES.len()], [].into()) else {
        return;
    };
    let mut messages: Vec<Message> = Vec::new();
    for line in text.lines().take(32) {
        let (head, content) = line.split_at(line.ceil_char_boundary(line.len().min(1)));
        let role = match head {
            "s" => Role::System,
            "a" | "c" => Role::Assistant,
            "t" => Role::Tool,
            _ => Role::User,
        };
        if role == Role::Tool {
            messages.push(Message::result(None, None, content));
            continue;
        }
        let call = ToolCall { id: "1".into(), name: "f".into(), arguments: content.into() };
        messages.push(Message {
            role,
            content: if head == "c" { Content::default() } else { content.into() },
            tool_calls: if head == "c" { vec![call] } else { Vec::new() },
            ..Message::default()
        });
    }
    let input = ToolInput::Json { schema: text.lines().last().map(str::to_owned), strict: false };
    let tool = Tool { name: "f".into(), input, ..Tool::default() };
    let chat = ChatPrompt {
        messages,
        tools: if flags & 1 == 1 { vec![tool] } else { Vec::new() },
        template_kwargs: (flags & 2 == 2).then(|| text.lines().last().unwrap_or_default().to_owned()),
        ..ChatPrompt::default()
    };
    let _ = template.render(&chat, None);
}

/// The settings of vision towers, one for each way to cut an image.
fn processors() -> &'static [Processor] {
    static PROCESSORS: OnceLock<Vec<Processor>> = OnceLock::new();
    PROCESSORS.get_or_init(|| {
        let vision = json!({"image_size": 32, "patch_size": 8});
        let read = |family: &str| {
            Processor::new(&json!({"model_type": family, "vision_config": vision}), None, None).ok().flatten()
        };
        ["idefics3", "qwen2_vl", "gemma3", "llava", "mistral3"].into_iter().filter_map(read).collect()
    })
}

/// An image file. What is decoded has as many pixels as its header says, and what is prepared has as many values as its shape and as
/// many image tokens as features.
///
/// # Panics
/// When an invariant breaks.
pub fn image(data: &[u8]) {
    let limits = image_input::Limits { bytes: 1 << 16, pixels: 1 << 16 };
    let Ok(picture) = image_input::decode(data, limits) else { return };
    assert_eq!(picture.rgb.len(), 3 * picture.width as usize * picture.height as usize);
    assert!(picture.rgb.len() <= 3 << 16, "the limit holds");
    for processor in processors() {
        let Ok(prepared) = processor.prepare(&picture, image_input::Detail::Low) else { continue };
        assert_eq!(prepared.pixels.len(), prepared.shape.iter().product::<usize>());
        assert_eq!(prepared.text.matches(processor.image_token()).count(), prepared.features as usize);
    }
}

#[cfg(test)]
mod tests;
