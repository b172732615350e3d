//! Finds function calls in a model's output: one file for each format.
//!
//! Every format is a fold over characters, so the result does not depend on how the text is cut into pieces. Text that proves
//! to be no call becomes answer text again, with its marker. The parser drops only a call's own markers, and white space
//! between them.

use clap::ValueEnum;

use super::sink::Sink;

mod arguments;
mod bare_json;
mod body;
mod cohere;
mod deepseek;
pub mod functions;
mod gemma;
mod glm;
pub mod grammar;
mod granite;
pub mod harmony;
mod hermes;
mod json_calls;
mod kimi;
mod llama;
pub mod marker_buffer;
mod minimax;
mod mistral;
mod named;
mod phi;
mod pythonic;
mod qwen_xml;
mod schema;
mod seed;
pub mod syntax;
mod xml;

use body::Body;
use functions::Functions;
use marker_buffer::MarkerBuffer;
use syntax::{Consumed, Markers};

/// A format of function calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum ToolFormat {
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
    /// `<|tool_call>call:name{…}<tool_call|>`: Gemma 4.
    Gemma4,
    /// A Python list of calls within `<|tool_call_start|>`: LFM2.
    Lfm2,
    /// `<|tool_call|>` and a JSON list: Phi 4.
    Phi,
    /// `<|tool_call|>` and a JSON list without an end: Granite 3.
    Granite,
    /// A name, then `<arg_key>` and `<arg_value>` tags: GLM 4.5 to 4.7.
    Glm,
    /// Qwen3-Coder's tags within `<seed:tool_call>`: Seed-OSS.
    Seed,
    /// `<invoke name=…>` tags within `<minimax:tool_call>`: MiniMax M2.
    #[value(name = "minimax")]
    MiniMax,
    /// `<|START_ACTION|>` and a JSON list: Command R7B, Command A.
    Cohere,
    /// `name<｜tool▁sep｜>{…}`: DeepSeek V3.1.
    #[value(name = "deepseek")]
    DeepSeek,
    /// `function<｜tool▁sep｜>name` and a fence: DeepSeek R1 and V3, and models distilled from R1.
    #[value(name = "deepseek-r1")]
    DeepSeekR1,
    /// `functions.name:0<|tool_call_argument_begin|>{…}`: Kimi K2.
    Kimi,
    /// A JSON object, bare or fenced, that is the whole answer.
    Json,
    /// Channels with a recipient: gpt-oss.
    Harmony,
}

impl ToolFormat {
    /// The format that a chat template shows. A template that shows none gets Hermes: see [`chat_template`].
    pub fn detect(template: &str) -> Self {
        Self::detect_with_evidence(template).0
    }

