//! Compiles a constraint to a matcher: limits, options, and errors as sentences.

use std::sync::Arc;
use std::thread;

use ipc_proto::generate::Constraint;
use llguidance::api::{GrammarInit, GrammarWithLexer, ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv};
use llguidance::{JsonCompileOptions, ParserFactory};
use serde_json::{Value, json};

use super::matcher::Matcher;
use super::numbers::{self, Numbers};
use super::vocabulary::Vocabulary;
use super::{place, schema};

/// Bytes of a schema, regular expression or grammar, at most.
pub(super) const MAX_TEXT: usize = 256 << 10;
/// Bytes of the compiler's stack. Compilers recurse as deep as their input is nested. Unused stack costs no memory.
const STACK: usize = 64 << 20;
/// White space between JSON's tokens: a space, or up to two line breaks and an indentation. Without a bound, small models may
/// write white space for ever.
const WHITE_SPACE: &str = r"[ ]|\n{1,2}[ \t]{0,32}";

/// A rule in Lark for JSON of a schema, after its name.
const JSON_RULE: &str = ": %json ";
/// A line in Lark that names the function to which the next rules belong.
const FUNCTION_COMMENT: &str = "// function ";

/// The end of llguidance's words before an error of a schema inside Lark.
const SCHEMA_ERROR: &str = "failed to compile JSON schema: ";

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
        let mut source = GrammarSource::default();
        let grammar = source.constraint(constraint)?;
        let grammar = self.with_leading_space(vec![grammar], r#"start: " " @text"#);
        self.make_matcher(grammar, source)
    }

    /// See [`super::Grammars::compile_with_answer`].
    pub(super) fn compile_with_answer(
        &self,
        lark: String,
        answer: Option<&Constraint>,
    ) -> Result<Matcher, String> {
        let mut source = GrammarSource::default();
        let mut grammars = vec![GrammarWithLexer::from_lark(source.lark(lark))];
        if let Some(answer) = answer {
            grammars.push(GrammarWithLexer { name: Some("answer".into()), ..source.constraint(answer)? });
        }
        // No space comes before a special token.
        let grammar = self.with_leading_space(grammars, r#"start: " "? @text"#);
        source.name = "a function's schema".into();
        self.make_matcher(grammar, source)
    }

    fn make_matcher(&self, grammar: TopLevelGrammar, source: GrammarSource) -> Result<Matcher, String> {
        let compile = || {
            let GrammarSource { name, schemas, comparable, numbers } = source;
            let alternatives = comparable.into_iter().try_for_each(compile_alone);
            let matcher = alternatives.map_err(|e| causes(&e)).and_then(|()| self.build(grammar, numbers));
            matcher.map_err(|causes| {
                let place = schemas.iter().find_map(|(origin, schema)| {
                    let argument = origin.as_ref().map_or("", |(_, argument)| argument);
                    let same = |error: String| causes.last().is_some_and(|inner| inner.contains(&error));
                    let fails = |schema| first_error(schema).is_some_and(same);
                    Some((origin, place::find(schema, argument, &fails)?))
                });
                match place {
                    Some((Some((function, _)), place)) => {
                        error_sentence(&format!("the schema of the function {function:?}"), &causes) + &place
                    }
                    Some((None, place)) => error_sentence(&name, &causes) + &place,
                    None => error_sentence(&name, &causes),
                }
            })
        };
        on_large_stack(compile)
    }

    /// A matcher, or llguidance's errors from the outermost.
    fn build(&self, grammar: TopLevelGrammar, numbers: Numbers) -> Result<Matcher, Vec<String>> {
        let mut init = GrammarInit::Serialized(grammar);
        if !numbers.is_empty() {
            let environment = self.factory.tok_env().clone();
            let (grammar, mut lexer) =
                init.to_internal(Some(environment), self.factory.limits().clone()).map_err(|e| causes(&e))?;
            numbers.substitute(&mut lexer).map_err(|e| causes(&e))?;
            init = GrammarInit::Internal(grammar, lexer);
        }
        let parser = self.factory.create_parser_from_init_default(init).map_err(|e| causes(&e))?;
        let mut matcher = Matcher::new(parser);
        // The first mask is the most expensive one and reveals impossible grammars. Compute it off the engine's thread.
        matcher.prepare().map_err(|e| vec![e])?;
        Ok(matcher)
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

/// Runs `compile` on a thread with a large stack.
pub(super) fn on_large_stack<T: Send>(
    compile: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("grammar".into()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, compile).map_err(|e| e.to_string())?;
        thread.join().unwrap_or_else(|_| Err("the grammar cannot be compiled".into()))
    })
}

