//! Which downloads run. Pure.

use ipc_proto::generate::Priority;

/// Downloads that run at once: two would share the line, and both would be complete later.
const AT_ONCE: usize = 1;

/// A download, as the choice sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Whether it may run now.
    pub(super) wants: bool,
    pub(super) priority: Priority,
    /// It runs, and waits for another program that downloads the same model.
    pub(super) is_held_up: bool,
}

/// Whether each of the candidates, the oldest first, is to run. Higher classes come first, then older downloads. One that is held up takes
/// no place.
pub(super) fn chosen(candidates: &[Candidate]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|at| candidates[*at].priority);
    let (mut run, mut places) = (vec![false; candidates.len()], AT_ONCE);
    for at in order {
        let Candidate { wants, is_held_up, .. } = candidates[at];
        if wants && is_held_up {
            run[at] = true;
        } else if wants && places > 0 {
            run[at] = true;
            places -= 1;
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUED: Candidate = Candidate { wants: true, priority: Priority::Normal, is_held_up: false };

    #[test]
    fn highest_class_runs_then_the_oldest() {
        let high = Candidate { priority: Priority::High, ..QUEUED };
        let low = Candidate { priority: Priority::Low, ..QUEUED };
        assert_eq!(chosen(&[low, QUEUED, QUEUED]), [false, true, false]);
        assert_eq!(chosen(&[QUEUED, high, high]), [false, true, false]);
        let paused = Candidate { wants: false, ..high };
        assert_eq!(chosen(&[paused, low]), [false, true]);
        assert!(chosen(&[]).is_empty());
    }

    #[test]
    fn held_up_download_lets_the_next_one_run() {
        let held_up = Candidate { is_held_up: true, ..QUEUED };
        assert_eq!(chosen(&[held_up, QUEUED, QUEUED]), [true, true, false]);
    }
}
