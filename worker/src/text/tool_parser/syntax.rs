//! The types that all formats share: their markers, and the result of parsing a character.

/// The markers of a format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Markers {
    /// Texts that begin calls. Several calls may follow one.
    pub open: &'static [&'static str],
    /// Characters that begin a call without a marker, at the beginning of the answer. They belong to the call, which must
    /// name a function of the request.
    pub first: &'static [char],
    /// Texts that may follow calls.
    pub close: &'static [&'static str],
    /// The format has no marker of its own, so only a known function name separates a call from other text of its form.
    pub known_only: bool,
}

/// The result of parsing one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumed {
    /// It belongs to the calls.
    More,
    /// It belongs to the calls, and all characters so far belong to a call.
    Called,
    /// It ends the calls.
    Done,
    /// The calls ended before it.
    DoneBefore,
    /// The text is no call, and the character does not belong to it.
    Failed,
}
