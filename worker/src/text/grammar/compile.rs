//! Compiles a constraint to a matcher: limits, options, and errors as sentences.

use std::sync::Arc;
use std::thread;

use ipc_proto::generate::Constraint;
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv};
use llguidance::{JsonCompileOptions, ParserFactory};
use serde_json::{Value, json};

use super::matcher::Matcher;
use super::vocabulary::Vocabulary;

/// Bytes of a schema, regular expression or grammar, at most.
const MAX_TEXT: usize = 256 << 10;
/// Bytes of the compiler's stack. Compilers recurse as deep as their input is nested. Unused stack costs no memory.
const STACK: usize = 64 << 20;
/// White space between JSON's tokens: a space, or up to two line breaks and an indentation. Without a bound, small models may
/// write white space for ever.
const WHITE_SPACE: &str = r"[ ]|\n{1,2}[ \t]{0,32}";

/// Makes matchers for one vocabulary.
pub(super) struct Compiler {
    factory: ParserFactory,
    /// The decoder drops the first space of a text.
    drops_space: bool,
}

impl Compiler {
    /// A compiler for `vocabulary`.
    ///
    /// # Errors
    /// A sentence. No known vocabulary causes one.
    pub(super) fn new(vocabulary: Vocabulary) -> Result<Self, String> {
        let drops_space = vocabulary.drops_space;
        let tokens: TokEnv = Arc::new(vocabulary);
        let slices = SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &slices)
            .map_err(|e| format!("the vocabulary cannot be prepared for grammars: {e}"))?;
        factory.quiet().limits_mut().verbose_errors = false;
        Ok(Self { factory, drops_space })
    }

    /// See [`super::Grammars::compile`].
    pub(super) fn compile(&self, constraint: &Constraint) -> Result<Matcher, String> {
        let grammar = self.with_leading_space(vec![constraint_grammar(constraint)?], r#"start: " " @text"#);
        self.make_matcher(grammar).map_err(|causes| error_sentence(description(constraint), &causes))
    }

    /// See [`super::Grammars::compile_with_answer`].
    pub(super) fn compile_with_answer(
        &self,
        lark: String,
        answer: Option<&Constraint>,
    ) -> Result<Matcher, String> {
        let mut grammars = vec![GrammarWithLexer::from_lark(lark)];
        if let Some(answer) = answer {
            grammars.push(GrammarWithLexer { name: Some("answer".into()), ..constraint_grammar(answer)? });
        }
        // No space comes before a special token.
        let grammar = self.with_leading_space(grammars, r#"start: " "? @text"#);
        self.make_matcher(grammar).map_err(|causes| error_sentence("a function's schema", &causes))
    }

    fn make_matcher(&self, grammar: TopLevelGrammar) -> Result<Matcher, Vec<String>> {
        let compile = || {
            let parser = self.factory.create_parser(grammar);
            let parser = parser.map_err(|e| e.chain().map(ToString::to_string).collect::<Vec<_>>())?;
            let mut matcher = Matcher::new(parser);
            // The first mask is the most expensive one and reveals impossible grammars. Compute it off the engine's thread.
            matcher.prepare().map_err(|e| vec![e])?;
            Ok(matcher)
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("grammar".into()).stack_size(STACK);
            let thread = thread.spawn_scoped(scope, compile).map_err(|e| vec![e.to_string()])?;
            thread.join().unwrap_or_else(|_| Err(vec!["the compiler failed".into()]))
        })
    }

    /// Wraps the first grammar in `space`, which accounts for the space that the decoder drops.
    fn with_leading_space(&self, mut grammars: Vec<GrammarWithLexer>, space: &str) -> TopLevelGrammar {
        if self.drops_space {
            if let Some(first) = grammars.first_mut() {
                first.name = Some("text".into());
            }
            grammars.insert(0, GrammarWithLexer::from_lark(space.into()));
        }
        TopLevelGrammar { grammars, max_tokens: None }
    }
}

fn constraint_grammar(constraint: &Constraint) -> Result<GrammarWithLexer, String> {
    let (Constraint::JsonSchema(text) | Constraint::Regex(text) | Constraint::Lark(text)) = constraint else {
        return Ok(json_grammar(json!({"type": "object"})));
    };
    if text.len() > MAX_TEXT {
        return Err(format!("{} is larger than {} KiB", description(constraint), MAX_TEXT >> 10));
    }
    Ok(match constraint {
        Constraint::Regex(text) => GrammarWithLexer::from_regex(text),
        Constraint::Lark(text) => GrammarWithLexer::from_lark(text.clone()),
        _ => json_grammar(parse_schema(text)?),
    })
}

fn parse_schema(text: &str) -> Result<Value, String> {
    let mut schema: Value =
        serde_json::from_str(text).map_err(|e| format!("the JSON schema is no JSON: {e}"))?;
    if let Value::Object(keywords) = &mut schema {
        // Without it, llguidance only overlooks keywords of older drafts.
        keywords.remove("$schema");
        if keywords.contains_key("x-guidance") {
            return Err("the JSON schema uses a keyword that is not supported: \"x-guidance\"".into());
        }
    }
    Ok(schema)
}

fn json_grammar(schema: Value) -> GrammarWithLexer {
    GrammarWithLexer::from_json_schema(with_options(schema))
}

/// A schema with [`WHITE_SPACE`] between tokens.
fn with_options(mut schema: Value) -> Value {
    if schema.is_object() {
        let options =
            JsonCompileOptions { whitespace_pattern: Some(WHITE_SPACE.into()), ..Default::default() };
        options.apply_to(&mut schema);
    }
    schema
}

/// A schema for Lark's `%json`.
pub(crate) fn json_text(schema: Value) -> String {
    with_options(schema).to_string()
}

fn description(constraint: &Constraint) -> &'static str {
    match constraint {
        Constraint::JsonObject | Constraint::JsonSchema(_) => "the JSON schema",
        Constraint::Regex(_) => "the regular expression",
        Constraint::Lark(_) => "the grammar",
    }
}

/// llguidance's error as a sentence. `causes` begin with the outermost.
fn error_sentence(name: &str, causes: &[String]) -> String {
    let inner = causes.last().map_or("", String::as_str);
    if let Some(keys) = inner.strip_prefix("Unimplemented keys: ") {
        let keys = keys.trim_matches(['[', ']']);
        return format!("{name} uses a keyword that is not supported: {keys}");
    }
    if inner.starts_with("oneOf constraints") {
        return format!("{name} uses oneOf with options that may overlap, which is not supported: use anyOf");
    }
    if inner.starts_with("panic") {
        return format!("{name} cannot be compiled");
    }
    format!("{name} cannot be used: {}", first_error_line(inner))
}

/// The first line that describes the problem. An error in a regular expression begins with the expression, and one in Lark ends
/// with the position.
fn first_error_line(message: &str) -> &str {
    let error = message.lines().find_map(|line| line.trim().strip_prefix("error: "));
    error.or_else(|| message.lines().next()).unwrap_or("unknown error").trim()
}
