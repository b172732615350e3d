//! Errors of the hub and the cache, as sentences that name a remedy.

use std::path::PathBuf;
use std::time::Duration;

use ipc_proto::{Error, ErrorKind, Field, Origin, Resource};

/// A reason why something failed.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// HF_ENDPOINT is no URL.
    #[error("HF_ENDPOINT is \"{0}\": it must be a URL such as https://huggingface.co")]
    Endpoint(String),
    /// No variable says where the cache is.
    #[error("there is no place for models: set HF_HOME or HOME to a folder")]
    NoCache,
    /// A model's name that the hub cannot have.
    #[error("\"{0}\" is no model's name: write organisation/name or organisation/name@revision")]
    Name(String),
    /// HF_HUB_OFFLINE is set, and the answer is not on disk.
    #[error("{0}, and HF_HUB_OFFLINE forbids to ask the hub: unset it, or choose a model of `mlxd ls`")]
    Offline(String),
    /// The hub does not know the model, or hides it.
    #[error(
        "the hub has no model \"{id}\" that {who} may see: check the name with `mlxd search {search}`{login}",
        who = if *has_token { "your token" } else { "everyone" },
        search = id.rsplit('/').next().unwrap_or(id),
        login = if *has_token { "" } else { "; for a private model set HF_TOKEN, or log in with `hf auth login`" },
    )]
    NotFound {
        /// The model.
        id: String,
        /// Whether the question had a token.
        has_token: bool,
    },
    /// The model asks its users to accept conditions.
    #[error(
        "\"{id}\" is gated: open {page}, log in and accept its conditions, {then}",
        then = if *has_token {
            "then pull again; if its authors approve each request, wait for their mail"
        } else {
            "make a token at https://huggingface.co/settings/tokens, set HF_TOKEN to it, then pull again"
        },
    )]
    Gated {
        /// The model.
        id: String,
        /// Its page.
        page: String,
        /// Whether the question had a token.
        has_token: bool,
    },
    /// The token is wrong.
    #[error(
        "the hub does not accept the token: make a new one at https://huggingface.co/settings/tokens and set HF_TOKEN to it"
    )]
    Token,
    /// The model has no such branch, tag or commit.
    #[error("\"{id}\" has no revision \"{revision}\": its branches and tags are at {page}")]
    Revision {
        /// The model.
        id: String,
        /// The revision.
        revision: String,
        /// The page that lists them.
        page: String,
    },
    /// The model has no such file.
    #[error("\"{id}\" has no file {file}")]
    File {
        /// The model.
        id: String,
        /// The file.
        file: String,
    },
    /// The hub answers too many questions already.
    #[error("the hub asks to wait{}: try again then{}", seconds(*wait), if *has_token { "" } else { ", or set HF_TOKEN, which has a higher limit" })]
    Busy {
        /// The time to wait.
        wait: Option<Duration>,
        /// Whether the question had a token.
        has_token: bool,
    },
    /// No connection, or one that broke.
    #[error("{host} cannot be reached: {cause}")]
    Unreachable {
        /// The server.
        host: String,
        /// The reason.
        cause: String,
    },
    /// Another answer than a success.
    #[error("{host} answers {status}: {text}")]
    Status {
        /// The server.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The server's own sentence.
        text: String,
    },
    /// An answer that makes no sense.
    #[error("{host} gave an answer that is not the hub's: {problem}")]
    Answer {
        /// The server.
        host: String,
        /// The problem, as a clause.
        problem: String,
    },
    /// The model has no files that mlxd can serve.
    #[error("\"{id}\" has no weights in safetensors{instead}: look for a conversion with `mlxd search {search}`", search = id.rsplit('/').next().unwrap_or(id))]
    NoWeights {
        /// The model.
        id: String,
        /// The weights that it has instead, in brackets.
        instead: String,
    },
    /// The disk has too little room, before anything was downloaded.
    #[error(
        "{} has {} free, and the download needs {}: remove models with `mlxd rm`, `mlxd ls` shows their sizes, or set HF_HOME to another disk",
        folder.display(), size(*free), size(*needed)
    )]
    Room {
        /// The cache.
        folder: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// The disk became full.
    #[error(
        "the disk of {} is full: make room, then pull again, which continues; `mlxd rm` removes the incomplete model",
        .0.display()
    )]
    Full(PathBuf),
    /// The digest of a downloaded file differs from the hub's.
    #[error(
        "{file} is damaged: its digest is {found}, the hub's is {expected}; pull again, and if it stays so, report it at {page}"
    )]
    Digest {
        /// The file.
        file: String,
        /// The digest of the downloaded bytes.
        found: String,
        /// The hub's.
        expected: String,
        /// The page for a report.
        page: String,
    },
    /// The file's size or version changed.
    #[error("{0} has changed on the hub during the download: pull again")]
    Changed(String),
    /// The server broke off too often.
    #[error(
        "{file} broke off {failures} times in a row, the last time because {cause}: pull again later, which continues"
    )]
    GivenUp {
        /// The file, or the question.
        file: String,
        /// The number of attempts.
        failures: u32,
        /// The last reason.
        cause: Box<HubError>,
    },
    /// The model is not in the cache.
    #[error("\"{0}\" is not in Hugging Face's cache: `mlxd ls` lists what is on disk")]
    NotCached(String),
    /// The model belongs to another program, or to a folder that a person manages.
    #[error("\"{id}\" is in {}, which mlxd does not manage: remove it there", folder.display())]
    NotManaged {
        /// The model.
        id: String,
        /// Its folder.
        folder: PathBuf,
    },
    /// Another process downloads the model.
    #[error("another mlxd downloads \"{0}\" now: end it first")]
    InUse(String),
    /// No worker would load the model. The reason.
    #[error("{0}; force downloads it all the same")]
    NotServed(String),
    /// A file or folder cannot be used.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
}

