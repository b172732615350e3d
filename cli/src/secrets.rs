//! `mlxd secrets`: the master key, which seals the API keys of providers. Runs `mlxd-gateway secrets` on the home folder.

use serde_json::{Value, json};

use crate::client::{Answer, ClientError};
use crate::config::Environment;
use crate::gateway::{self, Folder, Form};

/// Subcommands of `mlxd secrets`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SecretVerb {
    /// Seal all API keys of providers by a new master key: a random one in HOME/master.key, or that of --new-key-env.
    Rotate {
        /// The variable with the new master key, if MLXD_MASTER_KEY has the present one.
        #[arg(long, value_name = "NAME")]
        new_key_env: Option<String>,
        #[command(flatten)]
        form: Form,
    },
}

/// Runs a command and returns its output.
pub(crate) fn run(verb: SecretVerb, environment: &Environment) -> Result<Answer, ClientError> {
    let SecretVerb::Rotate { new_key_env, form } = verb;
    let next = new_key_env.map(|name| gateway::variable(&name, environment)).transpose()?;
    let is_given = next.is_some();
    let (answer, parsed) =
        Folder::new(form.home, environment)?.ask("secrets", &["rotate".as_ref()], &json!(next))?;
    if form.json {
        return Ok(answer.into());
    }
    let note = if is_given {
        "restart the server with MLXD_MASTER_KEY set to the new key\n"
    } else {
        "earlier backups of the database need the earlier key\n"
    };
    Ok(Answer { text: sentence(&parsed), note: note.into() })
}

fn sentence(done: &Value) -> String {
    let text = |field: &str| done[field].as_str().unwrap_or_default().to_owned();
    let (from, to) = (text("from"), text("to"));
    format!("{} API keys are sealed by the master key {to}, and no longer by {from}\n", done["sealed"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_names_both_keys() {
        let text = sentence(&json!({"from": "aa", "to": "bb", "sealed": 3}));
        assert_eq!(text, "3 API keys are sealed by the master key bb, and no longer by aa\n");
    }
}
