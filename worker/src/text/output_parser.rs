//! Splits the text of an output into reasoning, calls and answer. A pure fold: the result does not depend on how the text is
//! cut into pieces.

use ipc_proto::generate::Part;

use super::reasoning::{ReasoningFormat, ReasoningParser, Section};
use super::sink::Sink;
use super::tool_parser::functions::Functions;
use super::tool_parser::harmony::Harmony;
use super::tool_parser::{CallParser, ToolFormat};

/// The format of one output: the model's formats, the request's functions, and the state in which the prompt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFormat {
    /// How the model marks its reasoning.
    pub reasoning: ReasoningFormat,
    /// The prompt ends with the opening tag.
    pub reasoning_open: bool,
    /// The prompt ends with the closing tag, so the model does not reason.
    pub reasoning_closed: bool,
    /// How the model writes calls.
    pub tool_format: ToolFormat,
    /// The functions of the request. `None` where it has none; then no text is a call.
    pub functions: Option<Functions>,
    /// The first call ends the output.
    pub single_call: bool,
    /// The prompt ends within the answer.
    pub in_answer: bool,
    /// The answer must have a form, in which tags are text.
    pub constrained: bool,
}

impl Default for OutputFormat {
    fn default() -> Self {
        Self {
            reasoning: ReasoningFormat::None,
            reasoning_open: false,
            reasoning_closed: false,
            tool_format: ToolFormat::Json,
            functions: None,
            single_call: false,
            in_answer: false,
            constrained: false,
        }
    }
}

/// The state of one output.
#[derive(Debug)]
pub struct OutputParser {
    sink: Sink,
    syntax: Syntax,
    single_call: bool,
}

#[derive(Debug)]
enum Syntax {
    Plain,
    Harmony(Harmony),
    Tags(Box<ReasoningParser>, Option<CallParser>),
}

impl OutputParser {
    /// A parser before the first character. Call ids derive from `key`, which must differ between requests and stay the same
    /// when a request is resumed.
    pub fn new(output_format: OutputFormat, key: u64) -> Self {
        let OutputFormat {
            reasoning,
            reasoning_open,
            tool_format,
            functions,
            single_call,
            in_answer,
            constrained,
            ..
        } = output_format;
        // An output that begins within the answer holds no reasoning.
        let reasoning = if in_answer { ReasoningFormat::None } else { reasoning };
        // Mistral's templates accept only ids of nine letters and digits.
        let short_ids = matches!(tool_format, ToolFormat::Mistral | ToolFormat::MistralArgs);
        let syntax = match (tool_format, functions) {
            (ToolFormat::Harmony, functions) => Syntax::Harmony(Harmony::new(functions.is_some(), in_answer)),
            (_, None) if reasoning == ReasoningFormat::None => Syntax::Plain,
            (format, functions) => {
                let calls = functions.map(|functions| CallParser::new(format, functions));
                let mut reasoning = ReasoningParser::new(reasoning, reasoning_open);
                if constrained {
                    reasoning.keep_closing_tags();
                }
                Syntax::Tags(Box::new(reasoning), calls)
            }
        };
        Self { sink: Sink::new(key, short_ids), syntax, single_call }
    }

    /// Parses more text. Returns the parts that are certain now.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        if matches!(self.syntax, Syntax::Plain) {
            self.sink.text(text);
            return self.sink.take();
        }
        for c in text.chars() {
            if self.is_over() {
                break;
            }
            self.push_char(c);
        }
        self.sink.take()
    }

    fn push_char(&mut self, c: char) {
        let sink = &mut self.sink;
        match &mut self.syntax {
            Syntax::Plain => sink.text(c.encode_utf8(&mut [0; 4])),
            Syntax::Harmony(harmony) => harmony.push(c, sink),
            Syntax::Tags(reasoning, calls) => {
                if calls.as_ref().is_some_and(CallParser::may_be_calling) {
                    reasoning.keep_closing_tags();
                }
                reasoning.push(c, &mut |section, text| push_section(section, text, calls, sink));
            }
        }
    }

    /// Ends the output. Returns the text held back so far.
    pub fn finish(&mut self) -> Vec<Part> {
        if self.is_over() {
            return self.sink.take();
        }
        let sink = &mut self.sink;
        match &mut self.syntax {
            Syntax::Plain => {}
            Syntax::Harmony(harmony) => harmony.finish(sink),
            Syntax::Tags(reasoning, calls) => {
                reasoning.finish(&mut |section, text| push_section(section, text, calls, sink));
                if let Some(calls) = calls {
                    calls.finish(sink);
                }
            }
        }
        self.sink.take()
    }

    /// Whether the output is inside the model's reasoning.
    pub fn is_reasoning(&self) -> bool {
        match &self.syntax {
            Syntax::Plain => false,
            Syntax::Harmony(harmony) => harmony.is_reasoning(),
            Syntax::Tags(reasoning, _) => reasoning.is_reasoning(),
        }
    }

    /// Whether the output has called functions, and no call was cut off.
    pub fn has_whole_calls(&self) -> bool {
        self.sink.has_whole_calls()
    }

    /// Whether the parser ignores all further text.
    pub fn is_over(&self) -> bool {
        let ended = matches!(&self.syntax, Syntax::Harmony(harmony) if harmony.is_over());
        ended || (self.single_call && self.sink.has_ended_call())
    }
}

fn push_section(section: Section, text: &str, calls: &mut Option<CallParser>, sink: &mut Sink) {
    match (section, calls) {
        (Section::Reasoning, _) => sink.reasoning(text),
        (Section::Answer, Some(calls)) => text.chars().for_each(|c| calls.push(c, sink)),
        (Section::Answer, None) => sink.text(text),
    }
}

#[cfg(test)]
mod tests;
