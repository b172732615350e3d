//! What follows a marker: the calls themselves.

use super::Known;
use super::envelope::Envelopes;
use super::gemma::Gemma;
use super::mistral::Named;
use super::pythonic::Pythonic;
use super::qwen_xml::Xml;
use crate::adapters::reading::Sink;

/// What a character brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fed {
    /// It belongs to the calls.
    More,
    /// Likewise, and a call has come with everything before it.
    Called,
    /// It ends the calls.
    Done,
    /// The calls ended before it.
    DoneBefore,
    /// These are no calls, and it does not belong to them.
    Failed,
}

/// A body of any format.
#[derive(Debug)]
pub(crate) enum Body {
    Json(Envelopes),
    Named(Named),
    Xml(Xml),
    Pythonic(Pythonic),
    Gemma(Gemma),
}

impl Body {
    /// Tells which marker it follows.
    pub(crate) fn opened(&mut self, marker: &str) {
        match self {
            Self::Xml(body) => body.opened(marker),
            Self::Json(body) => body.opened(marker),
            _ => {}
        }
    }

    /// Takes the next character; with `known_only`, what calls a function that there is not is no call.
    pub(crate) fn feed(&mut self, c: char, known: &Known, known_only: bool, sink: &mut Sink) -> Fed {
        match self {
            Self::Json(body) => body.feed(c, known, known_only, sink),
            Self::Named(body) => body.feed(c, sink),
            Self::Xml(body) => body.feed(c, known, sink),
            Self::Pythonic(body) => body.feed(c, known, known_only, sink),
            Self::Gemma(body) => body.feed(c, sink),
        }
    }

    /// Whether what has come is a call, or calls and what belongs between them; else it is text when nothing more comes.
    pub(crate) fn is_calling(&self) -> bool {
        match self {
            Self::Json(body) => body.is_calling(),
            Self::Named(body) => body.is_calling(),
            Self::Xml(body) => body.is_calling(),
            Self::Pythonic(body) => body.is_calling(),
            Self::Gemma(body) => body.is_calling(),
        }
    }

    /// Nothing more comes, though a call has begun: what of its arguments was held back goes out as far as it has come.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        match self {
            Self::Json(body) => body.finish(sink),
            // Its arguments go out as they come.
            Self::Named(_) => {}
            Self::Xml(body) => body.finish(sink),
            Self::Pythonic(body) => body.finish(sink),
            Self::Gemma(body) => body.finish(sink),
        }
    }
}
