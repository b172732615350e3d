//! Tries other servers for MLX as backends: installs each into an environment of its own, and runs the tests with them.

use std::path::Path;
use std::process::Command;

use crate::progress::{shown, step};
use crate::{models, paths, setup};

/// A server, in the version that the presets are made for.
struct Tried {
    /// The preset's name.
    preset: &'static str,
    packages: &'static [&'static str],
    /// Calls of pip that follow. One package asks for CUDA on Linux, and gets MLX for the CPU instead.
    then: &'static [&'static [&'static str]],
}

const SERVERS: [Tried; 3] = [
    Tried { preset: "mlx-lm", packages: &["mlx-lm==0.32.2", "mlx[cpu]==0.32.4"], then: &[] },
    Tried { preset: "vllm-mlx", packages: &["vllm-mlx==0.6.0", "mlx[cpu]==0.32.4"], then: &[] },
    Tried {
        preset: "mlx-openai-server",
        packages: &["mlx-openai-server==1.7.1"],
        then: &[
            &["uninstall", "--yes", "mlx-cuda-13"],
            &["install", "--no-deps", "--force-reinstall", "mlx==0.31.2", "mlx-cpu==0.31.2"],
        ],
    },
];

/// Options of `cargo xtask backends`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The presets to try [default: all].
    presets: Vec<String>,
}

/// Installs the servers and runs the tests with them.
///
/// # Errors
/// When a package cannot be fetched, or a test fails.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    models::fetch("smollm2")?;
    let folder = paths::mlx().join("backends");
    let is_wanted = |tried: &&Tried| {
        arguments.presets.is_empty() || arguments.presets.iter().any(|name| name == tried.preset)
    };
    let mut cargo = paths::cargo();
    cargo.args(["test", "--release", "-p", "e2e", "--test", "e2e", "--"]);
    for tried in SERVERS.iter().filter(is_wanted) {
        install(&folder, tried)?;
        cargo.arg(format!("real_backends::{}", tried.preset.replace('-', "_")));
    }
    cargo.args(["--nocapture", "--test-threads", "1"]);
    cargo.env("MLXD_TEST_BACKENDS", &folder).env("MLXD_TEST_MODELS", paths::models());
    cargo.env("MLXD_BIN_DIR", paths::root().join("target/release"));
    shown("tests of backends", &mut cargo)
}

fn install(folder: &Path, tried: &Tried) -> anyhow::Result<()> {
    let venv = folder.join(tried.preset);
    let wanted: Vec<&str> =
        tried.packages.iter().chain(tried.then.iter().copied().flatten()).copied().collect();
    setup::Stamp::new(&format!("backend-{}", tried.preset), &wanted).once(|| {
        std::fs::create_dir_all(folder)?;
        setup::make_venv(&venv, tried.packages)?;
        for arguments in tried.then {
            let mut pip = Command::new(venv.join("bin/python"));
            pip.args(["-m", "pip", "--disable-pip-version-check"]).args(*arguments);
            step(&format!("pip {}", arguments.join(" ")), &mut pip)?;
        }
        Ok(())
    })
}
