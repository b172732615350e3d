//! gpt-oss: messages with a channel and an optional recipient. The channel `analysis` is reasoning, a message with a recipient
//! is a call, and any other message is the answer.
//!
//! `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>`

use crate::text::sink::Sink;

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
const CONSTRAIN: &str = "<|constrain|>";
const END: &str = "<|end|>";
const CALL: &str = "<|call|>";
const RETURN: &str = "<|return|>";
/// Harmony's markers, all special tokens.
pub const MARKERS: [&str; 7] = [START, CHANNEL, MESSAGE, CONSTRAIN, END, CALL, RETURN];
/// Markers that end a message. The last two also begin the next one.
const ENDS: [&str; 5] = [END, CALL, RETURN, START, CHANNEL];
/// Bytes of a header, at most. Longer text is the answer.
const MAX_HEADER: usize = 256;

/// The state of one output.
#[derive(Debug)]
pub struct Harmony {
    /// The request has functions.
    has_tools: bool,
    state: State,
    over: bool,
}

#[derive(Debug)]
enum State {
    /// Between messages. Holds the beginning of the next header.
    Header(String),
    /// Within a message. Holds a possible beginning of a marker.
    Message(Recipient, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipient {
    Reasoning,
    Answer,
    Function { has_arguments: bool },
}

impl Harmony {
    /// A parser before the first character. The prompt ends with the assistant's `<|start|>`, or within the answer.
    pub fn new(has_tools: bool, in_answer: bool) -> Self {
        let state = if in_answer {
            State::Message(Recipient::Answer, String::new())
        } else {
            State::Header(String::new())
        };
        Self { has_tools, state, over: false }
    }

    /// Whether the output is inside the reasoning.
    pub fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Message(Recipient::Reasoning, _))
    }

    /// Whether the output has ended.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Parses the next character.
    pub fn push(&mut self, c: char, sink: &mut Sink) {
        match &mut self.state {
            State::Header(_) => self.push_header(c, sink),
            State::Message(..) => self.push_message(c, sink),
        }
    }

    fn push_header(&mut self, c: char, sink: &mut Sink) {
        let State::Header(header) = &mut self.state else { return };
        header.push(c);
        if let Some(text) = header.strip_suffix(MESSAGE) {
            let recipient = parse_header(text, self.has_tools, sink);
            self.state = State::Message(recipient, String::new());
        } else if header.len() > MAX_HEADER {
            sink.text(header);
            self.state = State::Message(Recipient::Answer, String::new());
        }
    }

    fn push_message(&mut self, c: char, sink: &mut Sink) {
        let State::Message(recipient, held) = &mut self.state else { return };
        held.push(c);
        loop {
            if let Some(end) = ENDS.iter().find(|end| *end == held) {
                end_message(*recipient, sink);
                self.over = matches!(*end, CALL | RETURN);
                let begins_next = matches!(*end, START | CHANNEL);
                self.state = State::Header(if begins_next { (*end).to_owned() } else { String::new() });
                return;
            }
            if held.is_empty() || ENDS.iter().any(|end| end.starts_with(held.as_str())) {
                return;
            }
            let first = held.remove(0);
            push_content(recipient, first, sink);
        }
    }

    /// Ends the output: hands over the text held back so far.
    pub fn finish(&mut self, sink: &mut Sink) {
        match std::mem::replace(&mut self.state, State::Header(String::new())) {
            // The model did not write the format at all. The beginning of a header, in contrast, is no text.
            State::Header(header) if !MARKERS.iter().any(|marker| header.contains(marker)) => {
                sink.text(&header);
            }
            State::Header(_) => {}
            State::Message(mut recipient, held) => {
                held.chars().for_each(|c| push_content(&mut recipient, c, sink));
                // The end of the turn may take the place of the marker.
                end_message(recipient, sink);
            }
        }
    }
}

/// The recipient in a message's header. A function's call begins here.
fn parse_header(header: &str, has_tools: bool, sink: &mut Sink) -> Recipient {
    let channel = header.split(CHANNEL).nth(1).unwrap_or_default();
    let first_word = |text: &str| {
        let end = text.find(|c: char| c.is_whitespace() || c == '<').unwrap_or(text.len());
        text[..end].to_owned()
    };
    if let Some((_, to)) = header.split_once("to=").filter(|_| has_tools) {
        let name = first_word(to);
        sink.begin_call(name.strip_prefix("functions.").unwrap_or(&name));
        return Recipient::Function { has_arguments: false };
    }
    match first_word(channel.trim_start()).as_str() {
        "analysis" => Recipient::Reasoning,
        _ => Recipient::Answer,
    }
}

fn push_content(recipient: &mut Recipient, c: char, sink: &mut Sink) {
    let mut bytes = [0; 4];
    let text = c.encode_utf8(&mut bytes);
    match recipient {
        Recipient::Reasoning => sink.reasoning(text),
        Recipient::Answer => sink.text(text),
        Recipient::Function { has_arguments } => {
            *has_arguments = true;
            sink.arguments(text);
        }
    }
}

fn end_message(recipient: Recipient, sink: &mut Sink) {
    if let Recipient::Function { has_arguments } = recipient {
        if !has_arguments {
            sink.arguments("{}");
        }
        sink.end_call();
    }
}
