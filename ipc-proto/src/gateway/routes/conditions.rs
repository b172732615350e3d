//! The conditions of routes.

use regex::{Regex, RegexBuilder};
use serde::de::Error as _;

/// The size of a compiled regular expression, in bytes, beyond which it is refused.
const REGEX_BYTES: usize = 1 << 20;

/// A name, or the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// This name.
    Exactly(String),
    /// Names that begin so, written with `*` at the end.
    StartsWith(String),
}

/// A regular expression. A search takes time in proportion to the name's length.
#[derive(Debug, Clone)]
pub struct NameRegex(Regex);

/// A range of counts of tokens, with both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "RouteTokens"))]
#[serde(try_from = "RangeForm")]
pub struct TokenRange {
    /// The least count; `None` for any.
    pub min: Option<u32>,
    /// The greatest count; `None` for any.
    pub max: Option<u32>,
}

/// The state that a model of this machine must have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "RouteLocalModel"))]
#[serde(deny_unknown_fields)]
pub struct LocalCondition {
    /// The model's id or alias.
    pub model: String,
    /// Its state.
    pub state: LocalState,
}

/// The state of a model of this machine, for routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "LocalModelState"))]
#[serde(rename_all = "snake_case")]
pub enum LocalState {
    /// A worker serves it.
    Ready,
    /// It is not loaded, and fits into the free memory.
    Loadable,
    /// It is not loaded, and another model would have to go for it.
    WouldEvict,
    /// It is not there, broken, or larger than the budget.
    Unusable,
}

/// A part of the day, in minutes after midnight, written `22:00-06:00`. The end is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    from: u16,
    to: u16,
}

impl NamePattern {
    /// Whether `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(own) => own == name,
            Self::StartsWith(beginning) => name.starts_with(beginning.as_str()),
        }
    }

    /// Whether every name that fits `other` fits this one too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exactly(name) => self.matches(name),
            Self::StartsWith(beginning) => {
                matches!(self, Self::StartsWith(own) if beginning.starts_with(own.as_str()))
            }
        }
    }

    /// Whether every name fits.
    pub(super) fn covers_all(&self) -> bool {
        matches!(self, Self::StartsWith(beginning) if beginning.is_empty())
    }
}

impl From<&NamePattern> for String {
    fn from(pattern: &NamePattern) -> Self {
        match pattern {
            NamePattern::Exactly(name) => name.clone(),
            NamePattern::StartsWith(beginning) => format!("{beginning}*"),
        }
    }
}

impl serde::Serialize for NamePattern {
    fn serialize<S: serde::Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(&String::from(self))
    }
}

impl<'de> serde::Deserialize<'de> for NamePattern {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let (name, is_beginning) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text.as_str(), false),
        };
        if name.contains('*') || (name.is_empty() && !is_beginning) {
            let problem = format!("\"{text}\" is neither a name nor the beginning of one with * at its end");
            return Err(D::Error::custom(problem));
        }
        Ok(if is_beginning { Self::StartsWith(name.into()) } else { Self::Exactly(name.into()) })
    }
}

impl NameRegex {
    /// The regular expression `text`.
    ///
    /// # Errors
    /// The place of the problem in the text, and the problem.
    pub fn new(text: &str) -> Result<Self, String> {
        let wrong = |place: usize, problem: &dyn std::fmt::Display| {
            format!("model_regex: \"{text}\" is wrong at character {place}: {problem}")
        };
        match regex_syntax::parse(text) {
            Err(regex_syntax::Error::Parse(error)) => {
                return Err(wrong(error.span().start.column, error.kind()));
            }
            Err(regex_syntax::Error::Translate(error)) => {
                return Err(wrong(error.span().start.column, error.kind()));
            }
            Err(error) => return Err(format!("model_regex: {error}")),
            Ok(_) => {}
        }
        let regex = RegexBuilder::new(text).size_limit(REGEX_BYTES).build();
        regex.map(Self).map_err(|_| format!("model_regex: \"{text}\" is too large"))
    }

    /// Whether the expression is found in `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for NameRegex {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl serde::Serialize for NameRegex {
    fn serialize<S: serde::Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for NameRegex {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(source)?).map_err(D::Error::custom)
    }
}

#[derive(serde::Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(rename = "RouteTokensForm"))]
#[serde(deny_unknown_fields)]
struct RangeForm {
    /// The least count.
    min: Option<u32>,
    /// The greatest count.
    max: Option<u32>,
}

impl TryFrom<RangeForm> for TokenRange {
    type Error = String;

    fn try_from(RangeForm { min, max }: RangeForm) -> Result<Self, String> {
        let is_range = min.unwrap_or(0) <= max.unwrap_or(u32::MAX) && (min.is_some() || max.is_some());
        if !is_range {
            return Err("prompt_tokens needs min, max or both, and min must not exceed max".into());
        }
        Ok(Self { min, max })
    }
}

impl TokenRange {
    /// Whether the count lies in the range.
    pub fn contains(&self, count: u32) -> bool {
        (self.min.unwrap_or(0)..=self.max.unwrap_or(u32::MAX)).contains(&count)
    }
}

impl TimeRange {
    /// Whether a minute of the day lies in the range, which may go over midnight.
    pub fn contains(&self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// The minute of the day that a text such as `06:30` means.
pub fn minute_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

impl std::fmt::Display for TimeRange {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to: end } = self;
        write!(to, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, end / 60, end % 60)
    }
}

impl serde::Serialize for TimeRange {
    fn serialize<S: serde::Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for TimeRange {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let ends = text.split_once('-').and_then(|(from, to)| Some((minute_of(from)?, minute_of(to)?)));
        match ends {
            Some((from, to)) if from != to => Ok(Self { from, to }),
            _ => Err(D::Error::custom(format!("\"{text}\" is no part of a day such as 22:00-06:00"))),
        }
    }
}
