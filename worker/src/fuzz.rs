//! What fuzzers feed: made-up bytes through the code that reads what models and clients write. Each function panics where a
//! promise is broken. `fuzz/` runs them for long, the tests here for a moment.

use chat_template::ChatTemplate;
use clap::ValueEnum;
use ipc_proto::generate::{ChatPrompt, Message, Part, Role, Tool, ToolCall, ToolChoice};

use crate::adapters::reading::{Manner, Reading};
use crate::adapters::reasoning::ReasoningFormat;
use crate::adapters::tool_parser::grammar::{Demand, lark};
use crate::adapters::tool_parser::{Format, Known};

/// Templates of the kinds that there are: one that takes everything, one that forbids much, one with its own JSON.
const TEMPLATES: [&str; 3] = [
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}",
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}[{{ m.content.strip().split('x')[0] }}]{% endfor %}",
    "{{ messages | tojson(separators=(',', ':'), sort_keys=true, ensure_ascii=true) }}{{ extra | tojson }}",
];

/// The first bytes, as choices; the rest is text.
fn split<const N: usize>(data: &[u8]) -> ([u8; N], String) {
    let mut choices = [0; N];
    let (head, rest) = data.split_at(data.len().min(N));
    choices[..head.len()].copy_from_slice(head);
    (choices, String::from_utf8_lossy(rest).into_owned())
}

/// One of all that there are.
fn one<T: ValueEnum + Copy>(choice: u8) -> T {
    let all = T::value_variants();
    all[usize::from(choice) % all.len()]
}

/// Pieces that belong together, joined.
fn joined(parts: impl Iterator<Item = Part>) -> Vec<Part> {
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

/// An output in any format, cut anywhere: it says the same as uncut; where nothing is called, no text is lost; arguments that are
/// put together here are JSON.
///
/// # Panics
/// Where that is not so.
pub fn output(data: &[u8]) {
    let ([format, how, mut cut], text) = split(data);
    let format = one::<Format>(format);
    let tool = |name: &str, schema: &str| Tool {
        name: name.into(),
        parameters: Some(schema.into()),
        ..Tool::default()
    };
    let tools = [
        tool("f", r#"{"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}"#),
        tool("g", "{}"),
    ];
    let manner = Manner {
        reasoning: one::<ReasoningFormat>(how >> 3),
        open: how & 1 == 1,
        tools: (how & 2 == 0).then(|| Known::of(&tools)),
        single: how & 4 == 4,
        format,
        ..Manner::default()
    };
    let mut reading = Reading::new(manner.clone(), 7);
    let first = reading.push(&text);
    let whole = joined(first.into_iter().chain(reading.finish()));
    let (mut reading, mut pieces, mut rest) = (Reading::new(manner.clone(), 7), Vec::new(), text.as_str());
    while !rest.is_empty() {
        cut = cut.wrapping_mul(37).wrapping_add(11);
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(1 + usize::from(cut % 9)));
        pieces.extend(reading.push(piece));
        rest = after;
    }
    pieces.extend(reading.finish());
    assert_eq!(joined(pieces.into_iter()), whole, "the cut makes a difference");
    if manner.reasoning == ReasoningFormat::None
        && format != Format::Harmony
        && whole.iter().all(|part| matches!(part, Part::Text(_)))
    {
        let told: String =
            whole.iter().map(|part| if let Part::Text(text) = part { text.as_str() } else { "" }).collect();
        assert_eq!(told, text, "text is lost");
    }
    if matches!(format, Format::QwenXml | Format::Gemma | Format::Pythonic) {
        let arguments =
            whole.iter().filter_map(|part| if let Part::Arguments(text) = part { Some(text) } else { None });
        let last = usize::from(matches!(whole.last(), Some(Part::Arguments(_))));
        let ended = arguments.clone().count() - last;
        for text in arguments.take(ended) {
            assert!(serde_json::from_str::<serde_json::Map<_, _>>(text).is_ok(), "{text} is no object");
        }
    }
}

/// A function's schema: its grammar is made or refused, and its strings are found.
pub fn schema(data: &[u8]) {
    let ([format, how], text) = split(data);
    let tool = Tool { name: "f".into(), parameters: Some(text), strict: how & 1 == 1, ..Tool::default() };
    let tools = [tool];
    let demand = Demand {
        tools: &tools,
        choice: &ToolChoice::Required,
        parallel: how & 2 == 2,
        reasoning: one::<ReasoningFormat>(how >> 3).tags().map(|(open, close)| (open, close, how & 4 == 4)),
        answer: false,
        lenient: false,
    };
    let marker = |marker: &str| serde_json::Value::from(marker).to_string();
    let _ = lark(one::<Format>(format), &demand, &marker);
    let _ = Known::of(&tools);
}

/// A conversation, a line for each turn: a template renders it or says why not.
pub fn conversation(data: &[u8]) {
    let ([which, how], text) = split(data);
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
            messages.push(Message::result(None, None, content.into()));
            continue;
        }
        let call = ToolCall { id: "1".into(), name: "f".into(), arguments: content.into() };
        messages.push(Message {
            role,
            content: if head == "c" { String::new() } else { content.into() },
            tool_calls: if head == "c" { vec![call] } else { Vec::new() },
            ..Message::default()
        });
    }
    let tool =
        Tool { name: "f".into(), parameters: text.lines().last().map(str::to_owned), ..Tool::default() };
    let chat = ChatPrompt {
        messages,
        tools: if how & 1 == 1 { vec![tool] } else { Vec::new() },
        template_kwargs: (how & 2 == 2).then(|| text.lines().last().unwrap_or_default().to_owned()),
        ..ChatPrompt::default()
    };
    let _ = template.render(&chat, None);
}

#[cfg(test)]
mod tests;
