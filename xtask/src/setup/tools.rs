//! Required tools. The error for a missing one names it and the way to install it.

use std::process::{Command, Stdio};

use anyhow::bail;

/// The oldest supported Python.
const OLDEST_PYTHON: (u32, u32) = (3, 11);

/// A Python that is new enough and can make virtual environments.
///
/// # Errors
/// One line with the way to install it.
pub(crate) fn python() -> anyhow::Result<String> {
    let names = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"];
    let found =
        names.into_iter().find(|name| version_of(name).is_some_and(|version| version >= OLDEST_PYTHON));
    match found {
        Some(name) => Ok(name.to_owned()),
        None => bail!(
            "Python {}.{} or newer with venv is missing: install it with `{}`",
            OLDEST_PYTHON.0,
            OLDEST_PYTHON.1,
            if cfg!(target_os = "macos") {
                "brew install python"
            } else {
                "apt-get install python3 python3-venv"
            },
        ),
    }
}

fn version_of(python: &str) -> Option<(u32, u32)> {
    let code = "import venv, ensurepip, sys; print(*sys.version_info[:2])";
    let output = Command::new(python).args(["-c", code]).stderr(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

pub(super) fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

pub(super) fn runs(program: &str, argument: &str) -> bool {
    succeeds(program, &[argument])
}

pub(super) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let command = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    command.is_ok_and(|output| output.status.success())
}

/// A C and a C++ compiler.
///
/// # Errors
/// One line with the way to install them.
#[cfg(not(target_os = "macos"))]
pub(crate) fn require_compilers() -> anyhow::Result<()> {
    for (program, what) in [("cc", "C"), ("c++", "C++")] {
        if !runs(program, "--version") {
            bail!(
                "a {what} compiler ({program}) is missing: install one with `apt-get install build-essential`"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse_version("3 11\n"), Some((3, 11)));
        assert!(parse_version("3 9") < Some(OLDEST_PYTHON) && parse_version("3 20") > Some(OLDEST_PYTHON));
        assert_eq!(parse_version(""), None);
        assert_eq!(parse_version("no version"), None);
    }

    #[test]
    fn a_program_that_is_not_there_does_not_run() {
        assert!(runs("cargo", "--version"));
        assert!(!runs("no-such-program-here", "--version"));
    }
}
