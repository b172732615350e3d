//! Extensions of every protocol: priority, cache scope, time limit and keep-alive.

use ipc_proto::generate;
use ipc_proto::supervisor;
use ipc_proto::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::keep_alive::{self, KeepAlive};

const MAX_SALT_BYTES: usize = 256;
/// One day.
const MAX_TIMEOUT_SECONDS: f64 = 86_400.0;

/// The extension fields of a request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct ExtensionFields {
    /// The priority in the model's queue.
    pub priority: Option<Priority>,
    /// Requests with different salts share no cached text.
    pub cache_salt: Option<String>,
    /// Time limit of the request in seconds.
    pub timeout: Option<f64>,
    /// The time until an idle model is unloaded.
    pub keep_alive: Option<KeepAlive>,
}

/// The priority in the model's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"high\", \"normal\", \"low\" or vLLM's number")]
pub enum Priority {
    /// A name.
    Name(PriorityName),
    /// vLLM's number: a lower one is served earlier, and 0 is normal.
    Number(i64),
}

/// The name of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are self-evident")]
pub enum PriorityName {
    High,
    Normal,
    Low,
}

impl From<Priority> for generate::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Name(PriorityName::High) | Priority::Number(..0) => Self::High,
            Priority::Name(PriorityName::Normal) | Priority::Number(0) => Self::Normal,
            Priority::Name(PriorityName::Low) | Priority::Number(1..) => Self::Low,
        }
    }
}

/// The parsed extensions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extensions {
    /// The priority in the model's queue, if set.
    pub priority: Option<generate::Priority>,
    /// The client's part of the cache scope.
    pub cache_salt: String,
    /// Time limit of the request in milliseconds.
    pub time_limit_ms: Option<u32>,
    /// The time until an idle model is unloaded.
    pub keep_alive: Option<supervisor::KeepAlive>,
}

impl ExtensionFields {
    /// Parses the extensions.
    ///
    /// # Errors
    /// Returns an error for a value outside its range.
    pub fn parse(self) -> Result<Extensions> {
        let cache_salt = self.cache_salt.unwrap_or_default();
        if cache_salt.len() > MAX_SALT_BYTES {
            let text = format!("cache_salt must have at most {MAX_SALT_BYTES} bytes");
            return Err(Error::invalid("cache_salt", text));
        }
        Ok(Extensions {
            priority: self.priority.map(generate::Priority::from),
            cache_salt,
            time_limit_ms: time_limit_ms(self.timeout)?,
            keep_alive: keep_alive::parse(self.keep_alive)?,
        })
    }
}

/// Converts `timeout` to milliseconds. Rounding up never shortens the client's limit and never gives 0.
///
/// # Errors
/// Returns an error for a value outside its range.
pub fn time_limit_ms(timeout: Option<f64>) -> Result<Option<u32>> {
    match timeout {
        None => Ok(None),
        Some(seconds) if seconds > 0.0 && seconds <= MAX_TIMEOUT_SECONDS => {
            Ok(Some((seconds * 1e3).ceil() as u32))
        }
        Some(_) => {
            let text = format!("timeout must be a number of seconds above 0, at most {MAX_TIMEOUT_SECONDS}");
            Err(Error::invalid("timeout", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_is_a_name_or_vllms_number() {
        for (written, priority) in [
            ("\"high\"", generate::Priority::High),
            ("-3", generate::Priority::High),
            ("0", generate::Priority::Normal),
            ("\"low\"", generate::Priority::Low),
            ("7", generate::Priority::Low),
        ] {
            let parsed: Priority = serde_json::from_str(written).unwrap();
            assert_eq!(generate::Priority::from(parsed), priority, "{written}");
        }
    }
}
