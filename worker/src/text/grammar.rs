//! Constrained decoding: which tokens may come next for the output to become what a request demands. llguidance does the
//! parsing; here are a model's vocabulary as it wants it, and the state of one output.
//!
//! What the grammar sees is exactly what the client gets: a tokenizer whose decoder drops a text's first space (Llama 2)
//! is made to begin with that space. Nothing here knows logits or the engine.

mod compile;
mod matcher;
mod vocabulary;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use ipc_proto::generate::Constraint;

use self::compile::Compiler;
pub(crate) use self::compile::json_text;
pub use self::matcher::Matcher;
use self::vocabulary::Vocabulary;
use super::tokenizer::Tokenizer;

/// A model's grammars. Made in no time: the vocabulary is prepared when a grammar is first asked for, which takes a
/// fraction of a second.
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    eos: Arc<HashSet<u32>>,
    tokens: u32,
    compiler: OnceLock<Result<Compiler, String>>,
}

impl Grammars {
    /// For a model that has `tokens` token ids and whose turns end with one of `eos`.
    pub fn new(tokenizer: Arc<Tokenizer>, eos: Arc<HashSet<u32>>, tokens: u32) -> Self {
        Self { tokenizer, eos, tokens, compiler: OnceLock::new() }
    }

    /// The state of an output that `constraint` applies to, before its first token. Takes milliseconds, and more the
    /// first time: not for the engine's thread.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the constraint, or why this model's tokenizer cannot be constrained.
    pub fn compile(&self, constraint: &Constraint) -> Result<Matcher, String> {
        self.compiler()?.compile(constraint)
    }

    /// As [`Self::compile`], for a grammar in Lark that may refer to `rest` as `@answer`.
    ///
    /// # Errors
    /// Likewise.
    pub fn compile_around(&self, lark: String, rest: Option<&Constraint>) -> Result<Matcher, String> {
        self.compiler()?.compile_around(lark, rest)
    }

    /// A marker as Lark writes it: a special token where it is one, else text.
    pub fn marker(&self, marker: &str) -> String {
        match self.tokenizer.id(marker).filter(|token| self.tokenizer.is_special(*token)) {
            Some(token) => format!("<[{token}]>"),
            None => serde_json::Value::from(marker).to_string(),
        }
    }

    /// Prepares the vocabulary now, if it is not.
    ///
    /// # Errors
    /// A sentence that says why this model's tokenizer cannot be constrained.
    pub fn prepare(&self) -> Result<(), String> {
        self.compiler().map(drop)
    }

    /// Words of 32 bits in a mask: see [`Matcher::mask`].
    pub fn words(&self) -> usize {
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