impl HubError {
    /// Whether the same download may succeed later, without anything that its user does.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::GivenUp { .. } | Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// The error for other processes. It names the field `model` if the name is wrong.
    pub(crate) fn for_callers(&self) -> Error {
        let text = self.to_string();
        match self {
            Self::Name(_) => Error::invalid(Field::Named("model".into()), format!("model: {text}")),
            Self::NotFound { .. } | Self::Revision { .. } | Self::NotCached(_) => {
                Error::not_found(Resource::Model, text)
            }
            Self::NotManaged { .. } => Error::new(ErrorKind::InvalidRequest, Origin::Hub, text),
            Self::InUse(_) => Error::new(ErrorKind::Unavailable, Origin::Hub, text),
            Self::Gated { .. } | Self::Token => {
                Error::new(ErrorKind::PermissionDenied, Origin::Upstream, text)
            }
            Self::Busy { .. } => Error::new(ErrorKind::RateLimited, Origin::Upstream, text),
            Self::Offline(_) => Error::new(ErrorKind::Unavailable, Origin::Hub, text),
            Self::Unreachable { .. } | Self::Status { .. } | Self::Answer { .. } | Self::GivenUp { .. } => {
                Error::new(ErrorKind::Upstream, Origin::Upstream, text)
            }
            _ => Error::new(ErrorKind::Internal, Origin::Hub, text),
        }
    }
}

/// Turns an error of the system into one that names the path, and a full disk into its own.
pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> HubError {
    let path = path.into();
    move |cause| match cause.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => HubError::Full(path),
        _ => HubError::Io { path, cause },
    }
}

fn seconds(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| format!(" {} s", wait.as_secs()))
}

fn size(bytes: u64) -> String {
    if bytes < 1_000_000_000 {
        format!("{:.1} MB", bytes as f64 / 1e6)
    } else {
        format!("{:.1} GB", bytes as f64 / 1e9)
    }
}
