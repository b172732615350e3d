//! One `mlxd serve` with a home of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Answer, Events};
use crate::places;
use crate::process::{self, Process};

/// The text before the address in a server's log.
const LISTENS: &str = "listening on http://";

/// The settings of a server to start.
#[derive(Debug, Default)]
pub struct Builder {
    models: Vec<PathBuf>,
    /// A folder that stays; otherwise one of its own.
    home: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    config: String,
    log: Log,
    /// Commands of a shell that then becomes the server.
    prelude: Vec<String>,
    /// In namespaces of its own it may mount file systems.
    namespaces: bool,
}

/// How the harness treats a server's standard error.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// It is read at once.
    #[default]
    Read,
    /// The disk is full: every write fails.
    Full,
    /// Once the server listens, it stays unread until [`Server::read_log`].
    Stalled,
}

/// A running server. Dropping it kills it; [`Server::stop`] ends it as a user would and checks for remains.
pub struct Server {
    child: Child,
    home: PathBuf,
    _own_home: Option<TempDir>,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
    /// Whether its log is read.
    reads: Arc<AtomicBool>,
    /// From the start of the process to the first accepted TCP connection.
    pub accepting_after: Duration,
}

impl Builder {
    /// Adds a folder of models.
    #[must_use]
    pub fn models(mut self, folder: &Path) -> Self {
        self.models.push(folder.to_owned());
        self
    }

    /// Uses this home folder, which may be that of an earlier server.
    #[must_use]
    pub fn home(mut self, folder: &Path) -> Self {
        self.home = Some(folder.to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Adds an argument of `mlxd serve`.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Writes this into config.toml.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// Lets [`process::limit_files`] make writes fail. Otherwise the kernel would kill a process over its limit.
    #[must_use]
    pub fn bounded(self) -> Self {
        // Child processes inherit ignored signals.
        self.prelude("trap '' XFSZ")
    }

    /// Runs a command of the shell before the server, in the same process.
    #[must_use]
    pub fn prelude(mut self, command: &str) -> Self {
        self.prelude.push(command.into());
        self
    }

    /// Puts a file system on this folder that never answers: a FUSE file system without its program. It is there for the
    /// server and its children only, and ends with them. Linux only.
    #[must_use]
    pub fn silent(mut self, folder: &Path) -> Self {
        self.namespaces = true;
        let options = "fd=9,rootmode=40000,user_id=0,group_id=0";
        self.prelude(&format!(
            "exec 9<>/dev/fuse && mount -i -t fuse -o {options} silent '{}'",
            folder.display()
        ))
    }

    /// Sets how the harness treats its log.
    #[must_use]
    pub fn log(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    fn program(&self) -> Command {
        let mlxd = places::binary("mlxd");
        if self.prelude.is_empty() {
            return Command::new(mlxd);
        }
        let script = format!("{} && exec \"$0\" \"$@\"", self.prelude.join(" && "));
        let mut shell = Command::new(if self.namespaces { "unshare" } else { "/bin/sh" });
        if self.namespaces {
            shell.args(["--user", "--map-root-user", "--mount", "/bin/sh"]);
        }
        shell.args(["-c", &script]).arg(mlxd);
        shell
    }

    /// Starts the server and waits until it accepts connections.
    pub fn start(self) -> Server {
        // A log that cannot be read would hide a port chosen by the server.
        let port = if self.log == Log::Full { free_port() } else { 0 };
        let own =
            self.home.is_none().then(|| tempfile::Builder::new().prefix("mlxd-e2e-").tempdir().unwrap());
        let home = own.as_ref().map(|own| own.path().to_owned()).or(self.home.clone()).unwrap();
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("config.toml"), &self.config).unwrap();
        let mut command = self.program();
        command.args(["serve", "--port", &port.to_string(), "--home"]).arg(&home).args(&self.arguments);
        for folder in &self.models {
            command.arg("--models").arg(folder);
        }
        command.envs(&self.environment).env_remove("MLXD_API_KEYS").envs(&self.environment);
        let start = Instant::now();
        let stderr = match self.log {
            Log::Full => std::fs::File::create("/dev/full").unwrap().into(),
            Log::Read | Log::Stalled => Stdio::piped(),
        };
        let mut child = command.stdin(Stdio::null()).stderr(stderr).spawn().unwrap();
        let (log, reads) = (Arc::default(), Arc::new(AtomicBool::new(self.log != Log::Stalled)));
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, Arc::clone(&log), Arc::clone(&reads));
        }
        let address = if port == 0 { String::new() } else { format!("127.0.0.1:{port}") };
        let accepting_after = Duration::ZERO;
        let mut server = Server { child, home, _own_home: own, address, log, reads, accepting_after };
        server.await_address();
        process::wait_for("it accepts connections", Duration::from_secs(10), || {
            std::net::TcpStream::connect(&server.address).is_ok()
        });
        server.accepting_after = start.elapsed();
        server
    }
}

fn collect(from: impl std::io::Read + Send + 'static, log: Arc<Mutex<Vec<String>>>, reads: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let listens = line.contains(LISTENS);
            log.lock().unwrap().push(line);
            while listens && !reads.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
}

