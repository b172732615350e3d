//! The tokens of a grammar in Lark.

use std::fmt;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Line breaks.
    Line,
    Name(String),
    /// A string; whether letters match both cases.
    Text(String, bool),
    /// A regular expression and its flags.
    Pattern(String, String),
    Number(u32),
    /// `%import` and the like.
    Directive(String),
    /// A special token, or a reference to another grammar.
    Special(String),
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("a line break"),
            Self::Name(text) | Self::Directive(text) | Self::Special(text) => f.write_str(text),
            Self::Text(text, _) => write!(f, "{text:?}"),
            Self::Pattern(pattern, flags) => write!(f, "/{pattern}/{flags}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Sign(sign) => f.write_str(sign),
        }
    }
}

/// The signs, longer ones before their beginnings.
const SIGNS: [&str; 19] =
    ["->", "::", "..", ":", ",", ".", "(", ")", "{", "}", "[", "]", "~", "|", "&", "*", "+", "?", "!"];

/// Splits a grammar into tokens, without comments and spaces.
///
/// # Errors
/// A sentence without subject.
pub(super) fn scan(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\n' => (Some(Token::Line), 1),
            ' ' | '\t' | '\r' => (None, 1),
            '#' => (None, line_length(rest)),
            '/' if rest.starts_with("//") => (None, line_length(rest)),
            '/' => pattern(rest)?,
            '"' => string(rest)?,
            '%' => word(rest, Token::Directive),
            '@' => word(rest, Token::Special),
            '<' => {
                let length = rest.find('>').map_or(rest.len(), |end| end + 1);
                (Some(Token::Special(rest[..length].to_owned())), length)
            }
            c if c.is_ascii_digit() => {
                let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                let number = rest[..length].parse();
                let number =
                    number.map_err(|_| format!("has a number that is too large: {}", &rest[..length]))?;
                (Some(Token::Number(number)), length)
            }
            c if c.is_ascii_alphabetic() || c == '_' => word(rest, Token::Name),
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| format!("has a character that is not expected: {first:?}"))?;
                (Some(Token::Sign(sign)), sign.len())
            }
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    Ok(tokens)
}

fn line_length(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// A word, after its first character.
fn word(text: &str, token: impl Fn(String) -> Token) -> (Option<Token>, usize) {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    // In `name->alias` the hyphen begins an arrow.
    let end = text.char_indices().skip(1).find(|(at, c)| !part(*c) || text[*at..].starts_with("->"));
    let length = end.map_or(text.len(), |(at, _)| at);
    (Some(token(text[..length].to_owned())), length)
}

/// The length of a quoted text up to the closing quote, included.
fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    let closes = |(_, c): &(usize, char)| {
        let closes = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    };
    text.char_indices().skip(1).find(closes).map(|(at, _)| at + 1)
}

fn pattern(text: &str) -> Result<(Option<Token>, usize), String> {
    let length = quoted_length(text, '/').ok_or("has a pattern without end")?;
    let flags = text[length..].find(|c: char| !"imslux".contains(c)).unwrap_or(text.len() - length);
    let token = Token::Pattern(text[1..length - 1].to_owned(), text[length..length + flags].to_owned());
    Ok((Some(token), length + flags))
}

fn string(text: &str) -> Result<(Option<Token>, usize), String> {
    let length = quoted_length(text, '"').ok_or("has a string without end")?;
    let value =
        unescape(&text[..length]).ok_or_else(|| format!("has an invalid string: {}", &text[..length]))?;
    let ignores_case = text[length..].starts_with('i');
    Ok((Some(Token::Text(value, ignores_case)), length + usize::from(ignores_case)))
}

/// The value of a string: JSON's escapes and `\xHH`.
fn unescape(quoted: &str) -> Option<String> {
    let mut json = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        json.push(c);
        if c == '\\' {
            match chars.next()? {
                'x' => json.push_str("u00"),
                other => json.push(other),
            }
        }
    }
    serde_json::from_str(&json).ok()
}
