//! gpt-oss: messages with a channel and perhaps a recipient. `analysis` is reasoning, a recipient makes a call, everything
//! else is the answer.
//!
//! `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>`

use crate::adapters::reading::Sink;

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
const CONSTRAIN: &str = "<|constrain|>";
const END: &str = "<|end|>";
const CALL: &str = "<|call|>";
const RETURN: &str = "<|return|>";
/// All of them are special tokens.
pub const MARKERS: [&str; 7] = [START, CHANNEL, MESSAGE, CONSTRAIN, END, CALL, RETURN];
/// What ends a message, or begins another without an end.
const ENDS: [&str; 5] = [END, CALL, RETURN, START, CHANNEL];
/// A header is shorter; text without one is the answer.
const MAX_HEADER: usize = 256;

/// The state of one output.
#[derive(Debug)]
pub struct Harmony {
    /// Whether there are tools.
    tools: bool,
    state: State,
    over: bool,
}

#[derive(Debug)]
enum State {
    /// Between messages, and what has come of the next one's head.
    Header(String),
    Message(To, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Reasoning,
    Answer,
    /// Whether arguments have come.
    Function(bool),
}

impl Harmony {
    /// Nothing has come; the prompt has ended with the assistant's `<|start|>`, or within the answer.
    pub fn new(tools: bool, answering: bool) -> Self {
        let state =
            if answering { State::Message(To::Answer, String::new()) } else { State::Header(String::new()) };
        Self { tools, state, over: false }
    }

    /// Whether the model reasons, or says to whom it speaks next.
    pub fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Message(To::Reasoning, _))
    }

    /// Whether nothing can follow.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Takes the next character.
    pub fn feed(&mut self, c: char, sink: &mut Sink) {
        match &mut self.state {
            State::Header(head) => {
                head.push(c);
                if let Some(text) = head.strip_suffix(MESSAGE) {
                    let to = addressee(text, self.tools, sink);
                    self.state = State::Message(to, String::new());
                } else if head.len() > MAX_HEADER {
                    let text = std::mem::take(head);
                    self.state = State::Message(To::Answer, String::new());
                    sink.text(&text);
                }
            }
            State::Message(to, held) => {
                held.push(c);
                loop {
                    if let Some(end) = ENDS.iter().find(|end| *end == held) {
                        let head =
                            if matches!(*end, START | CHANNEL) { (*end).to_owned() } else { String::new() };
                        self.over = matches!(*end, CALL | RETURN);
                        close(*to, sink);
                        self.state = State::Header(head);
                        return;
                    }
                    if held.is_empty() || ENDS.iter().any(|end| end.starts_with(held.as_str())) {
                        return;
                    }
                    let first = held.remove(0);
                    say(to, first, sink);
                }
            }
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self, sink: &mut Sink) {
        match std::mem::replace(&mut self.state, State::Header(String::new())) {
            // Text of a model that does not keep to the form; the beginning of a head is none.
            State::Header(head) if !MARKERS.iter().any(|marker| head.contains(marker)) => sink.text(&head),
            State::Header(_) => {}
            State::Message(mut to, held) => {
                held.chars().for_each(|c| say(&mut to, c, sink));
                // A turn may end with its message.
                close(to, sink);
            }
        }
    }
}

/// Whom a message is for, by its head.
fn addressee(head: &str, tools: bool, sink: &mut Sink) -> To {
    let channel = head.split(CHANNEL).nth(1).unwrap_or_default();
    let word = |text: &str| {
        let end = text.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(text.len());
        text[..end].to_owned()
    };
    if let Some((_, to)) = head.split_once("to=").filter(|_| tools) {
        let name = word(to);
        sink.call(name.strip_prefix("functions.").unwrap_or(&name));
        return To::Function(false);
    }
    match word(channel.trim_start()).as_str() {
        "analysis" => To::Reasoning,
        _ => To::Answer,
    }
}

fn say(to: &mut To, c: char, sink: &mut Sink) {
    let mut bytes = [0; 4];
    let text = c.encode_utf8(&mut bytes);
    match to {
        To::Reasoning => sink.reasoning(text),
        To::Answer => sink.text(text),
        To::Function(some) => {
            *some = true;
            sink.arguments(text);
        }
    }
}

fn close(to: To, sink: &mut Sink) {
    if let To::Function(some) = to {
        if !some {
            sink.arguments("{}");
        }
        sink.end();
    }
}
