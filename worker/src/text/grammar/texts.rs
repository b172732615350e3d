//! Grammars of texts inside of calls: rewrites a tool's grammar into one terminal of llguidance's variant of Lark. A call writes
//! the text raw or as a JSON string.
//!
//! One terminal, and not rules, because llguidance's lexer looks one byte ahead. No escape could follow a terminal that may
//! continue with an escape. A terminal is a regular expression, so a grammar that refers to itself is refused.

mod lark;
mod pattern;
mod scan;

use std::collections::HashMap;
use std::fmt::Write;

use ipc_proto::generate::TextGrammar;
use llguidance::api::{GrammarInit, GrammarWithLexer, ParserLimits, TopLevelGrammar};

use self::lark::{Definition, Expression, Grammar};
pub(crate) use self::pattern::TextForm;
use super::compile::{MAX_TEXT, causes, error_sentence, on_large_stack};

/// The rule that a text matches.
const START: &str = "start";
/// References from rule to rule, at most.
const MAX_DEPTH: usize = 256;
/// Any text. A complement alone would also match bytes that are no text.
const ANY: &str = "(?s:.*)";

/// Lines in Lark that define the terminal `name`: the texts of a tool's grammar, as a call writes them.
///
/// # Errors
/// A sentence that names the tool.
pub(crate) fn text_terminal(
    tool: &str,
    grammar: &TextGrammar,
    name: &str,
    form: TextForm,
) -> Result<String, String> {
    on_large_stack(|| text_terminal_here(&format!("the grammar of the tool {tool:?}"), grammar, name, form))
}

fn text_terminal_here(
    subject: &str,
    grammar: &TextGrammar,
    name: &str,
    form: TextForm,
) -> Result<String, String> {
    check(subject, grammar)?;
    let read = match grammar {
        TextGrammar::Lark(text) => lark::read(text),
        TextGrammar::Regex(text) => {
            let body = Expression::Pattern(text.clone(), String::new());
            let definitions = vec![Definition { name: START.into(), body }];
            Ok(Grammar { definitions, ignored: Vec::new() })
        }
    };
    let written = read.and_then(|grammar| write_terminal(&grammar, name, form));
    written.map_err(|error| format!("{subject} {error}"))
}

/// Compiles the original grammar, for llguidance's own errors.
fn check(subject: &str, grammar: &TextGrammar) -> Result<(), String> {
    let (TextGrammar::Lark(text) | TextGrammar::Regex(text)) = grammar;
    if text.len() > MAX_TEXT {
        return Err(format!("{subject} is larger than {} KiB", MAX_TEXT >> 10));
    }
    let grammar = match grammar {
        TextGrammar::Lark(text) => GrammarWithLexer::from_lark(text.clone()),
        TextGrammar::Regex(text) => GrammarWithLexer::from_regex(text),
    };
    let grammar = TopLevelGrammar { grammars: vec![grammar], max_tokens: None };
    let compiled = GrammarInit::Serialized(grammar).to_internal(None, ParserLimits::default());
    compiled.map(drop).map_err(|error| error_sentence(subject, &causes(&error)))
}

fn write_terminal(grammar: &Grammar, name: &str, form: TextForm) -> Result<String, String> {
    let places: HashMap<&str, usize> =
        grammar.definitions.iter().enumerate().map(|(at, one)| (&*one.name, at)).collect();
    let mut writer =
        Writer { grammar, places, name, form, states: HashMap::new(), depth: 0, lines: String::new() };
    let ignored = writer.ignored()?;
    let start = writer.reference(START)?;
    // Writing to a string cannot fail.
    let _ = writeln!(writer.lines, "{name}: {ignored} {start}");
    Ok(writer.lines)
}

struct Writer<'a> {
    grammar: &'a Grammar,
    places: HashMap<&'a str, usize>,
    name: &'a str,
    form: TextForm,
    /// Definitions so far; whether they are complete.
    states: HashMap<usize, bool>,
    depth: usize,
    lines: String,
}

