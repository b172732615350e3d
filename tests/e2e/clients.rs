//! Coding agents from npm: Claude Code, Codex and OpenCode run a session of two questions. `cargo xtask test` skips these
//! tests, and says so, where npm cannot be reached.
//!
//! The agents, the server and its engine are real. The model is `induction`: it says what a script says, so that calls are
//! the same in each run. Token counts come from the engine's own prefix cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use e2e::bounded::{self, Ended};
use e2e::induction::{self, SCRIPTED, Script};
use e2e::outside::Outside;
use e2e::recorder::{Exchange, Recorder};
use e2e::{Server, places, process};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

mod claude;
mod codex;
mod compaction;
mod launch;
mod opencode;
mod patch;
mod socket;

/// A question takes an agent at most this long.
const LIMIT: Duration = Duration::from_secs(120);
/// Tokens of a block of the prefix cache.
const BLOCK: u64 = 32;
/// The word that only the file has.
const WORD: &str = "heliotrope";
/// The text that the model writes into `result.txt` by a call.
const RESULT: &str = "The note in this folder consists of one word and it is heliotrope, which is the name of a plant \
    with small purple flowers that turn towards the sun, and of a colour, and of a stone that is green with red spots";
/// Requests of the conversation.
const TURNS: usize = 5;
const QUESTIONS: [&str; 2] = [
    "What does note.txt say? Write it into result.txt, and ask the plants server about it.",
    "What is that?",
];
const FIRST_ANSWER: &str = "The note says heliotrope, and I have written that down in result.txt.";
const SECOND_ANSWER: &str = "Heliotrope is a plant, a colour and a stone.";

/// An agent under test.
trait Agent {
    /// The model's turns: reads `note.txt`, writes [`RESULT`], asks [`mcp_server`] about [`WORD`], gives the first answer, then
    /// the second.
    fn script(&self, workspace: &Workspace) -> Script;
    /// Writes its configuration.
    fn configure(&self, workspace: &Workspace);
    /// Asks a question, in the session before if it is `continued`.
    fn ask(&self, workspace: &Workspace, question: &str, continued: bool) -> Command;
    /// Occurs in the stream of an answer as soon as it calls a function.
    fn call_mark(&self) -> &'static str;
    /// The path of the requests that generate.
    fn path(&self) -> &'static str;
    /// Text of the note after [`WORD`].
    fn rest_of_note(&self) -> String {
        String::new()
    }
}

/// Where an agent runs: it sees no other home.
struct Workspace {
    root: TempDir,
    /// The proxy's URL.
    base: String,
    outside: Outside,
}

impl Workspace {
    fn new() -> Self {
        let workspace =
            Self { root: tempfile::tempdir().unwrap(), base: String::new(), outside: Outside::start() };
        std::fs::create_dir(workspace.home()).unwrap();
        std::fs::create_dir(workspace.work()).unwrap();
        workspace
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The folder that the agent works in.
    fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// A program of the packages.
    fn program(&self, name: &str) -> Command {
        self.command(&places::clients().join("node_modules/.bin").join(name))
    }

    /// A program with nothing of this process' environment but the path.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.home()).env("TMPDIR", self.root.path()).current_dir(self.work());
        // Requests to other hosts go there, and are refused.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env(name, self.outside.url());
        }
        for name in ["NO_PROXY", "no_proxy"] {
            command.env(name, "127.0.0.1,localhost");
        }
        command
    }
}

/// The command line of a server of the Model Context Protocol. Its tool `describe_plant` writes into the folder.
fn mcp_server(workspace: &Workspace) -> [String; 3] {
    let script = places::repository().join("tests/sdk/mcp_server.mjs");
    ["node".into(), script.display().to_string(), workspace.work().display().to_string()]
}

/// The results of a session.
struct Session {
    ends: Vec<Ended>,
    /// `result.txt` and `asked.txt`.
    written: [String; 2],
    exchanges: Vec<Exchange>,
    /// Requests to other hosts.
    outside: Vec<String>,
    log: String,
    path: &'static str,
}

/// Asks the questions. If `kills`, the worker is killed at the first piece of the first call.
fn run(agent: &dyn Agent, questions: &[&str], kills: bool) -> Session {
    let mut workspace = Workspace::new();
    let note = format!("{WORD}\n{}", agent.rest_of_note());
    std::fs::write(workspace.work().join("note.txt"), note).unwrap();
    let models = tempfile::tempdir().unwrap();
    induction::write(models.path(), &agent.script(&workspace));
    let server = Server::builder().models(models.path()).start();
    server.mlxd(&["load", SCRIPTED]);
    // 0: no worker is left to kill.
    let doomed = Arc::new(AtomicI32::new(if kills { server.workers().remove(0).pid } else { 0 }));
    let mark = agent.call_mark();
    let recorder = Recorder::start(server.address(), move |piece| {
        let called = piece.windows(mark.len()).any(|window| window == mark.as_bytes());
        if called && let pid @ 1.. = doomed.swap(0, Ordering::SeqCst) {
            process::signal(pid, Signal::SIGKILL);
        }
    });
    workspace.base = recorder.url("");
    agent.configure(&workspace);
    let ends = questions.iter().enumerate().map(|(turn, question)| {
        bounded::run(&mut agent.ask(&workspace, question, turn > 0), workspace.root.path(), LIMIT)
    });
    let ends = ends.collect();
    expect_no_process_of(&workspace);
    let written = ["result.txt", "asked.txt"].map(|name| {
        std::fs::read_to_string(workspace.work().join(name)).unwrap_or_default().trim_end().to_owned()
    });
    let (exchanges, outside) = (recorder.exchanges(), workspace.outside.wanted());
    Session { ends, written, exchanges, outside, log: server.log(), path: agent.path() }
}

