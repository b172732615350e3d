//! Whether this machine can serve a model, in a few words. Pure.

use ipc_proto::supervisor::Details;

use super::units;

/// The machine's memory and disk, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    /// Memory that all models may have together.
    pub(super) budget: u64,
}

/// Whether a model can be served here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It can, and nothing else has to go.
    Fits,
    /// It needs more than all models may have.
    TooLarge,
    /// mlxd does not serve it. The reason.
    NotServed(String),
    /// Nothing is known about it.
    Unknown,
}

impl Verdict {
    /// Judges a model that needs `memory` bytes.
    pub(super) fn new(details: &Details, memory: u64, machine: Machine) -> Self {
        match &details.problem {
            Some(problem) => Self::NotServed(short(problem)),
            None if memory > machine.budget => Self::TooLarge,
            None => Self::Fits,
        }
    }

    /// The word in JSON.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::TooLarge => "too_large",
            Self::NotServed(_) => "not_served",
            Self::Unknown => "unknown",
        }
    }

    /// A cell of a table.
    pub(super) fn text(&self, machine: Machine) -> String {
        match self {
            Self::Fits => "fits".into(),
            Self::TooLarge => format!("too large: models may have {}", units::bytes(machine.budget)),
            Self::NotServed(reason) => format!("not served: {reason}"),
            Self::Unknown => "not known".into(),
        }
    }
}

/// The beginning of a reason, without the list of families and the advice.
fn short(problem: &str) -> String {
    let end = problem.find("; ").unwrap_or(problem.len());
    problem[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_names_the_first_obstacle() {
        let machine = Machine { budget: 8_000_000_000 };
        let text = |problem: Option<&str>, memory| {
            let details = Details { problem: problem.map(str::to_owned), ..Details::default() };
            Verdict::new(&details, memory, machine).text(machine)
        };
        assert_eq!(text(None, 1), "fits");
        assert_eq!(text(None, 9_000_000_000), "too large: models may have 8.0 GB");
        let problem = "\"gpt2\" models are not supported; supported are llama";
        assert_eq!(text(Some(problem), 1), "not served: \"gpt2\" models are not supported");
    }
}
