//! macOS: checks the tools, and lets MLX be built with all kernels that this machine can run.
//!
//! Pure parts are compiled for the tests of every system.

#[cfg(target_os = "macos")]
use std::{fs, process::Command};

/// MLX leaves out its kernels for the neural accelerators of M5 and later, unless the deployment target is at least this.
/// They also need this release of macOS to run (mlx 0.32, `mlx/backend/metal/kernels/CMakeLists.txt` and `is_nax_available`).
const WITH_ACCELERATORS: (u32, u32) = (26, 2);

/// Checks the tools and writes `.mlx/cargo.toml`, unless `MACOSX_DEPLOYMENT_TARGET` is set.
///
/// # Errors
/// A tool is missing, or the file cannot be written.
#[cfg(target_os = "macos")]
pub(super) fn run() -> anyhow::Result<()> {
    if let Some(problem) = missing(super::tools::succeeds) {
        anyhow::bail!(problem);
    }
    let version = Command::new("/usr/bin/sw_vers").arg("-productVersion").output()?;
    let settings = cargo_settings(&String::from_utf8_lossy(&version.stdout));
    let path = crate::paths::mlx().join("cargo.toml");
    if fs::read_to_string(&path).is_ok_and(|written| written == settings) {
        return Ok(());
    }
    fs::create_dir_all(crate::paths::mlx())?;
    Ok(fs::write(path, settings)?)
}

/// The first build tool of mlx-sys that is missing, with the way to install it. `succeeds` runs a program with arguments.
fn missing(succeeds: impl Fn(&str, &[&str]) -> bool) -> Option<&'static str> {
    let tools: [(&str, &[&str], &str); 3] = [
        (
            "xcode-select",
            &["-p"],
            "the Xcode command line tools are missing: install them with `xcode-select --install`",
        ),
        ("cmake", &["--version"], "cmake is missing: install it with `brew install cmake`"),
        // The command line tools alone do not have it, and MLX's build would fail minutes later.
        (
            "xcrun",
            &["-sdk", "macosx", "metal", "--version"],
            "the Metal compiler is missing: install Xcode, run `sudo xcode-select -s /Applications/Xcode.app`, \
             and from Xcode 26 on `xcodebuild -downloadComponent MetalToolchain`",
        ),
    ];
    tools
        .into_iter()
        .find(|(program, arguments, _)| !succeeds(program, arguments))
        .map(|(_, _, problem)| problem)
}

/// Cargo's settings for a build on this release of macOS. A variable that the user has set wins.
fn cargo_settings(release: &str) -> String {
    let mut settings = "# Written by `cargo xtask setup`.\n".to_owned();
    if parse_release(release).is_some_and(|release| release >= WITH_ACCELERATORS) {
        let (major, minor) = WITH_ACCELERATORS;
        settings.push_str("# With an older target MLX has no kernels for the neural accelerators.\n");
        settings.push_str(&format!("[env]\nMACOSX_DEPLOYMENT_TARGET = \"{major}.{minor}\"\n"));
    }
    settings
}

fn parse_release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split('.').map(str::parse);
    let major = numbers.next()?.ok()?;
    Some((major, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tool_is_named_with_its_remedy() {
        for (absent, remedy) in [
            ("xcode-select", Some("`xcode-select --install`")),
            ("cmake", Some("`brew install cmake`")),
            ("xcrun", Some("`xcodebuild -downloadComponent MetalToolchain`")),
            ("none", None),
        ] {
            let problem = missing(|program, _| program != absent);
            assert_eq!(problem.is_some(), remedy.is_some(), "{absent}");
            assert!(problem.is_none_or(|problem| problem.contains(remedy.unwrap())), "{problem:?}");
        }
        let without_metal = missing(|_, arguments| !arguments.contains(&"metal"));
        assert!(without_metal.unwrap().starts_with("the Metal compiler is missing"));
    }

    #[test]
    fn deployment_target_rises_where_the_accelerators_can_run() {
        for (release, rises) in
            [("15.6.1", false), ("26.1", false), ("26.2", true), ("26.10\n", true), ("27", true), ("", false)]
        {
            assert_eq!(cargo_settings(release).contains("\"26.2\""), rises, "{release}");
        }
    }
}
