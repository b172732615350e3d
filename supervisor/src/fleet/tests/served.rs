//! Workers that serve. Their processes sleep, and the test fake calls in their place.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::generate::Priority::{High, Low, Normal};
use ipc_proto::generate::{ChoiceId, Prompt, Submission};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::socket::{self, Channel};
use ipc_proto::stream::StreamId;
use ipc_proto::supervisor::{Change, Pressure, Subject, WorkerEntry, WorkerState};
use ipc_proto::worker::{Accepted, Capacity, Health, LoadProgress, Memory, ModelInfo, ModelKind, Worker};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};

use super::*;

/// The fake of all workers of a fleet.
#[derive(Clone, Default)]
pub(super) struct FakeWorker {
    health: Arc<Mutex<Health>>,
    /// Loading ends when all bytes are loaded.
    progress: Arc<Mutex<LoadProgress>>,
    /// The requested sizes of KV pools, in bytes.
    sizes: Arc<Mutex<Vec<u64>>>,
}

const WEIGHTS: u64 = 7 << 20;

impl Worker for FakeWorker {
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
            token_bound: None,
            keeps_user_turns: false,
        })
    }

    async fn progress(self, _: Context) -> LoadProgress {
        *self.progress.lock().unwrap()
    }

    async fn submit(self, _: Context, _: StreamId, _: Box<Submission>) -> Result<Accepted> {
        Ok(Accepted { prompt_tokens: 0, capacity: Capacity::default() })
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

    async fn cancel(self, _: Context, _: StreamId, _: ChoiceId) {}

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

/// A fleet whose first nine workers are fake.
pub(super) fn serving_fleet(policy: Policy) -> (Stage, FakeWorker) {
    let setup = stage("exec sleep 100", policy);
    let fake = FakeWorker::default();
    fake.health.lock().unwrap().steps = 1;
    for number in 1..10 {
        let listener = socket::listen(&setup.folder.path().join(format!("w{number}.sock"))).unwrap();
        let fake = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok((Channel::Control, stream)) = socket::welcome(stream).await else { continue };
                let calls = BaseChannel::with_defaults(socket::framed(stream)).execute(fake.clone().serve());
                tokio::spawn(calls.for_each(|call| async { drop(tokio::spawn(call)) }));
            }
        });
    }
    (setup, fake)
}

fn policy_with(settings: ModelSettings) -> Policy {
    Policy { models: BTreeMap::from([("m".into(), settings)]), ..Policy::default() }
}

pub(super) fn count_ready(entry: &ModelEntry) -> usize {
    entry.workers.iter().filter(|worker| worker.state == WorkerState::Ready).count()
}

impl Stage {
    async fn load(&self) {
        self.fleet.ensure_ready(Want::model("m")).await.unwrap();
        self.wait_for_starts(1).await;
    }

    /// Process ids of the workers started so far. A fake worker may serve before its script has logged its start.
    pub(super) async fn wait_for_starts(&self, wanted: usize) -> Vec<i32> {
        for _ in 0..500 {
            if self.starts().len() >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.starts().len(), wanted);
        self.starts()
    }

    /// Seconds of idleness after which the only worker ends.
    async fn lifetime(&self) -> u64 {
        let is_idle = |worker: &WorkerEntry| worker.idle_ms.is_some_and(|ms| ms > 0);
        let entry = self.until(|entry| entry.workers.iter().any(is_idle)).await;
        let worker = &entry.workers[0];
        (worker.expires_ms.unwrap() + worker.idle_ms.unwrap()).div_ceil(1000)
    }

    /// Watches until a change is as wanted.
    async fn watch_until(&self, mut revision: u64, wanted: impl Fn(&Change) -> bool) -> Vec<Change> {
        let mut changes_seen = Vec::new();
        while !changes_seen.iter().any(&wanted) {
            let changes = tokio::time::timeout(Duration::from_secs(15), self.fleet.watch(revision)).await;
            let changes = changes.unwrap_or_else(|_| panic!("only {changes_seen:?}"));
            revision = changes.revision;
            changes_seen.extend(changes.changes);
        }
        changes_seen
    }
}