impl Writer<'_> {
    /// Defines the ignored texts. Returns their terminal, or nothing.
    fn ignored(&mut self) -> Result<String, String> {
        let grammar = self.grammar;
        if grammar.ignored.is_empty() {
            return Ok(String::new());
        }
        let all: Vec<String> =
            grammar.ignored.iter().map(|one| self.expression(one, false)).collect::<Result<_, _>>()?;
        let name = format!("{}X", self.name);
        let _ = writeln!(self.lines, "{name}: ({})*", all.join(" | "));
        Ok(name)
    }

    /// The terminal of a rule or terminal. Defines it first.
    fn reference(&mut self, name: &str) -> Result<String, String> {
        let at = *self.places.get(name).ok_or_else(|| format!("has no rule \"{name}\""))?;
        let terminal = format!("{}N{at}", self.name);
        match self.states.get(&at) {
            Some(true) => return Ok(terminal),
            Some(false) => {
                let text = "refers to itself, which is not supported in calls";
                return Err(format!("has a rule that {text}: \"{name}\""));
            }
            None => {}
        }
        if self.depth > MAX_DEPTH {
            return Err(format!("has rules that are nested more than {MAX_DEPTH} deep"));
        }
        self.states.insert(at, false);
        let grammar = self.grammar;
        self.depth += 1;
        let body = self.expression(&grammar.definitions[at].body, is_rule(name))?;
        self.depth -= 1;
        let _ = writeln!(self.lines, "{terminal}: {body}");
        self.states.insert(at, true);
        Ok(terminal)
    }

    /// An expression of terminals. In a rule, ignored texts may follow each terminal.
    fn expression(&mut self, expression: &Expression, in_rule: bool) -> Result<String, String> {
        let mut all = |parts: &[Expression], between: &str| -> Result<String, String> {
            let parts =
                parts.iter().map(|part| self.expression(part, in_rule)).collect::<Result<Vec<_>, _>>()?;
            Ok(if parts.is_empty() { r#""""#.into() } else { format!("({})", parts.join(between)) })
        };
        match expression {
            Expression::Sequence(parts) => all(parts, " "),
            Expression::Choice(parts) => all(parts, " | "),
            Expression::All(parts) => all(parts, " & "),
            Expression::Not(inner) => {
                let inner = self.expression(inner, in_rule)?;
                Ok(format!("({} & ~({inner}))", self.pattern(ANY, "")?))
            }
            Expression::Repeat(inner, low, high) => {
                let inner = self.expression(inner, in_rule)?;
                let high = high.map_or_else(String::new, |high| high.to_string());
                // Lark has no repetition of at most zero times.
                Ok(if high == "0" { r#""""#.into() } else { format!("({inner}){{{low},{high}}}") })
            }
            Expression::Name(name) => {
                let terminal = self.reference(name)?;
                Ok(if is_rule(name) { terminal } else { self.before_ignored(terminal, in_rule) })
            }
            Expression::Text(text, ignores_case) => {
                let flags = if *ignores_case { "i" } else { "" };
                let text = self.pattern(&regex_syntax::escape(text), flags)?;
                Ok(self.before_ignored(text, in_rule))
            }
            Expression::Range(low, high) => {
                let [low, high] = [low, high].map(|c| regex_syntax::escape(c.encode_utf8(&mut [0; 4])));
                let range = self.pattern(&format!("[{low}-{high}]"), "")?;
                Ok(self.before_ignored(range, in_rule))
            }
            Expression::Pattern(pattern, flags) => {
                let pattern = self.pattern(pattern, flags)?;
                Ok(self.before_ignored(pattern, in_rule))
            }
        }
    }

    fn pattern(&self, pattern: &str, flags: &str) -> Result<String, String> {
        pattern::lark(&pattern::parse(pattern, flags)?, self.form)
    }

    fn before_ignored(&self, terminal: String, in_rule: bool) -> String {
        if in_rule && !self.grammar.ignored.is_empty() {
            return format!("({terminal} {}X)", self.name);
        }
        terminal
    }
}

/// Whether a name is a rule's. Terminals have capital letters.
fn is_rule(name: &str) -> bool {
    name.trim_start_matches('_').starts_with(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests;
