//! Models of backends: programs of the user's, which the fleet runs by way of `mlxd-runner` as it runs workers.
//!
//! To the rest of the supervisor they are models of one more store, which has no folder.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipc_proto::supervisor::{Capabilities, Details};

use crate::registry::{Catalogue, Folder, Model, ModelSource};

/// Variables that every program gets. Those of libraries are left out: they are mlxd's own.
const USUAL: [&str; 22] = [
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HOME",
    "LANG",
    "LOGNAME",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "no_proxy",
];
/// The log filter, which the runner reads and keeps.
const LOG_FILTER: &str = "MLXD_LOG";

/// The model of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalModel {
    /// Its name in the API.
    pub id: String,
    /// The backend's name in `config.toml`.
    pub backend: String,
    /// The program and its arguments. `{port}` in them becomes the port.
    pub command: Vec<String>,
    /// The path of the health check.
    pub health: String,
    /// Bytes of its lease.
    pub memory: u64,
    /// Seconds that a start may take.
    pub start_seconds: u32,
    /// Seconds that a request may take.
    pub request_seconds: u32,
    /// The maximum of prompt and output together, in tokens, if known.
    pub context: Option<u32>,
    /// Variables of this process that the program gets, besides the usual ones.
    pub pass_env: Vec<String>,
}

/// All models of backends.
#[derive(Debug, Default)]
pub(crate) struct Externals {
    /// The program that runs them.
    pub(crate) runner: PathBuf,
    /// By id.
    pub(crate) models: BTreeMap<String, ExternalModel>,
}

impl Externals {
    pub(crate) fn new(runner: PathBuf, models: Vec<ExternalModel>) -> Self {
        Self { runner, models: models.into_iter().map(|model| (model.id.clone(), model)).collect() }
    }

    /// The store of these models; `None` without any. Messages that name its folder name `home`.
    pub(crate) fn source(&self, home: &Path) -> Option<Box<dyn ModelSource>> {
        let models: Catalogue =
            self.models.iter().map(|(id, model)| (id.clone(), Arc::new(listed(model)))).collect();
        (!models.is_empty())
            .then(|| Box::new(Source { path: home.to_owned(), models }) as Box<dyn ModelSource>)
    }
}

struct Source {
    path: PathBuf,
    models: Catalogue,
}

impl ModelSource for Source {
    fn path(&self) -> &Path {
        &self.path
    }

    fn scan(&mut self) -> Catalogue {
        self.models.clone()
    }
}

/// The model as a registry lists it. What it can do is not known: requests are passed on, and its program may refuse them.
fn listed(model: &ExternalModel) -> Model {
    let capabilities = Capabilities { chat: true, tools: true, vision: true, ..Capabilities::default() };
    let details = Details {
        backend: Some(model.backend.clone()),
        weight_bytes: model.memory,
        context: model.context,
        capabilities,
        ..Details::default()
    };
    let mut folder = Folder::unread(PathBuf::new());
    folder.bytes = model.memory;
    Model { folder, details, silent: false }
}

impl ExternalModel {
    /// The program's environment: the usual variables of `all`, and those that its settings name. No secret is among the usual ones.
    pub(crate) fn environment(
        &self,
        all: impl Iterator<Item = (OsString, OsString)>,
    ) -> impl Iterator<Item = (OsString, OsString)> {
        let is_usual = |name: &OsStr| {
            name.to_str()
                .is_some_and(|name| USUAL.contains(&name) || name == LOG_FILTER || name.starts_with("LC_"))
        };
        all.filter(move |(name, _)| is_usual(name) || self.pass_env.iter().any(|own| **own == **name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ExternalModel {
        ExternalModel {
            id: "lm/m".into(),
            backend: "lm".into(),
            command: vec!["serve".into()],
            health: "/health".into(),
            memory: 5,
            start_seconds: 1,
            request_seconds: 1,
            context: Some(9),
            pass_env: vec!["HF_TOKEN".into()],
        }
    }

    #[test]
    fn program_gets_the_usual_variables_and_those_of_its_settings() {
        let names = [
            "PATH",
            "LC_ALL",
            "HF_TOKEN",
            "MLXD_API_KEYS",
            "OPENAI_API_KEY",
            "LD_LIBRARY_PATH",
            "HTTPS_PROXY",
        ];
        let all = names.iter().map(|name| (OsString::from(name), OsString::from("x")));
        let got: Vec<OsString> = model().environment(all).map(|(name, _)| name).collect();
        assert_eq!(got, ["PATH", "LC_ALL", "HF_TOKEN"]);
    }

    #[test]
    fn models_are_those_of_a_store_without_a_folder() {
        let externals = Externals::new("/runner".into(), vec![model()]);
        let models = externals.source(Path::new("/home")).unwrap().scan();
        let (id, listed) = models.first_key_value().unwrap();
        assert_eq!((id.as_str(), listed.details.backend.as_deref()), ("lm/m", Some("lm")));
        assert_eq!(
            (listed.folder.bytes, listed.details.weight_bytes, listed.details.context),
            (5, 5, Some(9))
        );
        assert!(Externals::default().source(Path::new("/home")).is_none());
    }
}