/// A function's name and the argument, if the schema is of one, and the prepared schema.
type OriginalSchema = (Option<(String, String)>, Value);

/// The source of a grammar, for errors and numbers.
#[derive(Default)]
struct GrammarSource {
    name: String,
    schemas: Vec<OriginalSchema>,
    /// The schemas with `oneOf`, for llguidance to compare its options.
    comparable: Vec<Value>,
    numbers: Numbers,
}

impl GrammarSource {
    fn constraint(&mut self, constraint: &Constraint) -> Result<GrammarWithLexer, String> {
        self.name = description(constraint).to_owned();
        let (Constraint::JsonSchema(text) | Constraint::Regex(text) | Constraint::Lark(text)) = constraint
        else {
            return Ok(json_grammar(json!({"type": "object"})));
        };
        if text.len() > MAX_TEXT {
            return Err(format!("{} is larger than {} KiB", self.name, MAX_TEXT >> 10));
        }
        Ok(match constraint {
            Constraint::Regex(text) => GrammarWithLexer::from_regex(text),
            Constraint::Lark(text) => GrammarWithLexer::from_lark(text.clone()),
            _ => json_grammar(self.schema(parse_schema(text)?, None)),
        })
    }

    /// Prepares the schemas in the rules that [`json_text`] has written.
    fn lark(&mut self, lark: String) -> String {
        if !lark.contains(JSON_RULE) {
            return lark;
        }
        let mut function = None;
        let mut lines = Vec::new();
        for line in lark.lines() {
            if let Some(name) = line.strip_prefix(FUNCTION_COMMENT) {
                function = serde_json::from_str(name).ok();
            }
            let rule = line.split_once(JSON_RULE);
            let parsed = rule.and_then(|(rule, text)| Some((rule, serde_json::from_str(text).ok()?)));
            lines.push(match parsed {
                Some((rule, schema)) => format!("{rule}{JSON_RULE}{}", self.schema(schema, function.clone())),
                None => line.to_owned(),
            });
        }
        lines.join("\n") + "\n"
    }

    fn schema(&mut self, mut schema: Value, function: Option<(String, String)>) -> Value {
        schema::prepare(&mut schema);
        let comparable = numbers::comparable(&schema);
        self.numbers.replace(&mut schema);
        self.schemas.push((function.clone(), schema.clone()));
        // Errors about `oneOf` are found here.
        self.schemas.extend(comparable.clone().map(|schema| (function, schema)));
        self.comparable.extend(comparable);
        schema
    }
}

/// llguidance's innermost error for a schema alone.
fn first_error(schema: Value) -> Option<String> {
    causes(&compile_alone(schema).err()?).pop()
}

fn compile_alone(schema: Value) -> anyhow::Result<()> {
    let grammar = TopLevelGrammar { grammars: vec![json_grammar(schema)], max_tokens: None };
    GrammarInit::Serialized(grammar).to_internal(None, ParserLimits::default()).map(drop)
}

/// The messages of an error, from the outermost. Those of a schema inside Lark come without their position in it.
pub(super) fn causes(error: &anyhow::Error) -> Vec<String> {
    let own =
        |text: String| text.split_once(SCHEMA_ERROR).map_or_else(|| text.clone(), |(_, own)| own.to_owned());
    error.chain().map(|error| own(error.to_string())).collect()
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

/// A line in Lark that names the function, and the argument if any, to which the next rule belongs. Errors name both.
pub(crate) fn function_comment(name: &str, argument: &str) -> String {
    format!("{FUNCTION_COMMENT}{}\n", json!([name, argument]))
}

fn description(constraint: &Constraint) -> &'static str {
    match constraint {
        Constraint::JsonObject | Constraint::JsonSchema(_) => "the JSON schema",
        Constraint::Regex(_) => "the regular expression",
        Constraint::Lark(_) => "the grammar",
    }
}

/// llguidance's error as a sentence. `causes` begin with the outermost.
pub(super) fn error_sentence(name: &str, causes: &[String]) -> String {
    let inner = causes.last().map_or("", String::as_str);
    if let Some(keys) = inner.strip_prefix("Unimplemented keys: ") {
        let keys = keys.trim_matches(['[', ']']);
        return format!("{name} uses a keyword that is not supported: {keys}");
    }
    if inner.starts_with("oneOf constraints") {
        return format!("{name} uses oneOf with options that may overlap, which is not supported: use anyOf");
    }
    if inner.contains("regex parse error") {
        return format!("{name} has a pattern that cannot be used: {}", first_error_line(inner));
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