pub(super) fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn pinned_or_preloaded_model_that_dies_idle_starts_again_and_another_does_not() {
    for settings in [
        ModelSettings { pin: true, ..ModelSettings::default() },
        ModelSettings { preload: true, ..ModelSettings::default() },
    ] {
        let (setup, _) = serving_fleet(policy_with(settings));
        setup.load().await;
        kill(setup.starts()[0]);
        setup.until(|entry| entry.workers.iter().any(|worker| worker.incarnation == 2)).await;
        setup.until(|entry| count_ready(entry) == 1).await;
        setup.wait_for_starts(2).await;
        // An unload is final.
        setup.fleet.unload("m".into(), true).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(setup.starts().len(), 2);
    }
    let (setup, _) = serving_fleet(Policy::default());
    setup.load().await;
    kill(setup.starts()[0]);
    setup.until(|entry| entry.workers.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(setup.starts().len(), 1);
}

#[tokio::test]
async fn model_lifetime_is_set_by_the_last_request_then_the_loading_caller_then_settings() {
    let (setup, _) = serving_fleet(Policy { idle_seconds: Some(600), ..Policy::default() });
    // Has no effect on a model that does not run.
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(5)).await.unwrap();
    setup.load().await;
    assert_eq!(setup.lifetime().await, 600);
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(50)).await.unwrap();
    assert_eq!(setup.lifetime().await, 50);
    setup.fleet.keep_alive("m".into(), KeepAlive::Default).await.unwrap();
    assert_eq!(setup.lifetime().await, 600);
    let held = Want { keep_alive: Some(KeepAlive::Seconds(1200)), ..Want::model("m") };
    setup.fleet.ensure_ready(held.clone()).await.unwrap();
    assert_eq!(setup.lifetime().await, 1200);
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(50)).await.unwrap();
    assert_eq!(setup.lifetime().await, 50);
    setup.fleet.keep_alive("m".into(), KeepAlive::Default).await.unwrap();
    assert_eq!(setup.lifetime().await, 1200);
    // An unload resets both.
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(50)).await.unwrap();
    setup.fleet.unload("m".into(), true).await.unwrap();
    setup.fleet.ensure_ready(Want::model("m")).await.unwrap();
    assert_eq!(setup.lifetime().await, 600);
    // So does expiry.
    setup.fleet.keep_alive("m".into(), KeepAlive::Seconds(0)).await.unwrap();
    setup.until(|entry| entry.workers.is_empty()).await;
    setup.fleet.ensure_ready(Want::model("m")).await.unwrap();
    assert_eq!(setup.lifetime().await, 600);
}

/// Restarts two workers. Returns every observed number of ready workers, and the largest number of processes.
async fn observe_restart(setup: &Stage) -> (Vec<usize>, usize) {
    let fleet = setup.fleet.clone();
    let restarting = tokio::spawn(async move { fleet.restart("m".into()).await });
    let (mut seen, mut most) = (Vec::new(), 0);
    while !restarting.is_finished() {
        let entry = setup.fleet.models().await.remove(0);
        seen.push(count_ready(&entry));
        most = most.max(entry.workers.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    restarting.await.unwrap().unwrap();
    let entry = setup.until(|entry| entry.workers.len() == 2 && count_ready(entry) == 2).await;
    let mut numbers: Vec<u64> = entry.workers.iter().map(|worker| worker.incarnation).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4], "both are new");
    (seen, most)
}

#[tokio::test]
async fn replicas_are_restarted_one_by_one() {
    let two = || policy_with(ModelSettings { replicas: 2, ..ModelSettings::default() });
    // A worker's estimate is 384 MiB.
    for (memory, least, most) in [(4 << 30, 2, 4), (900 << 20, 1, 2)] {
        let (setup, _) = serving_fleet(Policy { memory: Some(memory), ..two() });
        setup.fleet.ensure_ready(Want::model("m")).await.unwrap();
        setup.until(|entry| count_ready(entry) == 2).await;
        let (seen, processes) = observe_restart(&setup).await;
        assert_eq!(seen.iter().min(), Some(&least), "{memory}: {seen:?}");
        assert!(processes <= most, "{memory}: {processes} processes");
    }
}

