//! Raises the limit of open files. Child processes inherit it.
//!
//! The usual soft limits are 1024 on Linux and 256 in macOS's terminals. Each client takes a descriptor.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More are never needed. Some programs close every number up to the limit.
const MOST: u64 = 65_536;
/// macOS refuses a soft limit above this number (`OPEN_MAX`), whatever the hard limit is.
const OPEN_MAX: u64 = 10_240;

/// Raises the soft limit to the hard one, up to [`MOST`].
pub(crate) fn raise_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let Some(wanted) = better_limit(soft, hard) else { return };
    let raised = [wanted, wanted.min(OPEN_MAX)]
        .into_iter()
        .find(|limit| *limit > soft && setrlimit(Resource::RLIMIT_NOFILE, *limit, hard).is_ok());
    match raised {
        Some(limit) => tracing::info!(from = soft, to = limit, "the limit of open files is raised"),
        None => tracing::warn!(soft, hard, "the limit of open files cannot be raised"),
    }
}

/// The soft limit to set; `None` if it is high enough or cannot be higher.
fn better_limit(soft: u64, hard: u64) -> Option<u64> {
    Some(hard.min(MOST)).filter(|wanted| *wanted > soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_rises_to_the_hard_one_and_never_falls() {
        assert_eq!(better_limit(256, u64::MAX), Some(MOST));
        assert_eq!(better_limit(1024, 20_000), Some(20_000));
        assert_eq!(better_limit(1024, 1024), None);
        assert_eq!(better_limit(100_000, 1 << 20), None);
    }
}