/// A port that is free at the moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts the configuration of a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A server with the test models.
    pub fn start() -> Self {
        Self::builder().models(&places::models()).start()
    }

    fn await_address(&mut self) {
        let start = Instant::now();
        while self.address.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(20), "no address in the log:\n{}", self.log());
            assert!(self.child.try_wait().unwrap().is_none(), "mlxd ended at once:\n{}", self.log());
            let found = self.log.lock().unwrap().iter().find_map(|line| {
                let rest = line.split_once(LISTENS)?.1;
                Some(rest.split(|c: char| c.is_whitespace() || c == '\u{1b}').next()?.to_owned())
            });
            self.address = found.unwrap_or_default();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Reads the rest of a stalled log.
    pub fn read_log(&self) {
        self.reads.store(true, Ordering::Relaxed);
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The supervisor itself, as `ps` shows it.
    pub fn supervisor(&self) -> Process {
        process::processes().into_iter().find(|p| p.pid == self.pid() as i32).unwrap()
    }

    /// The gateway processes.
    pub fn gateways(&self) -> Vec<Process> {
        process::children(self.pid(), "mlxd-gateway")
    }

    /// The worker processes.
    pub fn workers(&self) -> Vec<Process> {
        process::children(self.pid(), "mlxd-worker")
    }

    /// The workers of all models, as the admin API shows them.
    ///
    /// # Panics
    /// It does not list the models.
    pub fn listed_workers(&self) -> Vec<Value> {
        let models = self.get("/admin/v1/models").body;
        let models = models["models"].as_array().unwrap_or_else(|| panic!("{models}"));
        models.iter().flat_map(|model| model["workers"].as_array().unwrap()).cloned().collect()
    }

    /// The hub processes.
    pub fn hubs(&self) -> Vec<Process> {
        process::children(self.pid(), "mlxd-hub")
    }

    /// The runners of backends' programs.
    pub fn runners(&self) -> Vec<Process> {
        process::children(self.pid(), "mlxd-runner")
    }

    /// Runs a client verb of the command line. Returns success, and standard output followed by standard error.
    pub fn command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(places::binary("mlxd"));
        let output = command.args(arguments).arg("--home").arg(self.home()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// As [`Self::command`], with this standard input.
    pub fn command_with(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut command = Command::new(places::binary("mlxd"));
        command.args(arguments).arg("--home").arg(self.home()).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs a client verb that must succeed. Returns its output.
    pub fn mlxd(&self, arguments: &[&str]) -> String {
        let (done, text) = self.command(arguments);
        assert!(done, "mlxd {arguments:?}: {text}\n{}", self.log());
        text
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        http::get(&self.url(path)).unwrap_or_else(|e| panic!("GET {path}: {e}\n{}", self.log()))
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        http::post(&self.url(path), body).unwrap_or_else(|e| panic!("POST {path}: {e}\n{}", self.log()))
    }

    /// PATCH of JSON.
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        http::patch(&self.url(path), body).unwrap_or_else(|e| panic!("PATCH {path}: {e}\n{}", self.log()))
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Answer {
        http::delete(&self.url(path)).unwrap_or_else(|e| panic!("DELETE {path}: {e}\n{}", self.log()))
    }

    /// POST whose answer is a stream.
    pub fn stream(&self, path: &str, body: &Value) -> Events {
        http::stream(&self.url(path), body)
    }

    /// A short greedy completion of the shallow model.
    pub fn count(&self) -> Answer {
        let body =
            json!({"model": places::SHALLOW, "prompt": "2, 4, 6, 8,", "max_tokens": 12, "temperature": 0});
        self.post("/v1/completions", &body)
    }

    /// Stops the server by `signal` and waits. Asserts that none of its processes and sockets stays.
    pub fn stop(mut self, signal: Signal) -> ExitStatus {
        let family =
            self.gateways().into_iter().chain(self.workers()).chain(self.hubs()).chain(self.runners());
        let family: Vec<i32> = family.map(|p| p.pid).collect();
        process::signal(self.pid() as i32, signal);
        let mut status = None;
        process::wait_for("mlxd ends", Duration::from_secs(20), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let left: Vec<_> = process::processes().into_iter().filter(|p| family.contains(&p.pid)).collect();
        assert!(left.is_empty(), "processes left behind: {left:?}\n{}", self.log());
        let sockets = self.sockets();
        assert!(sockets.is_empty(), "sockets left behind: {sockets:?}");
        status.unwrap()
    }

    /// The socket files below its home.
    pub fn sockets(&self) -> Vec<PathBuf> {
        use std::os::unix::fs::FileTypeExt;
        let Ok(folder) = std::fs::read_dir(self.home().join("run")) else { return Vec::new() };
        folder
            .filter_map(Result::ok)
            .filter(|e| e.file_type().is_ok_and(|t| t.is_socket()))
            .map(|e| e.path())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log.lock().map(|l| l.join("\n")).unwrap_or_default();
            let _ = std::io::stderr().write_all(format!("--- mlxd's log\n{log}\n---\n").as_bytes());
        }
    }
}