    /// The format that a chat template shows, and the texts in the template that show it. There are none for the default.
    pub fn detect_with_evidence(template: &str) -> (Self, &'static [&'static str]) {
        const EVIDENCE: [(ToolFormat, &[&str]); 22] = [
            (ToolFormat::Harmony, &["<|channel|>", "<|start|>"]),
            (ToolFormat::MistralArgs, &["[TOOL_CALLS]", "[ARGS]"]),
            (ToolFormat::Mistral, &["[TOOL_CALLS]"]),
            (ToolFormat::Kimi, &[kimi::OPEN]),
            (ToolFormat::DeepSeekR1, &[deepseek::OPEN, "```json"]),
            (ToolFormat::DeepSeek, &[deepseek::OPEN]),
            (ToolFormat::Seed, &["<seed:tool_call>"]),
            (ToolFormat::MiniMax, &["<minimax:tool_call>", "<invoke name="]),
            (ToolFormat::QwenXml, &["<function=", "<parameter="]),
            (ToolFormat::Glm, &["<tool_call>", "<arg_key>"]),
            (ToolFormat::Cohere, &["<|START_ACTION|>", "tool_name"]),
            (ToolFormat::Granite, &["<|tool_call|>", "<|start_of_role|>"]),
            (ToolFormat::Phi, &["<|tool_call|>"]),
            (ToolFormat::Gemma, &["<start_function_call>"]),
            (ToolFormat::Gemma4, &["<|tool_call>"]),
            (ToolFormat::Lfm2, &[pythonic::LFM2_OPEN]),
            (ToolFormat::Lfm2, &["<|tool_list_start|>"]),
            (ToolFormat::Hermes, &["<tool_call>"]),
            (ToolFormat::Pythonic, &["func_name1("]),
            (ToolFormat::Llama, &["<|python_tag|>"]),
            (ToolFormat::Llama, &[r#""parameters": dictionary"#]),
            (ToolFormat::Json, &["tools"]),
        ];
        let shown = |(_, texts): &&(ToolFormat, &[&str])| texts.iter().all(|text| template.contains(text));
        EVIDENCE.iter().find(shown).copied().unwrap_or((Self::Hermes, &[]))
    }

    /// The markers of the format. Harmony's are in [`harmony`].
    pub fn markers(self) -> Markers {
        match self {
            Self::Hermes => hermes::MARKERS,
            Self::QwenXml => qwen_xml::MARKERS,
            Self::Llama => llama::MARKERS,
            Self::Pythonic => pythonic::MARKERS,
            Self::Mistral | Self::MistralArgs => mistral::MARKERS,
            Self::Gemma => gemma::MARKERS,
            Self::Gemma4 => gemma::MARKERS_4,
            Self::Lfm2 => pythonic::LFM2_MARKERS,
            Self::Phi => phi::MARKERS,
            Self::Granite => granite::MARKERS,
            Self::Glm => glm::MARKERS,
            Self::Seed => seed::MARKERS,
            Self::MiniMax => minimax::MARKERS,
            Self::Cohere => cohere::MARKERS,
            Self::DeepSeek | Self::DeepSeekR1 => deepseek::MARKERS,
            Self::Kimi => kimi::MARKERS,
            Self::Json => bare_json::MARKERS,
            Self::Harmony => Markers::default(),
        }
    }

    /// Markers that are special tokens in some models. The detokenizer would drop those.
    pub fn special_markers(self) -> Vec<&'static str> {
        let Markers { open, close, .. } = self.markers();
        let inner: &[&str] = match self {
            Self::Harmony => &harmony::MARKERS,
            Self::MistralArgs => &mistral::INNER,
            Self::Gemma => &[gemma::ESCAPE],
            Self::Gemma4 => &[gemma::ESCAPE_4],
            Self::DeepSeek | Self::DeepSeekR1 => &[deepseek::NAME_END],
            Self::Kimi => &[kimi::NAME_END],
            _ => &[],
        };
        [open, close, inner].concat()
    }

    /// The marker around strings, in Gemma's formats.
    fn escape(self) -> Option<&'static str> {
        match self {
            Self::Gemma => Some(gemma::ESCAPE),
            Self::Gemma4 => Some(gemma::ESCAPE_4),
            _ => None,
        }
    }

    /// The tags of a format with elements; Qwen's for other formats.
    fn xml_tags(self) -> &'static xml::XmlTags {
        match self {
            Self::Seed => &seed::TAGS,
            Self::MiniMax => &minimax::TAGS,
            Self::Glm => &glm::TAGS,
            _ => &qwen_xml::TAGS,
        }
    }

    fn body(self) -> Body {
        match self {
            Self::MistralArgs => Body::Named(named::NamedCall::new(&mistral::FORMS)),
            Self::DeepSeek | Self::DeepSeekR1 => Body::Named(named::NamedCall::new(&deepseek::FORMS)),
            Self::Kimi => Body::Named(named::NamedCall::new(&kimi::FORMS)),
            Self::QwenXml | Self::Seed | Self::MiniMax | Self::Glm => {
                Body::Xml(xml::XmlCall::new(self.xml_tags()))
            }
            Self::Pythonic | Self::Lfm2 => Body::Pythonic(pythonic::PythonicCalls::default()),
            Self::Gemma => Body::Gemma(gemma::GemmaCall::new(gemma::ESCAPE)),
            Self::Gemma4 => Body::Gemma(gemma::GemmaCall::new(gemma::ESCAPE_4)),
            _ => Body::Json(json_calls::JsonCalls::default()),
        }
    }
}

/// The state of one output.
#[derive(Debug)]
pub struct CallParser {
    format: ToolFormat,
    markers: Markers,
    functions: Functions,
    state: State,
    /// Only white space and calls have come.
    at_start: bool,
    /// The latest text was a call.
    after_call: bool,
}