#[tokio::test]
async fn kv_pools_shrink_under_memory_pressure() {
    let settings = ModelSettings { kv_mib: Some(64), ..ModelSettings::default() };
    let (setup, fake) = serving_fleet(policy_with(settings));
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
    assert_eq!((kv(&setup).await, fake.sizes.lock().unwrap().clone()), (32, vec![32 << 20]));
}

#[tokio::test]
async fn lease_includes_the_draft_model_and_shows_the_workers_health() {
    let settings = ModelSettings { draft_model: Some("small".into()), ..ModelSettings::default() };
    let (setup, fake) = serving_fleet(policy_with(settings));
    let small = setup.folder.path().join("models/small");
    fs::create_dir_all(&small).unwrap();
    fs::write(small.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    let header = r#"{"w": {"dtype": "F32", "shape": [1024, 512], "data_offsets": [0, 2097152]}}"#;
    let data = vec![0; 2 << 20];
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    fs::write(small.join("model.safetensors"), file).unwrap();
    fake.health.lock().unwrap().prefix.hits = 5;
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
async fn watcher_gets_progress_new_files_and_pressure() {
    let (setup, fake) = serving_fleet(Policy::default());
    setup.fleet.models().await;
    let revision = setup.fleet.watch(0).await.revision;
    *fake.progress.lock().unwrap() = LoadProgress { loaded: 5, total: 100 };
    let loading = spawn_ensure(&setup);
    let half = |change: &Change| change.state == ModelState::Loading { loaded: 50, total: 100 };
    setup.until(|entry| entry.state == ModelState::Loading { loaded: 5, total: 100 }).await;
    fake.progress.lock().unwrap().loaded = 50;
    setup.watch_until(revision, half).await;
    fake.progress.lock().unwrap().loaded = 100;
    loading.await.unwrap().unwrap();
    setup.pressure("warn");
    let pressed = |change: &Change| change.subject == Subject::Pressure(Pressure::Warn);
    let changes_seen = setup.watch_until(revision, pressed).await;
    assert!(changes_seen.len() < 12, "{changes_seen:?}");
    let new = setup.folder.path().join("models/new");
    fs::create_dir_all(&new).unwrap();
    fs::write(new.join("config.json"), "{}").unwrap();
    let came = |change: &Change| change.model == "new" && change.subject == Subject::Files { there: true };
    setup.watch_until(revision, came).await;
    fs::remove_dir_all(new).unwrap();
    let went = |change: &Change| change.model == "new" && change.subject == Subject::Files { there: false };
    setup.watch_until(revision, went).await;
}

#[tokio::test]
async fn queue_is_ordered_by_priority_and_settings_without_a_model_are_named() {
    let priority = |priority| ModelSettings { priority, ..ModelSettings::default() };
    let mut policy = policy_with(priority(High));
    policy.models.insert("typo".into(), ModelSettings::default());
    let (setup, _) = serving_fleet(policy);
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
    assert_eq!(
        pool.queue,
        ["m", "c", "b", "a"],
        "the priority set for m counts as much as that of c's request"
    );
    assert_eq!(pool.unknown, ["typo"]);
}

#[tokio::test]
async fn unsupported_family_is_the_clients_error() {
    let (setup, _) = serving_fleet(Policy::default());
    fs::write(setup.folder.path().join("models/m/config.json"), r#"{"model_type": "gpt2"}"#).unwrap();
    let error = setup.refused().await;
    assert_eq!((error.kind, &error.field), (ErrorKind::InvalidRequest, &Some("model".into())));
    assert!(error.message.contains("\"gpt2\"") && error.message.contains("llama"), "{error}");
    assert!(setup.starts().is_empty());
}
