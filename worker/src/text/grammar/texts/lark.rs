//! Reads a grammar in Lark as far as a text needs it: rules, terminals, imports of `common`, ignored texts. llguidance has
//! checked the syntax before. Refuses by name what belongs to no text: special tokens, nested grammars, attributes.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::scan::{Token, scan};

/// A grammar.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grammar {
    /// Rules and terminals.
    pub(super) definitions: Vec<Definition>,
    /// Texts that may stand between terminals.
    pub(super) ignored: Vec<Expression>,
}

/// A rule or a terminal.
#[derive(Debug, PartialEq)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) body: Expression,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    /// A string; whether letters match both cases.
    Text(String, bool),
    Range(char, char),
    /// A regular expression and its flags.
    Pattern(String, String),
    Name(String),
    Sequence(Vec<Expression>),
    Choice(Vec<Expression>),
    /// All of them match.
    All(Vec<Expression>),
    Not(Box<Expression>),
    Repeat(Box<Expression>, u32, Option<u32>),
}

/// Lark's `common` library. llguidance has the same one, but it is private.
const COMMON: [(&str, &str); 24] = [
    ("DIGIT", "[0-9]"),
    ("HEXDIGIT", "[a-fA-F0-9]"),
    ("INT", "[0-9]+"),
    ("SIGNED_INT", r"[+\-]?[0-9]+"),
    ("DECIMAL", r"[0-9]+\.[0-9]*|\.[0-9]+"),
    ("_EXP", r"[eE][+\-]?[0-9]+"),
    ("FLOAT", r"([0-9]+\.[0-9]*|\.[0-9]+)([eE][+\-]?[0-9]+)?|[0-9]+[eE][+\-]?[0-9]+"),
    ("SIGNED_FLOAT", r"[+\-]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][+\-]?[0-9]+)?|[0-9]+[eE][+\-]?[0-9]+)"),
    ("NUMBER", r"[0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+\-]?[0-9]+)?|[0-9]+[eE][+\-]?[0-9]+"),
    ("SIGNED_NUMBER", r"[+\-]?([0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+\-]?[0-9]+)?|[0-9]+[eE][+\-]?[0-9]+)"),
    ("ESCAPED_STRING", r#""([^"\\]|\\.)*""#),
    ("LCASE_LETTER", "[a-z]"),
    ("UCASE_LETTER", "[A-Z]"),
    ("LETTER", "[A-Za-z]"),
    ("WORD", "[A-Za-z]+"),
    ("CNAME", "[_A-Za-z][_A-Za-z0-9]*"),
    ("WS_INLINE", r"[ \t]+"),
    ("WS", r"[ \t\f\r\n]+"),
    ("CR", r"\r"),
    ("LF", r"\n"),
    ("NEWLINE", r"(\r?\n)+"),
    ("SH_COMMENT", r"#[^\n]*"),
    ("CPP_COMMENT", r"//[^\n]*"),
    ("SQL_COMMENT", r"--[^\n]*"),
];
/// A comment of C. Written apart from [`COMMON`] for its length.
const C_COMMENT: (&str, &str) = ("C_COMMENT", r"/\*[^*]*\*+([^/*][^*]*\*+)*/");

/// Reads a grammar.
///
/// # Errors
/// A sentence without subject.
pub(super) fn read(text: &str) -> Result<Grammar, String> {
    let mut reader = Reader { tokens: scan(text)?.into_iter().peekable(), grammar: Grammar::default() };
    while reader.skip_lines() {
        reader.item()?;
    }
    Ok(reader.grammar)
}

struct Reader {
    tokens: Peekable<IntoIter<Token>>,
    grammar: Grammar,
}

impl Reader {
    /// Whether an item follows after line breaks.
    fn skip_lines(&mut self) -> bool {
        while self.tokens.next_if_eq(&Token::Line).is_some() {}
        self.tokens.peek().is_some()
    }

    fn take(&mut self, sign: &'static str) -> bool {
        self.tokens.next_if_eq(&Token::Sign(sign)).is_some()
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), String> {
        match self.tokens.next() {
            Some(Token::Sign(found)) if found == sign => Ok(()),
            found => Err(unexpected(found.as_ref())),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.tokens.next() {
            Some(Token::Name(name)) => Ok(name),
            found => Err(unexpected(found.as_ref())),
        }
    }

    fn item(&mut self) -> Result<(), String> {
        if let Some(Token::Directive(directive)) =
            self.tokens.next_if(|next| matches!(next, Token::Directive(_)))
        {
            return match &*directive {
                "%ignore" => {
                    let ignored = self.expansions()?;
                    self.grammar.ignored.push(ignored);
                    Ok(())
                }
                "%import" => self.import(),
                other => Err(format!("uses {other}, which is not supported")),
            };
        }
        // They only shape a parser's tree.
        while self.take("!") || self.take("?") {}
        let name = self.name()?;
        if self.take("[") {
            // A capture is for a parser's results. Every other attribute changes the texts.
            match self.name()? {
                capture if capture == "capture" && self.take("]") => {}
                other => {
                    return Err(format!("has a rule with the attribute [{other}], which is not supported"));
                }
            }
        }
        self.expect(":")?;
        let body = self.expansions()?;
        self.grammar.definitions.push(Definition { name, body });
        Ok(())
    }

    fn import(&mut self) -> Result<(), String> {
        let library = self.name()?;
        let mut names = Vec::new();
        if self.take(".") {
            names.push(self.name()?);
        } else {
            self.expect("(")?;
            names.push(self.name()?);
            while self.take(",") {
                names.push(self.name()?);
            }
            self.expect(")")?;
        }
        let alias = if self.take("->") { Some(self.name()?) } else { None };
        for name in names {
            let known =
                COMMON.iter().chain([&C_COMMENT]).find(|(known, _)| library == "common" && *known == name);
            let (_, pattern) =
                known.ok_or_else(|| format!("imports {library}.{name}, which is not known"))?;
            let body = Expression::Pattern((*pattern).to_owned(), String::new());
            self.grammar.definitions.push(Definition { name: alias.clone().unwrap_or(name), body });
        }
        Ok(())
    }

    fn expansions(&mut self) -> Result<Expression, String> {
        let mut options = vec![self.alias()?];
        while self.next_option() {
            options.push(self.alias()?);
        }
        Ok(only(options, Expression::Choice))
    }

    /// Takes the bar before an option, which may stand on the next line.
    fn next_option(&mut self) -> bool {
        if self.take("|") {
            return true;
        }
        let mut ahead = self.tokens.clone();
        while ahead.next_if_eq(&Token::Line).is_some() {}
        let follows = ahead.next_if_eq(&Token::Sign("|")).is_some();
        if follows {
            self.tokens = ahead;
        }
        follows
    }

    fn alias(&mut self) -> Result<Expression, String> {
        let mut all = vec![self.sequence()?];
        while self.take("&") {
            all.push(self.sequence()?);
        }
        if self.take("->") {
            self.name()?;
        }
        Ok(only(all, Expression::All))
    }

    fn sequence(&mut self) -> Result<Expression, String> {
        let mut parts = Vec::new();
        loop {
            match self.tokens.peek() {
                None | Some(Token::Line | Token::Sign("|" | "->" | ")" | "]" | "&")) => break,
                _ => parts.push(self.repeated()?),
            }
        }
        Ok(only(parts, Expression::Sequence))
    }

    fn repeated(&mut self) -> Result<Expression, String> {
        let atom = self.atom()?;
        let repeat = |low, high| Ok(Expression::Repeat(Box::new(atom.clone()), low, high));
        if self.take("*") {
            return repeat(0, None);
        }
        if self.take("+") {
            return repeat(1, None);
        }
        if self.take("?") {
            return repeat(0, Some(1));
        }
        let mut ahead = self.tokens.clone();
        let counted =
            ahead.next() == Some(Token::Sign("~")) && matches!(ahead.next(), Some(Token::Number(_)));
        if counted && self.take("~") {
            let low = self.number().unwrap_or(0);
            let high = if self.take("..") { self.number() } else { Some(low) };
            return repeat(low, high);
        }
        if self.take("{") {
            let low = self.number();
            let high = if self.take(",") { self.number() } else { low };
            self.expect("}")?;
            return repeat(low.unwrap_or(0), high);
        }
        Ok(atom)
    }

    fn number(&mut self) -> Option<u32> {
        match self.tokens.next_if(|next| matches!(next, Token::Number(_))) {
            Some(Token::Number(number)) => Some(number),
            _ => None,
        }
    }

    fn atom(&mut self) -> Result<Expression, String> {
        if self.take("~") {
            return Ok(Expression::Not(Box::new(self.atom()?)));
        }
        if self.take("(") {
            let inner = self.expansions()?;
            return self.expect(")").map(|()| inner);
        }
        if self.take("[") {
            let inner = self.expansions()?;
            return self.expect("]").map(|()| Expression::Repeat(Box::new(inner), 0, Some(1)));
        }
        match self.tokens.next() {
            Some(Token::Text(text, _)) if self.take("..") => {
                let Some(Token::Text(end, _)) = self.tokens.next() else { return Err(unexpected(None)) };
                let ends = (single(&text), single(&end));
                let (Some(low), Some(high)) = ends else { return Err("has a range of longer texts".into()) };
                Ok(Expression::Range(low, high))
            }
            Some(Token::Text(text, ignores_case)) => Ok(Expression::Text(text, ignores_case)),
            Some(Token::Pattern(pattern, flags)) => Ok(Expression::Pattern(pattern, flags)),
            Some(Token::Name(name)) => Ok(Expression::Name(name)),
            found => Err(unexpected(found.as_ref())),
        }
    }
}

/// The only element of a list, or the whole list as one expression.
fn only(mut all: Vec<Expression>, join: impl FnOnce(Vec<Expression>) -> Expression) -> Expression {
    if all.len() == 1 { all.remove(0) } else { join(all) }
}

fn single(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

fn unexpected(found: Option<&Token>) -> String {
    match found {
        Some(Token::Directive(directive)) => format!("uses {directive}, which is not supported"),
        Some(Token::Special(special)) => format!("uses {special}, which is not supported"),
        Some(found) => format!("uses {found} where it is not supported"),
        None => "ends too early".into(),
    }
}
