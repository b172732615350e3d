//! Workers that serve: their processes sleep, and what they would answer is answered from here.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::generate::Priority::{High, Low, Normal};
use ipc_proto::generate::{GenerateRequest, Prompt, RequestId};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::socket::{self, Channel};
use ipc_proto::stream::StreamId;
use ipc_proto::supervisor::{Change, Pressure, Subject, WorkerEntry, WorkerState};
use ipc_proto::worker::{Accepted, Health, Memory, ModelInfo, ModelKind, Progress, Room, Worker};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};

use super::*;

/// What all workers of a fleet answer.
#[derive(Clone, Default)]
struct Answers {
    health: Arc<Mutex<Health>>,
    /// How far loading is; it ends where all is loaded.
    progress: Arc<Mutex<Progress>>,
    /// What their KV caches were told to become.
    sizes: Arc<Mutex<Vec<u64>>>,
}

const WEIGHTS: u64 = 7 << 20;

impl Worker for Answers {
    async fn wait_ready(self, _: Context) -> Result<ModelInfo> {
        let loads = || {
            let progress = *self.progress.lock().unwrap();
            progress.loaded < progress.total
        };
        while loads() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(ModelInfo {
            architecture: "fake".into(),
            kind: ModelKind::Generate,
            max_context: 64,
            has_chat_template: false,
            weight_bytes: WEIGHTS,
        })
    }

    async fn progress(self, _: Context) -> Progress {
        *self.progress.lock().unwrap()
    }

    async fn submit(self, _: Context, _: StreamId, _: GenerateRequest) -> Result<Accepted> {
        Ok(Accepted { prompt_tokens: 0, room: Room::default() })
    }

    async fn count_tokens(self, _: Context, _: Prompt) -> Result<u32> {
        Ok(0)
    }

    async fn render(self, _: Context, _: Prompt) -> Result<RenderedPrompt> {
        Ok(RenderedPrompt::default())
    }

    async fn tokenize(self, _: Context, _: TokenizeRequest) -> Result<Tokenized> {
        Ok(Tokenized::default())
    }

    async fn detokenize(self, _: Context, _: Vec<u32>) -> Result<String> {
        Ok(String::new())
    }

    async fn embed(self, _: Context, _: EmbedRequest) -> Result<Embeddings> {
        Ok(Embeddings::default())
    }

    async fn rerank(self, _: Context, _: RerankRequest) -> Result<Scores> {
        Ok(Scores::default())
    }

    async fn cancel(self, _: Context, _: StreamId, _: RequestId) {}

    async fn health(self, _: Context) -> Health {
        *self.health.lock().unwrap()
    }

    async fn resize_kv(self, _: Context, bytes: u64) -> Result<u64> {
        self.sizes.lock().unwrap().push(bytes);
        Ok(bytes)
    }

    async fn trim(self, _: Context) -> Result<Memory> {
        Ok(Memory::default())
    }
}

/// A fleet whose first workers answer so.
fn serving(policy: Policy) -> (Stage, Answers) {
    let setup = stage("exec sleep 100", policy);
    let answers = Answers::default();
    answers.health.lock().unwrap().steps = 1;
    for number in 1..10 {
        let listener = socket::listen(&setup.folder.path().join(format!("w{number}.sock"))).unwrap();
        let answers = answers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok((Channel::Control, stream)) = socket::welcome(stream).await else { continue };
                let calls =
                    BaseChannel::with_defaults(socket::framed(stream)).execute(answers.clone().serve());
                tokio::spawn(calls.for_each(|call| async { drop(tokio::spawn(call)) }));
            }
        });
    }
    (setup, answers)
}

fn with(settings: ModelSettings) -> Policy {
    Policy { models: BTreeMap::from([("m".into(), settings)]), ..Policy::default() }
}

fn ready(entry: &ModelEntry) -> usize {
    entry.workers.iter().filter(|worker| worker.state == WorkerState::Ready).count()
}

impl Stage {
    async fn load(&self) {
        self.fleet.ensure_ready(Want::model("m")).await.unwrap();
        self.started(1).await;
    }

    /// Process ids of the workers started so far, which are so many; one may serve before its script says that it runs.
    async fn started(&self, wanted: usize) -> Vec<i32> {
        for _ in 0..500 {
            if self.starts().len() >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.starts().len(), wanted);
        self.starts()
    }

    /// Seconds of idleness after which the one worker goes.
    async fn expires(&self) -> u64 {
        let is_idle = |worker: &WorkerEntry| worker.idle_ms.is_some_and(|ms| ms > 0);
        let entry = self.until(|entry| entry.workers.iter().any(is_idle)).await;
        let worker = &entry.workers[0];
        (worker.expires_ms.unwrap() + worker.idle_ms.unwrap()).div_ceil(1000)
    }

