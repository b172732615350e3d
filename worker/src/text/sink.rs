//! Collects the parts of an output as the parsers find them.

use std::hash::{DefaultHasher, Hash, Hasher};

use ipc_proto::generate::Part;

/// Collects parsed parts. Consecutive pieces of one kind become one part.
#[derive(Debug)]
pub struct Sink {
    parts: Vec<Part>,
    id_key: u64,
    short_ids: bool,
    calls_begun: u64,
    calls_ended: u64,
    /// All arguments of the last call.
    last_arguments: String,
    /// The arguments of a call before the last one are no JSON.
    has_broken_call: bool,
}

impl Sink {
    /// An empty sink. Call ids derive from `id_key`; `short_ids` makes ids of nine hexadecimal digits.
    pub fn new(id_key: u64, short_ids: bool) -> Self {
        Self {
            parts: Vec::new(),
            id_key,
            short_ids,
            calls_begun: 0,
            calls_ended: 0,
            last_arguments: String::new(),
            has_broken_call: false,
        }
    }

    /// Adds text to the answer.
    pub fn text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// Adds text to the reasoning.
    pub fn reasoning(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Reasoning(last)) => last.push_str(text),
            _ => self.parts.push(Part::Reasoning(text.to_owned())),
        }
    }

    /// Begins a call of the function `name`.
    pub fn begin_call(&mut self, name: &str) {
        let id = self.next_id();
        self.has_broken_call |= self.calls_begun > 0 && !is_json(&self.last_arguments);
        self.last_arguments.clear();
        self.calls_begun += 1;
        self.parts.push(Part::Call { id, name: name.to_owned() });
    }

    /// Adds text to the arguments of the current call.
    pub fn arguments(&mut self, text: &str) {
        self.last_arguments.push_str(text);
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Arguments(last)) => last.push_str(text),
            _ => self.parts.push(Part::Arguments(text.to_owned())),
        }
    }

    /// Ends the current call.
    pub fn end_call(&mut self) {
        self.calls_ended += 1;
    }

    /// Whether there are calls, and the arguments of each are a whole JSON value. A call that was cut off has none.
    pub fn has_whole_calls(&self) -> bool {
        self.calls_begun > 0 && !self.has_broken_call && is_json(&self.last_arguments)
    }

    /// Whether a call has ended.
    pub fn has_ended_call(&self) -> bool {
        self.calls_ended > 0
    }

    /// Takes the parts collected since the last time.
    pub fn take(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.parts)
    }

    fn next_id(&self) -> String {
        let hash = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (self.id_key, self.calls_begun, salt).hash(&mut hasher);
            hasher.finish()
        };
        if self.short_ids {
            return format!("{:016x}", hash(0))[..9].to_owned();
        }
        format!("call_{:016x}{:08x}", hash(0), hash(1) >> 32)
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
