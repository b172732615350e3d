use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn piece(length: usize) -> Piece {
    Piece { tokens: vec![1; length], second: length }
}

fn pieces(lengths: &[usize]) -> Vec<Piece> {
    lengths.iter().map(|length| piece(*length)).collect()
}

#[test]
fn texts_of_a_length_run_together_whoever_asked() {
    let mut queue = Queue::new(1000, 1);
    queue.add(JobId(1), pieces(&[200, 10, 195]));
    queue.add(JobId(2), pieces(&[198]));
    let first = queue.take();
    assert_eq!(first.places, [(JobId(1), 0), (JobId(2), 0), (JobId(1), 2)]);
    assert_eq!(queue.take().places, [(JobId(1), 1)]);
    assert!(queue.take().places.is_empty());
}

#[test]
fn requests_take_turns() {
    let mut queue = Queue::new(1000, 1);
    queue.add(JobId(1), pieces(&[900, 800, 700, 600]));
    queue.add(JobId(2), pieces(&[5]));
    assert_eq!(queue.take().places, [(JobId(1), 0)]);
    // The short one does not wait for all the long ones.
    assert_eq!(queue.take().places, [(JobId(2), 0)]);
    assert_eq!(queue.take().places, [(JobId(1), 1)]);
}

#[test]
fn what_was_dropped_does_not_run() {
    let mut queue = Queue::new(100, 1);
    queue.add(JobId(1), pieces(&[90, 80]));
    queue.add(JobId(2), pieces(&[70]));
    assert_eq!(queue.take().places, [(JobId(1), 0)]);
    queue.remove(JobId(1));
    assert_eq!(queue.take().places, [(JobId(2), 0)]);
    assert!(queue.take().places.is_empty());
}

proptest! {
    #[test]
    fn every_text_runs_once_within_bounds(
        jobs in vec(vec(1usize..600, 1..20), 1..12),
        step in 64usize..2048,
        lanes in 1usize..5,
    ) {
        let mut queue = Queue::new(step, lanes);
        for (id, lengths) in (0..).zip(&jobs) {
            queue.add(JobId(id), pieces(lengths));
        }
        let mut left: usize = jobs.iter().map(Vec::len).sum();
        let mut seen = std::collections::HashSet::new();
        while left > 0 {
            let taken = queue.take();
            prop_assert!(!taken.places.is_empty(), "texts wait, and none is taken");
            let longest = taken.pieces[0].tokens.len();
            let padded = taken.pieces.len() * longest;
            let tokens: usize = taken.pieces.iter().map(|piece| piece.tokens.len()).sum();
            prop_assert!(taken.pieces.len() == 1 || padded <= step);
            let dealt = taken.pieces.len() <= lanes || taken.pieces.len().is_multiple_of(lanes);
            prop_assert!(dealt, "a lane has more than another");
            prop_assert!(padded <= FREE_TOKENS || (padded - tokens) * PADDING <= padded);
            for ((job, index), piece) in taken.places.iter().zip(&taken.pieces) {
                prop_assert!(seen.insert((*job, *index)), "a text ran twice");
                prop_assert_eq!(piece.tokens.len(), jobs[job.0 as usize][*index]);
                prop_assert!(piece.tokens.len() <= longest);
            }
            left -= taken.places.len();
        }
        prop_assert!(queue.take().places.is_empty());
    }
}
