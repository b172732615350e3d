//! A user with a home and a cache of models of their own, whose commands meet a fake hub.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::fake_hub::FakeHub;
use crate::places;
use crate::server::Server;

/// The user.
pub struct HubUser {
    home: TempDir,
    endpoint: String,
    /// More variables of the commands.
    variables: Vec<(String, String)>,
}

/// An ended command.
#[derive(Debug)]
pub struct Ended {
    /// Whether it succeeded.
    pub success: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl HubUser {
    /// A user of this hub.
    pub fn new(hub: &FakeHub) -> Self {
        let home = tempfile::Builder::new().prefix("mlxd-hub-").tempdir().unwrap();
        Self { home, endpoint: hub.endpoint(), variables: Vec::new() }
    }

    /// Sets a variable of all commands.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The user's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `HF_HOME`.
    pub fn hugging_face(&self) -> PathBuf {
        self.home().join("hf")
    }

    /// The folder of a model in the cache.
    pub fn cached(&self, id: &str) -> PathBuf {
        self.hugging_face().join("hub").join(format!("models--{}", id.replace('/', "--")))
    }

    /// A command of this user's, with nothing from the environment of the tests.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home()).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("HF_HOME", self.hugging_face()).env("HF_ENDPOINT", &self.endpoint);
        command.env("MLXD_HOME", self.home().join("mlxd")).env("HF_HUB_DISABLE_TELEMETRY", "1");
        // The libraries of programs that were not installed.
        for name in ["LD_LIBRARY_PATH", "MLXD_MLX_PATHS"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// A server of this user's, in this user's home, with this `config.toml`.
    pub fn serve(&self, config: &str) -> Server {
        let hub = [("HF_ENDPOINT", self.endpoint.as_str()), ("HF_HUB_DISABLE_TELEMETRY", "1")];
        let mut builder = Server::builder().home(&self.home().join("mlxd")).config(config);
        builder = builder.env("HF_HOME", self.hugging_face().to_str().unwrap());
        let more = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in hub.into_iter().chain(more) {
            builder = builder.env(name, value);
        }
        builder.start()
    }

    /// Runs `mlxd`.
    pub fn mlxd(&self, arguments: &[&str]) -> Ended {
        ended(&self.command(&places::binary("mlxd")).args(arguments).output().unwrap())
    }

    /// Runs `mlxd`, which must succeed. Returns its standard output.
    pub fn done(&self, arguments: &[&str]) -> String {
        let ended = self.mlxd(arguments);
        assert!(ended.success, "mlxd {arguments:?}: {ended:?}");
        ended.out
    }

    /// Runs `mlxd`, which must fail. Returns its one sentence.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let ended = self.mlxd(arguments);
        assert!(!ended.success, "mlxd {arguments:?}: {ended:?}");
        let last = ended.err.lines().last().unwrap_or_default();
        last.strip_prefix("mlxd: ").unwrap_or_else(|| panic!("{ended:?}")).to_owned()
    }

    /// Starts `mlxd`, and leaves its output unread.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(&places::binary("mlxd"));
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// `mlxd pull --json`, which must succeed. Returns its last event.
    pub fn pull(&self, arguments: &[&str]) -> Value {
        let out = self.done(&[&["pull", "--json"], arguments].concat());
        serde_json::from_str(out.lines().last().unwrap()).unwrap()
    }

    /// The names of the models that `mlxd ls` lists.
    pub fn listed(&self) -> Vec<String> {
        let all: Value = serde_json::from_str(&self.done(&["ls", "--json"])).unwrap();
        all.as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs a script of `tests/sdk` that uses huggingface_hub. Returns its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub fn python(&self, script: &str, arguments: &[&str]) -> String {
        let path = places::repository().join("tests/sdk").join(script);
        let mut python = self.command(&places::python());
        python.env("PYTHONDONTWRITEBYTECODE", "1").arg(path).args(arguments);
        let ended = ended(&python.output().unwrap());
        assert!(
            ended.success && ended.out.contains("all checks passed"),
            "{script}: {}\n{}",
            ended.out,
            ended.err
        );
        ended.out
    }
}

fn ended(output: &Output) -> Ended {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { success: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}
