//! Prepares the tests' models, packages and templates, and runs all tests.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::anyhow;

use crate::progress::{shown, step};
use crate::{models, paths, setup, templates};

/// The Python packages that the end-to-end tests use: the SDKs, a fuzzer of OpenAPI documents, the types of a
/// specification, the hub's own client, and a collector of OpenTelemetry.
const PYTHON: [&str; 11] = [
    "openai[realtime]==3.54.0",
    "anthropic==2.12.0",
    "langchain-openai==1.7.4",
    "langchain-anthropic==1.7.10",
    "schemathesis==4.32.5",
    "cohere==7.3.1",
    "ollama==0.6.3",
    "openresponses-types==2.4.0",
    "email-validator==2.4.0",
    "huggingface_hub==2.4.0",
    "rotel==0.0.1a15",
];
/// The JavaScript packages.
const NODE: [&str; 10] = [
    "openai@7.55.0",
    "@anthropic-ai/sdk@1.10.0",
    "ai@6.0.326",
    "@ai-sdk/openai-compatible@2.0.92",
    "@ai-sdk/openai@3.0.141",
    "@ai-sdk/anthropic@3.0.140",
    "zod@4.6.7",
    "playwright-core@1.64.1",
    "ollama@0.6.4",
    "axe-core@4.14.1",
];

/// The coding agents, each in its newest version of November 2026.
const CLIENTS: [&str; 3] =
    ["@anthropic-ai/claude-code@2.1.332", "@openai/codex@0.171.0", "opencode-ai@1.18.33"];

const NO_RUN: &str = "--no-run";

/// Durations of the finished steps.
#[derive(Default)]
struct Times(Vec<(&'static str, f64)>);

impl Times {
    fn take<T>(&mut self, what: &'static str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let start = Instant::now();
        let outcome = work();
        self.0.push((what, start.elapsed().as_secs_f64()));
        outcome
    }

    fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    fn print(mut self) {
        self.0.sort_by(|a, b| b.1.total_cmp(&a.1));
        println!("slowest steps:");
        for (what, seconds) in self.0 {
            println!("  {seconds:7.1} s  {what}");
        }
    }
}

/// Runs all tests; `arguments` go to `cargo test`. With `--no-run` among them everything is only built and fetched.
///
/// # Errors
/// When a preparation or a test fails.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut times = Times::default();
    let outcome = steps(arguments, &mut times);
    times.print();
    outcome
}

/// What the tests use besides the programs.
struct Fixtures {
    python: PathBuf,
    node: PathBuf,
    /// The coding agents; inside, the reason why npm's registry cannot be reached.
    clients: Result<PathBuf, String>,
    templates: PathBuf,
}

impl Fixtures {
    fn prepare(times: &mut Times) -> anyhow::Result<Self> {
        times.take("models", || models::fetch("all"))?;
        Ok(Self {
            python: times.take("python environment", test_python)?,
            node: times.take("node packages", test_node)?,
            clients: times.take("coding agents", test_clients)?,
            templates: times.take("chat templates", templates::prepare)?,
        })
    }
}

/// Builds and, meanwhile, fetches: one keeps the processor busy, the other the network.
fn build_and_prepare(cargo_test: &mut Command, times: &mut Times) -> anyhow::Result<Fixtures> {
    std::thread::scope(|scope| {
        let fixtures = scope.spawn(|| {
            let mut times = Times::default();
            Fixtures::prepare(&mut times).map(|fixtures| (fixtures, times))
        });
        // This builds the programs too: cargo does so for packages with integration tests.
        let built = times.take("build", || shown("cargo test --no-run", cargo_test));
        let (fixtures, fetched) =
            fixtures.join().map_err(|_| anyhow!("preparing what the tests use panicked"))??;
        times.extend(fetched);
        built.map(|()| fixtures)
    })
}

fn cargo_test(last: &str, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut cargo = paths::cargo();
    cargo.args(["test", "--release", "--workspace", last]).args(arguments).env("PATH", setup::node()?.path());
    Ok(cargo)
}

fn steps(arguments: &[String], times: &mut Times) -> anyhow::Result<()> {
    times.take("setup", setup::run)?;
    let (no_run, arguments): (Vec<_>, Vec<_>) =
        arguments.iter().map(String::as_str).partition(|argument| *argument == NO_RUN);
    let Fixtures { python, node, clients, templates } =
        build_and_prepare(&mut cargo_test(NO_RUN, &arguments)?, times)?;
    if !no_run.is_empty() {
        return Ok(());
    }
    let mut tests = cargo_test("--no-fail-fast", &arguments)?;
    tests.env("MLXD_TEST_MODELS", paths::models()).env("MLXD_TEST_PYTHON", python);
    tests.env("MLXD_TEST_NODE", node).env("MLXD_TEST_TEMPLATES", templates);
    tests.env("MLXD_BIN_DIR", paths::root().join("target/release"));
    if std::env::var_os("INSTA_UPDATE").is_none() {
        // A mismatch fails and writes nothing.
        tests.env("INSTA_UPDATE", "no");
    }
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        // End-to-end tests wait more than they compute.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        tests.env("RUST_TEST_THREADS", (cores + 1).to_string());
    }
    // `cargo xtask backends` runs them: they need gigabytes of other programs.
    let mut skipped = vec!["real_backends::"];
    match find_browser() {
        Some(path) => drop(tests.env("MLXD_TEST_CHROMIUM", path)),
        None => {
            println!("SKIPPED: the tests with a browser, as no Chromium was found (set MLXD_TEST_CHROMIUM)");
            skipped.extend(["browser::", "web_ui::"]);
        }
    }
    if !paths::ui().join("dist/index.html").exists() {
        println!("SKIPPED: the tests of the web UI, as it is not built");
        skipped.push("web_ui::");
    }
    match clients {
        Ok(folder) => drop(tests.env("MLXD_TEST_CLIENTS", folder)),
        Err(unreachable) => {
            println!(
                "SKIPPED: the tests with coding agents, as npm's registry cannot be reached: {unreachable}"
            );
            skipped.push("clients::");
        }
    }
    if !skipped.is_empty() && !arguments.contains(&"--") {
        tests.arg("--");
    }
    tests.args(skipped.into_iter().flat_map(|module| ["--skip", module]));
    times.take("tests", || shown("cargo test", &mut tests))
}

