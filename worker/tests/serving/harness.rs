//! A real worker process and a gateway's two connections to it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use ipc_proto::generate::{
    ChatPrompt, Choice, ChoiceId, Event, Generation, Message, Prompt, Sampling, Submission, TokenLogprob,
};
use ipc_proto::socket::{self, Channel};
use ipc_proto::stream::{GatewayEnd, StreamFrame, StreamHello, StreamId};
use ipc_proto::worker::{Accepted, Health, ModelInfo, WorkerClient};
use tempfile::TempDir;
use tokio::time::timeout;

/// Time limit of every wait, model loading included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker process; killed when dropped.
pub(crate) struct Worker {
    process: Child,
    socket: PathBuf,
    _folder: TempDir,
}

impl Worker {
    /// Starts a worker for `model`; `null` selects the null runner.
    pub(crate) fn start(model: &Path, null: bool, arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("w.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd-worker"));
        command.arg("--model").arg(model).arg("--socket").arg(&socket).arg("--lifeline").args(arguments);
        if null {
            command.env("MLXD_WORKER_RUNNER", "null");
        }
        let process = command.stdin(Stdio::piped()).spawn().unwrap();
        Self { process, socket, _folder: folder }
    }

    /// Opens a control connection as soon as the worker listens.
    pub(crate) async fn control(&self) -> WorkerClient {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match socket::connect(&self.socket, Channel::Control).await {
                Ok(stream) => {
                    return WorkerClient::new(Default::default(), socket::framed(stream)).spawn();
                }
                Err(error) => assert!(Instant::now() < deadline, "the worker does not listen: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Connects as a gateway once the model is loaded.
    pub(crate) async fn gateway(&self, stream: u64) -> Gateway {
        let control = self.control().await;
        let info = control.wait_ready(context()).await.unwrap().unwrap();
        let connection = socket::connect(&self.socket, Channel::Steps).await.unwrap();
        let mut steps: GatewayEnd = socket::framed(connection);
        steps.send(StreamHello { stream: StreamId(stream) }).await.unwrap();
        let mut gateway = Gateway { control, steps, stream: StreamId(stream), info };
        assert_eq!(gateway.frame().await, StreamFrame::Welcome);
        gateway
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        use nix::sys::signal::{Signal, kill};
        kill(nix::unistd::Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
    }

    /// Closes its standard input, as the death of a supervisor does.
    pub(crate) fn cut_lifeline(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Waits for the process to exit.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the worker does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Resident set size in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        let pid = self.process.id().to_string();
        let listed = Command::new("ps").args(["-o", "rss=", "-p", &pid]).output().unwrap().stdout;
        String::from_utf8(listed).unwrap().trim().parse::<f64>().unwrap() / 1024.0
    }

    /// Whether its socket exists.
    pub(crate) fn listens(&self) -> bool {
        self.socket.exists()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A gateway's connections.
pub(crate) struct Gateway {
    pub(crate) control: WorkerClient,
    pub(crate) steps: GatewayEnd,
    pub(crate) stream: StreamId,
    pub(crate) info: ModelInfo,
}

/// The events of one request.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// Index of each delta.
    pub(crate) indices: Vec<u32>,
    /// Text of each delta.
    pub(crate) pieces: Vec<String>,
    /// Log probabilities of the prompt.
    pub(crate) prompt: Vec<TokenLogprob>,
    /// Log probabilities of the output.
    pub(crate) logprobs: Vec<TokenLogprob>,
    pub(crate) tokens: Vec<u32>,
    /// `Finished` or `Failed`.
    pub(crate) end: Option<Event>,
}

impl Gateway {
    /// Receives the next frame.
    pub(crate) async fn frame(&mut self) -> StreamFrame {
        timeout(PATIENCE, self.steps.next()).await.expect("no frame comes").unwrap().unwrap()
    }

    /// Submits a request.
    pub(crate) async fn submit(&self, request: Submission) -> ipc_proto::Result<Accepted> {
        self.control.submit(context(), self.stream, Box::new(request)).await.unwrap()
    }

    /// Collects events until requests `0 .. count` have ended.
    pub(crate) async fn answers(&mut self, count: usize) -> Vec<Answer> {
        self.answers_after(&vec![Vec::new(); count]).await
    }

    /// As [`Self::answers`], for resumed requests. Each answer starts with the given tokens.
    pub(crate) async fn answers_after(&mut self, generated: &[Vec<u32>]) -> Vec<Answer> {
        let resumed = |tokens: &Vec<u32>| Answer { tokens: tokens.clone(), ..Answer::default() };
        let mut answers: Vec<Answer> = generated.iter().map(resumed).collect();
        let mut last_step = 0;
        while answers.iter().any(|answer| answer.end.is_none()) {
            let StreamFrame::Step(frame) = self.frame().await else { panic!("welcomed twice") };
            assert!(frame.step >= last_step && !frame.events.is_empty());
            last_step = frame.step;
            for (id, event) in frame.events {
                let answer = &mut answers[id.0 as usize];
                assert!(answer.end.is_none(), "an event after the last one");
                match event {
                    Event::Prompt { tokens } => answer.prompt = tokens,
                    Event::Delta(delta) => {
                        assert!(!delta.parts.is_empty() || !delta.logprobs.is_empty());
                        answer.text.push_str(&delta.text());
                        answer.pieces.push(delta.text());
                        answer.tokens.extend(delta.tokens);
                        assert_eq!(answer.tokens.len(), delta.index as usize + 1);
                        answer.logprobs.extend(delta.logprobs);
                        answer.indices.push(delta.index);
                    }
                    end => answer.end = Some(end),
                }
            }
        }
        answers
    }

    /// Polls the worker's counters until `condition` holds.
    pub(crate) async fn until(&self, condition: impl Fn(&Health) -> bool) -> Health {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let health = self.control.health(context()).await.unwrap();
            if condition(&health) {
                return health;
            }
            assert!(Instant::now() < deadline, "it stays at {health:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The context of a call, with its deadline.
pub(crate) fn context() -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + PATIENCE;
    context
}

/// A greedy completion request for plain text, of one choice.
pub(crate) fn text(id: u64, prompt: &str, max_tokens: u32) -> Submission {
    let generation = Generation {
        prompt: Prompt::Text(prompt.into()),
        sampling: Sampling { temperature: Some(0.0), ..Sampling::default() },
        max_tokens: Some(max_tokens),
        ..Generation::default()
    };
    let choices = vec![Choice { id: ChoiceId(id), ..Choice::default() }];
    Submission { generation, choices, ..Submission::default() }
}

/// `submission` after a change.
pub(crate) fn edited(mut submission: Submission, edit: impl FnOnce(&mut Submission)) -> Submission {
    edit(&mut submission);
    submission
}

/// A greedy chat request with one question.
pub(crate) fn chat(id: u64, question: &str, max_tokens: u32) -> Submission {
    let message = Message { content: question.into(), ..Message::default() };
    let prompt = Prompt::Chat(ChatPrompt { messages: vec![message], ..ChatPrompt::default() });
    edited(text(id, "", max_tokens), |submission| submission.generation.prompt = prompt)
}