    /// Watches until a change is `wanted`.
    async fn hears(&self, mut revision: u64, wanted: impl Fn(&Change) -> bool) -> Vec<Change> {
        let mut heard = Vec::new();
        while !heard.iter().any(&wanted) {
            let changes = tokio::time::timeout(Duration::from_secs(15), self.fleet.watch(revision)).await;
            let changes = changes.unwrap_or_else(|_| panic!("only {heard:?}"));
            revision = changes.revision;
            heard.extend(changes.changes);
        }
        heard
    }
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_pinned_or_preloaded_model_that_dies_idle_comes_back_and_another_does_not() {
    for settings in [
        ModelSettings { pin: true, ..ModelSettings::default() },
        ModelSettings { preload: true, ..ModelSettings::default() },
    ] {
        let (setup, _) = serving(with(settings));
        setup.load().await;
        kill(setup.starts()[0]);
        setup.until(|entry| entry.workers.iter().any(|worker| worker.incarnation == 2)).await;
        setup.until(|entry| ready(entry) == 1).await;
        setup.started(2).await;
        // Who unloads it means it.
        setup.fleet.unload("m".into(), true).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(setup.starts().len(), 2);
    }
    let (setup, _) = serving(Policy::default());
    setup.load().await;
    kill(setup.starts()[0]);
    setup.until(|entry| entry.workers.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(setup.starts().len(), 1);
}

#[tokio::test]
async fn how_long_a_model_stays_is_what_the_last_request_said_then_who_loaded_it_then_the_settings() {
    let (setup, _) = serving(Policy { idle_seconds: Some(600), ..Policy::default() });
    // Models that do not run are left alone.
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(5)).await.unwrap();
    setup.load().await;
    assert_eq!(setup.expires().await, 600);
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(50)).await.unwrap();
    assert_eq!(setup.expires().await, 50);
    setup.fleet.keep_alive("m".into(), KeepAlive::Default).await.unwrap();
    assert_eq!(setup.expires().await, 600);
    let held = Want { keep_alive: Some(KeepAlive::Seconds(1200)), ..Want::model("m") };
    setup.fleet.ensure_ready(held.clone()).await.unwrap();
    assert_eq!(setup.expires().await, 1200);
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(50)).await.unwrap();
    assert_eq!(setup.expires().await, 50);
    setup.fleet.keep_alive("m".into(), KeepAlive::Default).await.unwrap();
    assert_eq!(setup.expires().await, 1200);
    // Unloading forgets both.
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(50)).await.unwrap();
    setup.fleet.unload("m".into(), true).await.unwrap();
    setup.fleet.ensure_ready(Want::model("m")).await.unwrap();
    assert_eq!(setup.expires().await, 600);
    // So does going by itself.
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(0)).await.unwrap();
    setup.until(|entry| entry.workers.is_empty()).await;
    setup.fleet.ensure_ready(Want::model("m")).await.unwrap();
    assert_eq!(setup.expires().await, 600);
}

/// Watches a restart of two workers: each number of ready ones that was seen, and how many processes there were at most.
async fn restarted(setup: &Stage) -> (Vec<usize>, usize) {
    let fleet = setup.fleet.clone();
    let restarting = tokio::spawn(async move { fleet.restart("m".into()).await });
    let (mut seen, mut most) = (Vec::new(), 0);
    while !restarting.is_finished() {
        let entry = setup.fleet.models().await.remove(0);
        seen.push(ready(&entry));
        most = most.max(entry.workers.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    restarting.await.unwrap().unwrap();
    let entry = setup.until(|entry| entry.workers.len() == 2 && ready(entry) == 2).await;
    let mut numbers: Vec<u64> = entry.workers.iter().map(|worker| worker.incarnation).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4], "both are new");
    (seen, most)
}

#[tokio::test]
async fn replicas_are_restarted_one_by_one() {
    let two = || with(ModelSettings { replicas: 2, ..ModelSettings::default() });
    // A worker takes 384 MiB until it says what it really has.
    for (memory, least, most) in [(4 << 30, 2, 4), (900 << 20, 1, 2)] {
        let (setup, _) = serving(Policy { memory: Some(memory), ..two() });
        setup.fleet.ensure_ready(Want::model("m")).await.unwrap();
        setup.until(|entry| ready(entry) == 2).await;
        let (seen, processes) = restarted(&setup).await;
        assert_eq!(seen.iter().min(), Some(&least), "{memory}: {seen:?}");
        assert!(processes <= most, "{memory}: {processes} processes");
    }
}