#[derive(Debug)]
enum State {
    Text(MarkerBuffer),
    /// Within calls. `known_only`: only a known function name separates a call from other text of its form.
    Body {
        raw: String,
        known_only: bool,
        body: Box<Body>,
    },
    /// After the calls of one marker: closing markers may come, in order. Holds a possible beginning of one.
    Closing {
        held: String,
        markers: &'static [&'static str],
    },
}

impl State {
    fn closing(markers: Markers) -> Self {
        Self::Closing { held: String::new(), markers: markers.close }
    }
}

impl CallParser {
    /// A parser before the first character.
    pub fn new(format: ToolFormat, functions: Functions) -> Self {
        let state = State::Text(MarkerBuffer::default());
        Self { format, markers: format.markers(), functions, state, at_start: true, after_call: false }
    }

    /// Whether the latest text may be a call.
    pub fn may_be_calling(&self) -> bool {
        !matches!(self.state, State::Text(_))
    }

    /// Parses the next character.
    pub fn push(&mut self, c: char, sink: &mut Sink) {
        match &mut self.state {
            State::Text(_) => self.push_text(c, sink),
            State::Body { known_only, body, .. } => {
                let consumed = body.push(c, &self.functions, *known_only, sink);
                self.after_body(consumed, c, sink);
            }
            State::Closing { .. } => self.push_closing(c, sink),
        }
    }

    fn push_text(&mut self, c: char, sink: &mut Sink) {
        let State::Text(buffer) = &mut self.state else { return };
        if self.at_start && buffer.is_blank() && self.markers.first.contains(&c) {
            let blank = buffer.take();
            self.open_body(blank, "");
            return self.push(c, sink);
        }
        let mut emitted = false;
        let found = buffer.push(c, self.markers.open, |text| {
            emitted = true;
            sink.text(text);
        });
        if emitted {
            self.at_start = false;
            self.after_call = false;
        }
        if let Some(which) = found {
            let blank = buffer.take();
            self.open_body(blank, self.markers.open[which]);
        }
    }

    fn push_closing(&mut self, c: char, sink: &mut Sink) {
        let State::Closing { held, markers } = &mut self.state else { return };
        held.push(c);
        let text = held.trim_start();
        if let Some(which) = markers.iter().position(|close| *close == text) {
            self.state = match &markers[which + 1..] {
                [] => State::Text(MarkerBuffer::default()),
                markers => State::Closing { held: String::new(), markers },
            };
            return;
        }
        if text.is_empty() || markers.iter().any(|close| close.starts_with(text)) {
            return;
        }
        let held = std::mem::take(held);
        self.state = State::Text(MarkerBuffer::default());
        held.chars().for_each(|c| self.push(c, sink));
    }

    /// Begins a body after white space and `marker`.
    fn open_body(&mut self, blank: String, marker: &str) {
        let mut body = Box::new(self.format.body());
        body.begin(marker);
        let known_only = self.markers.known_only || marker.is_empty();
        self.state = State::Body { raw: blank + marker, known_only, body };
    }

    fn after_body(&mut self, consumed: Consumed, c: char, sink: &mut Sink) {
        let State::Body { raw, .. } = &mut self.state else { return };
        match consumed {
            Consumed::More => raw.push(c),
            Consumed::Called => {
                raw.clear();
                self.after_call = true;
            }
            Consumed::Done => self.state = State::closing(self.markers),
            Consumed::DoneBefore => {
                self.state = State::closing(self.markers);
                self.push(c, sink);
            }
            Consumed::Failed => {
                sink.text(raw);
                self.at_start = false;
                self.after_call = false;
                self.state = State::Text(MarkerBuffer::default());
                self.push(c, sink);
            }
        }
    }

    /// Ends the output: hands over the text held back so far.
    pub fn finish(&mut self, sink: &mut Sink) {
        match std::mem::replace(&mut self.state, State::Text(MarkerBuffer::default())) {
            State::Text(mut buffer) => {
                let rest = buffer.take();
                // White space between the last call and the end is no answer.
                if !(self.after_call && rest.trim().is_empty()) {
                    sink.text(&rest);
                }
            }
            State::Body { mut body, .. } if body.is_calling() => body.finish(sink),
            State::Body { raw, .. } => sink.text(&raw),
            State::Closing { held, .. } if held.trim().is_empty() => {}
            State::Closing { held, .. } => sink.text(&held),
        }
    }
}

#[cfg(test)]
mod tests;
