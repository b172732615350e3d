//! Runners for tests and benchmarks, selected by the environment. A release build has none of this.

use std::path::PathBuf;

use crate::engine::runner::Runner;
use crate::text::tokenizer::Tokenizer;

pub mod hanging;
pub mod null;

use hanging::HangingRunner;
use null::NullRunner;

/// `null` selects [`NullRunner`].
const RUNNER: &str = "MLXD_WORKER_RUNNER";
/// The path of a file. The step that finds the file removes it and hangs.
const HANG: &str = "MLXD_TEST_HANG";

/// The [`NullRunner`], if the environment selects it.
///
/// # Errors
/// When the tokenizer has no token to repeat.
pub fn null_runner(tokenizer: &Tokenizer, max_context: u32) -> Result<Option<Box<dyn Runner>>, String> {
    if std::env::var_os(RUNNER).is_none_or(|runner| runner != "null") {
        return Ok(None);
    }
    let tokens = tokenizer.encode(" one two three four", false)?;
    Ok(Some(Box::new(NullRunner::new(max_context, tokens)?)))
}

/// `runner`, made to hang on demand if the environment names a file.
pub fn hang_on_demand(runner: Box<dyn Runner>) -> Box<dyn Runner> {
    match std::env::var_os(HANG) {
        Some(file) => Box::new(HangingRunner::new(runner, PathBuf::from(file))),
        None => runner,
    }
}