/// A process that left its group still has the session's home.
fn expect_no_process_of(workspace: &Workspace) {
    if !Path::new("/proc/self/environ").exists() {
        return;
    }
    let home = format!("HOME={}", workspace.home().display());
    let has_home = |pid: i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == home.as_bytes())
    };
    let left: Vec<_> = process::processes().into_iter().filter(|process| has_home(process.pid)).collect();
    left.iter().for_each(|process| process::signal(process.pid, Signal::SIGKILL));
    assert!(left.is_empty(), "left behind: {left:?}");
}

impl Session {
    /// The requests of the conversation: those for titles have no tools.
    fn turns(&self) -> impl Iterator<Item = &Exchange> {
        let turns = self.exchanges.iter().filter(|exchange| exchange.path.starts_with(self.path));
        let has_tools = |exchange: &&Exchange| {
            exchange.request["tools"].as_array().is_some_and(|tools| !tools.is_empty())
        };
        // A request with `generate: false` only fills the cache.
        turns.filter(has_tools).filter(|exchange| exchange.request["generate"] != false)
    }

    /// Everything that helps to understand a failure.
    fn story(&self) -> String {
        let exchanges = self.exchanges.iter().map(|exchange| {
            let Exchange { method, path, status, answer, .. } = exchange;
            let prompt = exchange.prompt();
            let refusal = if *status < 400 {
                String::new()
            } else {
                format!("{answer}\n  {}", without_texts(exchange))
            };
            format!("{method} {path}: {status} {prompt:?} {refusal}")
        });
        let exchanges = exchanges.collect::<Vec<_>>().join("\n");
        format!("{:#?}\n{exchanges}\noutside: {:?}\n{}", self.ends, self.outside, self.log)
    }

    /// The session of [`QUESTIONS`] went as scripted.
    fn expect_success(&self) {
        self.expect_answers(&[FIRST_ANSWER, SECOND_ANSWER]);
        assert!(self.written == [RESULT, WORD], "{:?}\n{}", self.written, self.story());
        assert_eq!(self.turns().count(), TURNS, "{}", self.story());
    }

    /// Each question has its answer; no request failed, and none went to another host.
    fn expect_answers(&self, answers: &[&str]) {
        for ended in &self.ends {
            assert!(ended.status.is_some_and(|status| status.success()), "{}", self.story());
        }
        for (ended, answer) in self.ends.iter().zip(answers) {
            assert!(ended.out.contains(answer), "no \"{answer}\": {}", self.story());
        }
        let refused = self.exchanges.iter().any(|exchange| !(200..400).contains(&exchange.status));
        assert!(!refused, "{}", self.story());
        let failed = |exchange: &Exchange| {
            exchange.events().iter().any(|event| {
                let error = [&event["error"], &event["response"]["error"]].into_iter().any(|e| !e.is_null());
                error || event["type"] == "error"
            })
        };
        assert!(!self.exchanges.iter().any(failed), "{}", self.story());
        assert!(self.outside.is_empty(), "{}", self.story());
    }

    /// Each prompt of the conversation has at least nine tenths of the one before from the cache.
    fn expect_cached(&self) {
        let prompts: Vec<_> = self.turns().map(|turn| turn.prompt().unwrap()).collect();
        for pair in prompts.windows(2) {
            // The last block is not full.
            let enough = (pair[0].tokens * 9 / 10).saturating_sub(BLOCK);
            assert!(pair[1].tokens > pair[0].tokens && pair[1].cached >= enough, "{}", self.story());
        }
    }
}

/// The request without its long parts, but with the tools that its answer names.
fn without_texts(exchange: &Exchange) -> Value {
    let mut request = exchange.request.clone();
    let Some(fields) = request.as_object_mut() else { return request };
    for long in ["messages", "system", "input", "instructions"] {
        fields.remove(long);
    }
    if let Some(Value::Array(tools)) = fields.get_mut("tools") {
        let mut at = 0;
        tools.retain(|_| (exchange.answer.contains(&format!("tools[{at}]")), at += 1).0);
    }
    request
}

fn session_ends_well_and_is_cached(agent: &dyn Agent) {
    let session = run(agent, &QUESTIONS, false);
    session.expect_success();
    session.expect_cached();
}

fn session_survives_a_killed_worker(agent: &dyn Agent) {
    let session = run(agent, &QUESTIONS, true);
    session.expect_success();
    // The new worker's cache has the prompt too.
    session.expect_cached();
    assert!(session.log.contains("a request goes on"), "{}", session.story());
}

#[test]
fn claude_code_session_calls_and_is_cached() {
    session_ends_well_and_is_cached(&claude::ClaudeCode);
}

#[test]
fn claude_code_session_survives_a_killed_worker() {
    session_survives_a_killed_worker(&claude::ClaudeCode);
}

#[test]
fn codex_session_calls_and_is_cached() {
    session_ends_well_and_is_cached(&codex::Codex::default());
}

#[test]
fn codex_session_survives_a_killed_worker() {
    session_survives_a_killed_worker(&codex::Codex::default());
}

#[test]
fn opencode_session_calls_and_is_cached() {
    session_ends_well_and_is_cached(&opencode::OpenCode::default());
}

#[test]
fn opencode_session_survives_a_killed_worker() {
    session_survives_a_killed_worker(&opencode::OpenCode::default());
}
