//! What this machine makes of a model of the hub: whether it is served, and fits.

use futures::StreamExt;
use ipc_proto::hub::FoundModel;
use ipc_proto::supervisor::Details;

use crate::client::Hub;
use crate::error::HubError;
use crate::info::ModelInfo;
use crate::remote;
use crate::search::{Found, Query};
use crate::settings::ModelName;

/// Files config.json that are read at once.
const AT_ONCE: usize = 8;

/// What the machine offers, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Memory that all models may have together.
    pub budget: u64,
}

/// Whether a model can be served here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It can, and nothing else has to go.
    Fits,
    /// It needs more than all models may have.
    TooLarge,
    /// mlxd does not serve it. The reason.
    NotServed(String),
    /// Nothing is known about it.
    Unknown,
}

/// A search's result with what this machine makes of it.
#[derive(Debug)]
pub struct Appraised {
    /// The result.
    pub found: Found,
    /// What its files say.
    pub details: Option<Details>,
    /// Bytes of memory that a worker needs at least.
    pub memory: Option<u64>,
    /// Whether it can be served here.
    pub verdict: Verdict,
}

impl Verdict {
    /// Judges a model that needs `memory` bytes.
    pub fn new(details: &Details, memory: u64, machine: Machine) -> Self {
        match &details.problem {
            Some(problem) => Self::NotServed(short(problem)),
            None if memory > machine.budget => Self::TooLarge,
            None => Self::Fits,
        }
    }

    /// The word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::TooLarge => "too_large",
            Self::NotServed(_) => "not_served",
            Self::Unknown => "unknown",
        }
    }
}

/// The beginning of a reason, without the list of families and the advice.
fn short(problem: &str) -> String {
    let end = problem.find("; ").unwrap_or(problem.len());
    problem[..end].to_owned()
}

impl Appraised {
    /// Reads a model's config.json, unless the search has shown already that mlxd does not serve it. `exact`: also the headers of
    /// its weights.
    pub async fn new(hub: &Hub, found: Found, machine: Machine, exact: bool) -> Self {
        let first = supervisor::remote_details(&found.config, found.elements());
        let is_known = found.config.get("model_type").is_some();
        let mut details = if is_known { Some(first) } else { None };
        if details.as_ref().is_none_or(|details| !details.unserved) && !found.is_gated() {
            details = read_details(hub, &found, exact).await.or(details);
        }
        let has_weights = found.weight_bytes().is_some_and(|bytes| bytes > 0);
        let memory = details.as_ref().filter(|_| has_weights).map(supervisor::memory_needed);
        let verdict = match &details {
            Some(_) if !has_weights => Verdict::NotServed("it has no safetensors weights".into()),
            Some(details) => Verdict::new(details, memory.unwrap_or(0), machine),
            None => Verdict::Unknown,
        };
        Self { found, details, memory, verdict }
    }

    /// The row of a list in JSON.
    pub fn row(self) -> FoundModel {
        let verdict = self.verdict.word().to_owned();
        let reason = match self.verdict {
            Verdict::NotServed(reason) => Some(reason),
            _ => None,
        };
        let found = self.found;
        FoundModel {
            family: self.details.map(|details| details.architecture),
            weight_bytes: found.weight_bytes(),
            memory_bytes: self.memory,
            verdict,
            reason,
            gated: found.is_gated(),
            license: found.license().map(str::to_owned),
            id: found.id,
            task: found.task,
            downloads: found.downloads,
            likes: found.likes,
            last_modified: found.last_modified,
            tags: found.tags,
        }
    }
}

/// Searches, and appraises each result as [`Appraised::new`] does.
///
/// # Errors
/// The hub cannot be reached, or refuses.
pub async fn search(
    hub: &Hub,
    query: &Query,
    machine: Machine,
    exact: bool,
) -> Result<Vec<Appraised>, HubError> {
    let found = hub.search(query).await?.into_iter();
    let appraisals: Vec<_> = found.map(|found| Appraised::new(hub, found, machine, exact)).collect();
    Ok(futures::stream::iter(appraisals).buffered(AT_ONCE).collect().await)
}

/// What the files of a model say. `None` if they cannot be read.
async fn read_details(hub: &Hub, found: &Found, exact: bool) -> Option<Details> {
    let name: ModelName = found.id.parse().ok()?;
    let config = remote::config(hub, &name.id, &name.revision).await.ok()??;
    let details = supervisor::remote_details(&config, found.elements());
    if !exact || details.problem.is_some() {
        return Some(details);
    }
    Some(remote::exact_details(hub, &name, &config).await.unwrap_or(details))
}

/// Why no worker would load a model, as its config.json shows. Without that file it has other weights, or none: the selection of files
/// says so.
///
/// # Errors
/// The hub cannot be reached, or refuses.
pub async fn problem(hub: &Hub, info: &ModelInfo) -> Result<Option<String>, HubError> {
    let config = remote::config(hub, &info.id, &info.commit).await?;
    Ok(config.and_then(|config| supervisor::remote_details(&config, []).problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_names_the_first_obstacle() {
        let machine = Machine { budget: 8_000_000_000 };
        let verdict = |problem: Option<&str>, memory| {
            let details = Details { problem: problem.map(str::to_owned), ..Details::default() };
            Verdict::new(&details, memory, machine)
        };
        assert_eq!(verdict(None, 1), Verdict::Fits);
        assert_eq!(verdict(None, 9_000_000_000), Verdict::TooLarge);
        let problem = "\"gpt2\" models are not supported; supported are llama";
        let short = "\"gpt2\" models are not supported".to_owned();
        assert_eq!(verdict(Some(problem), 9_000_000_000), Verdict::NotServed(short));
    }
}