/// The program of Chromium or Chrome.
pub(crate) fn find_browser() -> Option<PathBuf> {
    let named = std::env::var_os("MLXD_TEST_CHROMIUM").map(PathBuf::from);
    let usual =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    let mac = PathBuf::from("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome");
    named.into_iter().chain(usual).chain([mac]).find(|path| path.exists())
}

fn test_python() -> anyhow::Result<PathBuf> {
    let venv = paths::mlx().join("test-venv");
    setup::Stamp::new("test-venv", &PYTHON).once(|| setup::make_venv(&venv, &PYTHON))?;
    Ok(venv.join("bin/python"))
}

/// The folder of the JavaScript packages.
///
/// # Errors
/// When they cannot be fetched.
pub(crate) fn test_node() -> anyhow::Result<PathBuf> {
    npm_install("test-node", &NODE)
}

/// The agents' folder; inside, the reason why npm's registry cannot be reached.
fn test_clients() -> anyhow::Result<Result<PathBuf, String>> {
    match npm_install("test-clients", &CLIENTS) {
        Ok(folder) => Ok(Ok(folder)),
        Err(failed) => match unreachable_registry(&failed.to_string()) {
            Some(reason) => Ok(Err(reason.to_owned())),
            None => Err(failed),
        },
    }
}

/// npm's code for a network that does not answer, if its output has one.
pub(crate) fn unreachable_registry(output: &str) -> Option<&str> {
    let codes = ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ETIMEDOUT"];
    codes.into_iter().find(|code| output.contains(&format!("code {code}")))
}

fn npm_install(name: &'static str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = paths::mlx().join(name);
    setup::Stamp::new(name, packages).once(|| {
        std::fs::create_dir_all(&folder)?;
        let mut npm = setup::node()?.command("npm");
        npm.args(["install", "--no-save", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).args(packages);
        step(&format!("fetching {}", packages.join(", ")), &mut npm)
    })?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_is_unreachable_only_where_npm_says_so() {
        let silent =
            "fetching x failed (exit status: 1):\nnpm error code ENOTFOUND\nnpm error syscall getaddrinfo";
        assert_eq!(unreachable_registry(silent), Some("ENOTFOUND"));
        assert_eq!(
            unreachable_registry("npm error code ETARGET\nnpm error notarget No matching version"),
            None
        );
        assert_eq!(unreachable_registry("npm error code E404"), None);
    }
}