#[tokio::test]
async fn caches_shrink_when_memory_gets_short() {
    let settings = ModelSettings { kv_mib: Some(64), ..ModelSettings::default() };
    let (setup, answers) = serving(with(settings));
    setup.load().await;
    let kv = |setup: &Stage| {
        let fleet = setup.fleet.clone();
        async move { fleet.pool().await.leases[0].kv >> 20 }
    };
    assert_eq!(kv(&setup).await, 64);
    setup.pressure("warn");
    for _ in 0..300 {
        if kv(&setup).await == 32 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((kv(&setup).await, answers.sizes.lock().unwrap().clone()), (32, vec![32 << 20]));
}

#[tokio::test]
async fn the_lease_keeps_what_a_draft_model_has_and_shows_what_the_worker_says() {
    let settings = ModelSettings { draft_model: Some("small".into()), ..ModelSettings::default() };
    let (setup, answers) = serving(with(settings));
    let small = setup.folder.path().join("models/small");
    fs::create_dir_all(&small).unwrap();
    fs::write(small.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    let header = r#"{"w": {"dtype": "F32", "shape": [1024, 512], "data_offsets": [0, 2097152]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    fs::write(small.join("model.safetensors"), file).unwrap();
    answers.health.lock().unwrap().prefix.hits = 5;
    setup.load().await;
    let lease = setup.fleet.pool().await.leases.remove(0);
    assert_eq!(lease.weights, WEIGHTS + (2 << 20));
    for _ in 0..200 {
        if setup.fleet.pool().await.leases[0].health.prefix.hits == 5 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", setup.fleet.pool().await);
}

#[tokio::test]
async fn watchers_hear_of_progress_of_new_files_and_of_pressure() {
    let (setup, answers) = serving(Policy::default());
    setup.fleet.models().await;
    let revision = setup.fleet.watch(0).await.revision;
    *answers.progress.lock().unwrap() = Progress { loaded: 5, total: 100 };
    let loading = ask(&setup);
    let half = |change: &Change| change.state == ModelState::Loading { loaded: 50, total: 100 };
    setup.until(|entry| entry.state == ModelState::Loading { loaded: 5, total: 100 }).await;
    answers.progress.lock().unwrap().loaded = 50;
    setup.hears(revision, half).await;
    answers.progress.lock().unwrap().loaded = 100;
    loading.await.unwrap().unwrap();
    setup.pressure("warn");
    let pressed = |change: &Change| change.subject == Subject::Pressure(Pressure::Warn);
    let heard = setup.hears(revision, pressed).await;
    assert!(heard.len() < 12, "{heard:?}");
    let new = setup.folder.path().join("models/new");
    fs::create_dir_all(&new).unwrap();
    fs::write(new.join("config.json"), "{}").unwrap();
    let came = |change: &Change| change.model == "new" && change.subject == Subject::Files { there: true };
    setup.hears(revision, came).await;
    fs::remove_dir_all(new).unwrap();
    let went = |change: &Change| change.model == "new" && change.subject == Subject::Files { there: false };
    setup.hears(revision, went).await;
}

#[tokio::test]
async fn the_more_urgent_is_loaded_first_and_settings_of_nobody_are_named() {
    let priority = |priority| ModelSettings { priority, ..ModelSettings::default() };
    let mut policy = with(priority(High));
    policy.models.insert("typo".into(), ModelSettings::default());
    let (setup, _) = serving(policy);
    for name in ["a", "b", "c"] {
        let model = setup.folder.path().join("models").join(name);
        fs::create_dir_all(&model).unwrap();
        fs::write(model.join("config.json"), "{}").unwrap();
    }
    setup.pressure("warn");
    let queue = |wanted: usize| {
        let fleet = setup.fleet.clone();
        async move {
            while fleet.pool().await.queue.len() < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    for (at, (model, priority)) in
        [("a", Low), ("b", Normal), ("m", Normal), ("c", High)].into_iter().enumerate()
    {
        let fleet = setup.fleet.clone();
        let want = Want { priority, ..Want::model(model) };
        tokio::spawn(async move { fleet.ensure_ready(want).await });
        queue(at + 1).await;
    }
    let pool = setup.fleet.pool().await;
    assert_eq!(pool.queue, ["m", "c", "b", "a"], "what is set for m counts as much as what c's request says");
    assert_eq!(pool.unknown, ["typo"]);
}

#[tokio::test]
async fn a_family_without_code_is_the_clients_error() {
    let (setup, _) = serving(Policy::default());
    fs::write(setup.folder.path().join("models/m/config.json"), r#"{"model_type": "gpt2"}"#).unwrap();
    let error = setup.refused().await;
    assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::InvalidRequest, Some("model")));
    assert!(error.message.contains("\"gpt2\"") && error.message.contains("llama"), "{error}");
    assert!(setup.starts().is_empty());
}
