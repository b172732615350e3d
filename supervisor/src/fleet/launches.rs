//! What a worker or a runner is started with, and the limits of its state machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipc_proto::supervisor::ModelSettings;

use super::actor::FleetActor;
use super::worker::{Program, WorkerLaunch};
use crate::memory::Need;
use crate::process::{Rules, reading_time};

impl FleetActor {
    /// The start of a model's process with this incarnation and `kv` bytes of KV cache.
    pub(super) fn launch(&self, id: &str, number: u64, need: &Need, kv: u64) -> (WorkerLaunch, Rules) {
        let (program, rules) = match self.externals.models.get(id) {
            Some(model) => {
                let program = Program::Runner { path: self.externals.runner.clone(), model: model.clone() };
                // An answer that takes long may have no byte for as long as the request may take.
                let step = Duration::from_secs(model.request_seconds.into());
                let reading = Duration::from_secs(model.start_seconds.into());
                (program, Rules { hang: self.hang(), step, reading })
            }
            None => self.worker_program(id, need),
        };
        let socket = self.run.join(format!("w{number}.sock"));
        let kv = (kv < need.kv_wanted).then_some(kv);
        (WorkerLaunch { program, socket, model: id.to_owned(), kv }, rules)
    }

    fn hang(&self) -> Duration {
        Duration::from_secs(self.policy.hang_seconds.into())
    }

    fn worker_program(&self, id: &str, need: &Need) -> (Program, Rules) {
        let model = self.registry.get(id);
        let settings = self.settings(id);
        let draft = self.draft_folder(&settings);
        let program = Program::Worker {
            path: self.program.clone(),
            folder: model.as_ref().map(|model| model.folder.path.clone()).unwrap_or_default(),
            flags: worker_flags(&settings, draft.as_ref().map(|(path, _)| path.as_path()), need.kv_wanted),
        };
        let bytes = model.map_or(0, |model| model.folder.bytes) + draft.map_or(0, |(_, bytes)| bytes);
        let step = longest_step(need.weights);
        (program, Rules { hang: self.hang(), step, reading: reading_time(bytes) })
    }

    /// The draft model's folder and the bytes of its weights on disk.
    ///
    /// The worker gets an unknown id as a path. Its error then quotes the setting.
    fn draft_folder(&self, settings: &ModelSettings) -> Option<(PathBuf, u64)> {
        let id = settings.draft_model.as_ref()?;
        let known = self.registry.get(id).map(|model| (model.folder.path.clone(), model.folder.bytes));
        Some(known.unwrap_or_else(|| (PathBuf::from(id), 0)))
    }
}

/// Time of a step of 512 prompt tokens, a worker's chunk, on a few CPU cores.
///
/// It takes 2 operations for each weight and token, at 50 billion in a second. Weights have 4 bytes there.
fn longest_step(weights: u64) -> Duration {
    if cfg!(target_os = "macos") {
        return Duration::ZERO;
    }
    Duration::from_millis(weights / 4 * 2 * 512 / 50_000_000)
}

/// A model's settings as a worker's flags. `kv` is in bytes.
fn worker_flags(settings: &ModelSettings, draft: Option<&Path>, kv: u64) -> Vec<String> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            flags.extend([format!("--{name}"), value.to_string()]);
        }
    };
    flag("kv-mib", Some(kv.div_ceil(1 << 20)).filter(|mib| *mib > 0));
    flag("context-tokens", settings.context.map(u64::from));
    flag("max-sequences", settings.max_batch.map(u64::from));
    flag("draft-tokens", Some(u64::from(settings.draft_tokens)).filter(|tokens| *tokens > 0));
    flags.extend(draft.map(|folder| format!("--draft-model={}", folder.display())));
    flags.extend(settings.adapter.as_ref().map(|folder| format!("--adapter={}", folder.display())));
    // The worker refuses an unknown format and lists those that it knows.
    flags.extend(settings.tool_format.as_ref().map(|format| format!("--tool-format={format}")));
    flags.extend(settings.reasoning_format.as_ref().map(|format| format!("--reasoning-format={format}")));
    if settings.sanitize_control_tokens {
        flags.push("--sanitize-control-tokens".to_owned());
    }
    flags
}
