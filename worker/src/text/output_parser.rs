//! From the text of an output to its parts: reasoning, calls, answer. A pure fold: how the text is cut makes no difference.

use std::hash::{DefaultHasher, Hash, Hasher};

use ipc_proto::generate::Part;

use super::reasoning::{Reasoning, ReasoningFormat, Side};
use super::tool_parser::harmony::Harmony;
use super::tool_parser::{Calls, Format, Known};

/// How an output is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// How the model marks what it thinks.
    pub reasoning: ReasoningFormat,
    /// The prompt has ended with the opening tag.
    pub open: bool,
    /// The prompt has ended with the closing tag: the model is not to think.
    pub thought: bool,
    /// How the model writes calls.
    pub format: Format,
    /// The functions there are; `None` where a request has none, and nothing is a call.
    pub tools: Option<Known>,
    /// The first call ends the output.
    pub single: bool,
    /// The prompt has ended within the answer.
    pub answering: bool,
}

impl Default for Manner {
    fn default() -> Self {
        let reasoning = ReasoningFormat::None;
        Self {
            reasoning,
            open: false,
            thought: false,
            format: Format::Json,
            tools: None,
            single: false,
            answering: false,
        }
    }
}

/// The state of one output.
#[derive(Debug)]
pub struct Reading {
    sink: Sink,
    layers: Layers,
    single: bool,
}

#[derive(Debug)]
enum Layers {
    Plain,
    Harmony(Harmony),
    Tags(Reasoning, Option<Calls>),
}

/// Takes what was read; pieces of one kind become one part.
#[derive(Debug)]
pub struct Sink {
    parts: Vec<Part>,
    key: u64,
    short_ids: bool,
    called: u64,
    ended: u64,
}

impl Reading {
    /// Nothing has come. Calls' ids follow from `key`, which must differ from request to request and be the same when a
    /// request is taken up again.
    pub fn new(manner: Manner, key: u64) -> Self {
        let Manner { reasoning, open, format, tools, single, answering, .. } = manner;
        // What begins within the answer is not thought.
        let reasoning = if answering { ReasoningFormat::None } else { reasoning };
        // Mistral's templates take ids of nine letters and digits only.
        let short_ids = matches!(format, Format::Mistral | Format::MistralArgs);
        let sink = Sink { parts: Vec::new(), key, short_ids, called: 0, ended: 0 };
        let layers = match (format, tools) {
            (Format::Harmony, tools) => Layers::Harmony(Harmony::new(tools.is_some(), answering)),
            (_, None) if reasoning == ReasoningFormat::None => Layers::Plain,
            (format, tools) => {
                let calls = tools.map(|known| Calls::new(format, known));
                Layers::Tags(Reasoning::new(reasoning, open), calls)
            }
        };
        Self { sink, layers, single }
    }

    /// Takes more text; gives what is certain now.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        if matches!(self.layers, Layers::Plain) {
            self.sink.text(text);
        } else {
            for c in text.chars() {
                if self.is_over() {
                    break;
                }
                self.feed(c);
            }
        }
        self.sink.take()
    }

    fn feed(&mut self, c: char) {
        let sink = &mut self.sink;
        match &mut self.layers {
            Layers::Plain => sink.text(c.encode_utf8(&mut [0; 4])),
            Layers::Harmony(harmony) => harmony.feed(c, sink),
            Layers::Tags(reasoning, calls) => {
                reasoning.feed(c, &mut |side, text| told(side, text, calls, sink))
            }
        }
    }

    /// Nothing more comes: what was held back.
    pub fn finish(&mut self) -> Vec<Part> {
        if !self.is_over() {
            let sink = &mut self.sink;
            match &mut self.layers {
                Layers::Plain => {}
                Layers::Harmony(harmony) => harmony.finish(sink),
                Layers::Tags(reasoning, calls) => {
                    reasoning.finish(&mut |side, text| told(side, text, calls, sink));
                    if let Some(calls) = calls {
                        calls.finish(sink);
                    }
                }
            }
        }
        self.sink.take()
    }

    /// Whether the model thinks.
    pub fn is_reasoning(&self) -> bool {
        match &self.layers {
            Layers::Plain => false,
            Layers::Harmony(harmony) => harmony.is_reasoning(),
            Layers::Tags(reasoning, _) => reasoning.is_reasoning(),
        }
    }

    /// Whether some function was called.
    pub fn has_called(&self) -> bool {
        self.sink.has_called()
    }

    /// Whether nothing that follows counts.
    pub fn is_over(&self) -> bool {
        let ended = match &self.layers {
            Layers::Harmony(harmony) => harmony.is_over(),
            _ => false,
        };
        ended || (self.single && self.sink.ended > 0)
    }
}

fn told(side: Side, text: &str, calls: &mut Option<Calls>, sink: &mut Sink) {
    match (side, calls) {
        (Side::Reasoning, _) => sink.reasoning(text),
        (Side::Answer, Some(calls)) => text.chars().for_each(|c| calls.feed(c, sink)),
        (Side::Answer, None) => sink.text(text),
    }
}

impl Sink {
    /// More of the answer.
    pub fn text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// More of what the model thinks.
    pub fn reasoning(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Reasoning(last)) => last.push_str(text),
            _ => self.parts.push(Part::Reasoning(text.to_owned())),
        }
    }

    /// A call begins.
    pub fn call(&mut self, name: &str) {
        let id = self.id();
        self.called += 1;
        self.parts.push(Part::Call { id, name: name.to_owned() });
    }

    /// More of its arguments.
    pub fn arguments(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Arguments(last)) => last.push_str(text),
            _ => self.parts.push(Part::Arguments(text.to_owned())),
        }
    }

    /// A call ends.
    pub fn end(&mut self) {
        self.ended += 1;
    }

    /// Whether a call has begun.
    pub fn has_called(&self) -> bool {
        self.called > 0
    }

    fn id(&self) -> String {
        let hash = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (self.key, self.called, salt).hash(&mut hasher);
            hasher.finish()
        };
        if self.short_ids {
            return format!("{:016x}", hash(0))[..9].to_owned();
        }
        format!("call_{:016x}{:08x}", hash(0), hash(1) >> 32)
    }

    fn take(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.parts)
    }
}

#[cfg(test)]
mod tests;
