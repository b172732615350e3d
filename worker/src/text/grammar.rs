//! Constrained decoding: the tokens that may come next so that the output matches a request's constraint. llguidance does the
//! parsing. This module supplies a model's vocabulary and keeps the state of one output.
//!
//! The grammar sees exactly the text that the client gets. Some decoders drop the first space of a text (Llama 2), so their
//! grammars begin with that space. This module knows neither logits nor the engine.

mod compile;
mod decimal;
mod formats;
mod matcher;
mod numbers;
mod place;
mod schema;
mod texts;
mod vocabulary;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use ipc_proto::generate::Constraint;

use self::compile::Compiler;
pub(crate) use self::compile::{function_comment, json_text};
pub use self::matcher::{Cancel, Matcher};
pub(crate) use self::schema::prepare as prepare_schema;
pub(crate) use self::texts::{TextForm, text_terminal};
use self::vocabulary::Vocabulary;
use super::tokenizer::Tokenizer;

/// Compiles grammars for one model. Prepares the vocabulary at the first use, which takes a fraction of a second.
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    eos: Arc<HashSet<u32>>,
    tokens: u32,
    compiler: OnceLock<Result<Compiler, String>>,
}

impl Grammars {
    /// Grammars for a model with `tokens` token ids whose turns end with one of `eos`.
    pub fn new(tokenizer: Arc<Tokenizer>, eos: Arc<HashSet<u32>>, tokens: u32) -> Self {
        Self { tokenizer, eos, tokens, compiler: OnceLock::new() }
    }

    /// A matcher for `constraint`, before the first token. Takes milliseconds, and longer the first time, so the engine's
    /// thread must not call it.
    ///
    /// # Errors
    /// A sentence that describes the problem with the constraint, or with this model's tokenizer.
    pub fn compile(&self, constraint: &Constraint) -> Result<Matcher, String> {
        self.compiler()?.compile(constraint)
    }

    /// A matcher for a grammar in Lark that may refer to the constraint `answer` as `@answer`. See [`Self::compile`].
    ///
    /// # Errors
    /// Those of [`Self::compile`].
    pub fn compile_with_answer(&self, lark: String, answer: Option<&Constraint>) -> Result<Matcher, String> {
        self.compiler()?.compile_with_answer(lark, answer)
    }

    /// A marker in Lark: a special token if the vocabulary has it as one, otherwise text.
    pub fn marker(&self, marker: &str) -> String {
        match self.tokenizer.id(marker).filter(|token| self.tokenizer.is_special(*token)) {
            Some(token) => format!("<[{token}]>"),
            None => serde_json::Value::from(marker).to_string(),
        }
    }

    /// Prepares the vocabulary now, unless that has happened.
    ///
    /// # Errors
    /// A sentence that describes the problem with this model's tokenizer.
    pub fn prepare(&self) -> Result<(), String> {
        self.compiler().map(drop)
    }

    /// The number of 32-bit words in a mask: see [`Matcher::mask`].
    pub fn mask_words(&self) -> usize {
        self.tokens.div_ceil(32) as usize
    }

    fn compiler(&self) -> Result<&Compiler, String> {
        let make = || {
            let vocabulary = Vocabulary::new(Arc::clone(&self.tokenizer), &self.eos, self.tokens)?;
            Compiler::new(vocabulary)
        };
        self.compiler.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.compiler.get().is_some();
        f.debug_struct("Grammars").field("tokens", &self.tokens).field("ready", &ready).finish()
    }
}

#[cfg(test)]
mod tests;
