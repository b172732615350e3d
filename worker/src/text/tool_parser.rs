//! Finds function calls in what a model writes: one file for each way of writing them.
//!
//! Every format is a fold over characters, so how a text is cut into pieces makes no difference. What turns out to be no call
//! is the answer's text again, marker and all; only a call's own markers, and white space between them, are dropped.

use std::collections::{HashMap, HashSet};

use clap::ValueEnum;
use ipc_proto::generate::Tool;

use super::reading::Sink;

mod arguments;
mod body;
mod envelope;
mod gemma;
pub mod grammar;
pub mod harmony;
mod hermes;
mod json;
mod llama;
mod mistral;
mod phi;
mod pythonic;
mod qwen_xml;
mod schema;
mod text;

use body::{Body, Fed};
pub use text::Hold;

/// A way of writing function calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Format {
    /// JSON between `<tool_call>` tags: Hermes, Qwen 2.5 and 3, SmolLM3.
    Hermes,
    /// `<function=…>` and `<parameter=…>` tags: Qwen3-Coder.
    QwenXml,
    /// A JSON object with `parameters`: Llama 3.
    Llama,
    /// A Python list of calls: Llama 3.2 and 4.
    Pythonic,
    /// `[TOOL_CALLS]` and a JSON list: Mistral up to v7.
    Mistral,
    /// `[TOOL_CALLS]name[ARGS]{…}`: Mistral from v11 on.
    MistralArgs,
    /// `<start_function_call>call:name{…}<end_function_call>`: FunctionGemma.
    Gemma,
    /// `<|tool_call|>` and a JSON list: Phi 4.
    Phi,
    /// A JSON object, bare or fenced, that is the whole answer.
    Json,
    /// Channels with a recipient: gpt-oss.
    Harmony,
}

/// What a format looks like from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Markers {
    /// Texts that begin calls; several calls may follow one.
    pub open: &'static [&'static str],
    /// Beginnings of calls where the answer begins, which belong to them; such calls must name a function that there is.
    pub first: &'static [char],
    /// Texts that may come after calls.
    pub close: &'static [&'static str],
    /// Without a marker of its own, only the name tells a call from other text of its form.
    pub known_only: bool,
}

impl Format {
    /// The format that a chat template teaches; one that has no tools at all is given Hermes' (see
    /// [`super::chat_template`]).
    pub fn detect(template: &str) -> Self {
        Self::detect_with_evidence(template).0
    }

    /// The format that a chat template shows, and the text in the template that shows it; none where no text does.
    pub fn detect_with_evidence(template: &str) -> (Self, &'static [&'static str]) {
        const EVIDENCE: [(Format, &[&str]); 11] = [
            (Format::Harmony, &["<|channel|>", "<|start|>"]),
            (Format::MistralArgs, &["[TOOL_CALLS]", "[ARGS]"]),
            (Format::Mistral, &["[TOOL_CALLS]"]),
            (Format::QwenXml, &["<function=", "<parameter="]),
            (Format::Phi, &["<|tool_call|>"]),
            (Format::Gemma, &["<start_function_call>"]),
            (Format::Hermes, &["<tool_call>"]),
            (Format::Pythonic, &["func_name1("]),
            (Format::Llama, &["<|python_tag|>"]),
            (Format::Llama, &[r#""parameters": dictionary"#]),
            (Format::Json, &["tools"]),
        ];
        let shown = |(_, texts): &&(Format, &[&str])| texts.iter().all(|text| template.contains(text));
        EVIDENCE.iter().find(shown).copied().unwrap_or((Self::Hermes, &[]))
    }

    /// Its markers; harmony has its own way.
    pub fn markers(self) -> Markers {
        match self {
            Self::Hermes => hermes::MARKERS,
            Self::QwenXml => qwen_xml::MARKERS,
            Self::Llama => llama::MARKERS,
            Self::Pythonic => pythonic::MARKERS,
            Self::Mistral | Self::MistralArgs => mistral::MARKERS,
            Self::Gemma => gemma::MARKERS,
            Self::Phi => phi::MARKERS,
            Self::Json => json::MARKERS,
            Self::Harmony => Markers::default(),
        }
    }

    /// Markers that may be special tokens, which are not text otherwise.
    pub fn special(self) -> Vec<&'static str> {
        let Markers { open, close, .. } = self.markers();
        let more: &[&str] = match self {
            Self::Harmony => &harmony::MARKERS,
            Self::MistralArgs => &mistral::INNER,
            Self::Gemma => &[gemma::ESCAPE],
            _ => &[],
        };
        [open, close, more].concat()
    }

    fn body(self) -> Body {
        match self {
            Self::MistralArgs => Body::Named(mistral::Named::default()),
            Self::QwenXml => Body::Xml(qwen_xml::Xml::default()),
            Self::Pythonic => Body::Pythonic(pythonic::Pythonic::default()),
            Self::Gemma => Body::Gemma(gemma::Gemma::default()),
            _ => Body::Json(envelope::Envelopes::default()),
        }
    }
}

