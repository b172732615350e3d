//! Limits of tokens as clients write them: -1 for none, numbers of any size, and whole numbers as `1024.0`.

use std::borrow::Cow;
use std::fmt;

use ipc_proto::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A limit of tokens. Ollama, llama.cpp and Open WebUI write -1 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimit(Option<u32>);

impl TokenLimit {
    /// Returns the number of tokens. `None` is no limit. A number beyond 32 bits is more than any context.
    pub fn tokens(self) -> Option<u32> {
        self.0
    }

    /// Returns the number of tokens, which must not be 0. `None` is no limit.
    ///
    /// # Errors
    /// Returns an error that names the field `name`.
    pub fn positive(self, name: &str) -> Result<Option<u32>> {
        match self.0 {
            Some(0) => Err(Error::invalid(name, format!("{name} must be at least 1, or -1 for no limit"))),
            tokens => Ok(tokens),
        }
    }
}

impl From<u32> for TokenLimit {
    fn from(tokens: u32) -> Self {
        Self(Some(tokens))
    }
}

impl<'de> Deserialize<'de> for TokenLimit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LimitVisitor)
    }
}

struct LimitVisitor;

impl Visitor<'_> for LimitVisitor {
    type Value = TokenLimit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tokens, or -1 for no limit")
    }

    fn visit_u64<E: de::Error>(self, tokens: u64) -> Result<TokenLimit, E> {
        Ok(TokenLimit(Some(u32::try_from(tokens).unwrap_or(u32::MAX))))
    }

    fn visit_i64<E: de::Error>(self, tokens: i64) -> Result<TokenLimit, E> {
        match u64::try_from(tokens) {
            Ok(tokens) => self.visit_u64(tokens),
            Err(_) if tokens == -1 => Ok(TokenLimit(None)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(tokens), &self)),
        }
    }

    fn visit_f64<E: de::Error>(self, tokens: f64) -> Result<TokenLimit, E> {
        // The conversion saturates.
        match tokens {
            -1.0 => Ok(TokenLimit(None)),
            _ if tokens >= 0.0 && tokens.fract() == 0.0 => self.visit_u64(tokens as u64),
            _ => Err(E::invalid_value(de::Unexpected::Float(tokens), &self)),
        }
    }
}

impl JsonSchema for TokenLimit {
    fn schema_name() -> Cow<'static, str> {
        "TokenLimit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": -1 })
    }
}

#[cfg(test)]
mod tests;
