//! The text after a marker: the calls themselves, in any format.

use super::functions::Functions;
use super::gemma::GemmaCall;
use super::json_calls::JsonCalls;
use super::named::NamedCall;
use super::pythonic::PythonicCalls;
use super::syntax::Consumed;
use super::xml::XmlCall;
use crate::text::sink::Sink;

/// A body of any format.
#[derive(Debug)]
pub(crate) enum Body {
    Json(JsonCalls),
    Named(NamedCall),
    Xml(XmlCall),
    Pythonic(PythonicCalls),
    Gemma(GemmaCall),
}

impl Body {
    /// Begins after `marker`, which may be a part of the calls.
    pub(crate) fn begin(&mut self, marker: &str) {
        match self {
            Self::Xml(body) => body.begin(marker),
            Self::Json(body) => body.begin(marker),
            Self::Named(body) => body.begin(marker),
            Self::Pythonic(_) | Self::Gemma(_) => {}
        }
    }

    /// Parses the next character. With `known_only`, a call must name a function of the request.
    pub(crate) fn push(
        &mut self,
        c: char,
        functions: &Functions,
        known_only: bool,
        sink: &mut Sink,
    ) -> Consumed {
        match self {
            Self::Json(body) => body.push(c, functions, known_only, sink),
            Self::Named(body) => body.push(c, functions, sink),
            Self::Xml(body) => body.push(c, functions, sink),
            Self::Pythonic(body) => body.push(c, functions, known_only, sink),
            Self::Gemma(body) => body.push(c, sink),
        }
    }

    /// Whether the text so far is a call, or calls and separators. At the end of the output, any other text becomes answer
    /// text again.
    pub(crate) fn is_calling(&self) -> bool {
        match self {
            Self::Json(body) => body.is_calling(),
            Self::Named(body) => body.is_calling(),
            Self::Xml(body) => body.is_calling(),
            Self::Pythonic(body) => body.is_calling(),
            Self::Gemma(body) => body.is_calling(),
        }
    }

    /// Ends the output within a call: hands over the arguments held back so far.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        match self {
            Self::Json(body) => body.finish(sink),
            // It holds no arguments back.
            Self::Named(_) => {}
            Self::Xml(body) => body.finish(sink),
            Self::Pythonic(body) => body.finish(sink),
            Self::Gemma(body) => body.finish(sink),
        }
    }
}