/// What a parser needs to know of a request's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(HashMap<String, HashSet<String>>);

impl Known {
    /// Names, and which parameters are strings.
    pub fn of(tools: &[Tool]) -> Self {
        let strings = |tool: &Tool| -> HashSet<String> {
            let schema = tool.parameters.as_ref().and_then(|text| serde_json::from_str(text).ok());
            schema::texts(&schema.unwrap_or_default()).into_iter().collect()
        };
        Self(tools.iter().map(|tool| (tool.name.clone(), strings(tool))).collect())
    }

    /// Whether there is such a function.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a function's parameter is a string.
    pub fn is_string(&self, name: &str, parameter: &str) -> bool {
        self.0.get(name).is_some_and(|strings| strings.contains(parameter))
    }
}

/// The state of one output.
#[derive(Debug)]
pub struct Calls {
    format: Format,
    markers: Markers,
    known: Known,
    state: State,
    /// Nothing but white space has come, or only calls.
    first: bool,
    /// The last that came was a call.
    after_call: bool,
}

#[derive(Debug)]
enum State {
    Text(Hold),
    /// The marker that began it and the text since, until a call has come.
    Body(Opened, Box<Body>),
    /// After the calls of one marker: a closing marker may come.
    Closing(String),
}

/// What is text again if a body turns out to be none.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    raw: String,
    /// Only the name tells a call from other text of its form.
    known_only: bool,
}

impl Calls {
    /// Nothing has come.
    pub fn new(format: Format, known: Known) -> Self {
        let state = State::Text(Hold::default());
        Self { format, markers: format.markers(), known, state, first: true, after_call: false }
    }

    /// Takes the next character.
    pub fn feed(&mut self, c: char, sink: &mut Sink) {
        match &mut self.state {
            State::Text(hold) => {
                if self.first && hold.is_blank() && self.markers.first.contains(&c) {
                    let blank = hold.take();
                    return self.open(blank, "", Some(c), sink);
                }
                let mut said = false;
                let found = hold.feed(c, self.markers.open, |text| {
                    said = true;
                    sink.text(text);
                });
                if said {
                    self.first = false;
                    self.after_call = false;
                }
                if let Some(which) = found {
                    let blank = hold.take();
                    self.open(blank, self.markers.open[which], None, sink);
                }
            }
            State::Body(opened, body) => {
                let fed = body.feed(c, &self.known, opened.known_only, sink);
                self.after(fed, c, sink);
            }
            State::Closing(held) => {
                held.push(c);
                let text = held.trim_start();
                if text.is_empty() || self.markers.close.iter().any(|close| close.starts_with(text)) {
                    if self.markers.close.contains(&text) {
                        self.state = State::Text(Hold::default());
                    }
                    return;
                }
                let held = std::mem::take(held);
                self.state = State::Text(Hold::default());
                held.chars().for_each(|c| self.feed(c, sink));
            }
        }
    }

    /// Begins a body after white space and `marker`, with `c` if it belongs to it.
    fn open(&mut self, blank: String, marker: &str, c: Option<char>, sink: &mut Sink) {
        let mut body = Box::new(self.format.body());
        body.opened(marker);
        let known_only = self.markers.known_only || marker.is_empty();
        self.state = State::Body(Opened { raw: blank + marker, known_only }, body);
        if let Some(c) = c {
            self.feed(c, sink);
        }
    }

    fn after(&mut self, fed: Fed, c: char, sink: &mut Sink) {
        let State::Body(opened, _) = &mut self.state else { return };
        match fed {
            Fed::More => opened.raw.push(c),
            Fed::Called => {
                opened.raw.clear();
                self.after_call = true;
            }
            Fed::Done => self.state = State::Closing(String::new()),
            Fed::DoneBefore => {
                self.state = State::Closing(String::new());
                self.feed(c, sink);
            }
            Fed::Failed => {
                let raw = std::mem::take(&mut opened.raw);
                self.first = false;
                self.after_call = false;
                sink.text(&raw);
                self.state = State::Text(Hold::default());
                self.feed(c, sink);
            }
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self, sink: &mut Sink) {
        match std::mem::replace(&mut self.state, State::Text(Hold::default())) {
            State::Text(mut hold) => {
                let rest = hold.take();
                // Between the last call and the end, white space says nothing.
                if !(self.after_call && rest.trim().is_empty()) {
                    sink.text(&rest);
                }
            }
            State::Body(_, mut body) if body.is_calling() => body.finish(sink),
            State::Body(opened, _) => sink.text(&opened.raw),
            State::Closing(held) if held.trim().is_empty() => {}
            State::Closing(held) => sink.text(&held),
        }
    }
}

#[cfg(test)]
mod tests;
