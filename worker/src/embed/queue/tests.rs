use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn input(length: usize) -> EncoderInput {
    EncoderInput { tokens: vec![1; length], second_start: length }
}

fn inputs(lengths: &[usize]) -> Vec<EncoderInput> {
    lengths.iter().map(|length| input(*length)).collect()
}

#[test]
fn texts_of_similar_length_run_together_across_requests() {
    let mut queue = BatchQueue::new(1000, 1);
    queue.add(JobId(1), inputs(&[200, 10, 195]));
    queue.add(JobId(2), inputs(&[198]));
    let first = queue.next_batch();
    assert_eq!(first.slots, [(JobId(1), 0), (JobId(2), 0), (JobId(1), 2)]);
    assert_eq!(queue.next_batch().slots, [(JobId(1), 1)]);
    assert!(queue.next_batch().slots.is_empty());
}

#[test]
fn requests_take_turns() {
    let mut queue = BatchQueue::new(1000, 1);
    queue.add(JobId(1), inputs(&[900, 800, 700, 600]));
    queue.add(JobId(2), inputs(&[5]));
    assert_eq!(queue.next_batch().slots, [(JobId(1), 0)]);
    // The short text does not wait for all the long ones.
    assert_eq!(queue.next_batch().slots, [(JobId(2), 0)]);
    assert_eq!(queue.next_batch().slots, [(JobId(1), 1)]);
}

#[test]
fn removed_request_does_not_run() {
    let mut queue = BatchQueue::new(100, 1);
    queue.add(JobId(1), inputs(&[90, 80]));
    queue.add(JobId(2), inputs(&[70]));
    assert_eq!(queue.next_batch().slots, [(JobId(1), 0)]);
    queue.remove(JobId(1));
    assert_eq!(queue.next_batch().slots, [(JobId(2), 0)]);
    assert!(queue.next_batch().slots.is_empty());
}

proptest! {
    #[test]
    fn every_text_runs_once_within_bounds(
        jobs in vec(vec(1usize..600, 1..20), 1..12),
        step in 64usize..2048,
        lanes in 1usize..5,
    ) {
        let mut queue = BatchQueue::new(step, lanes);
        for (id, lengths) in (0..).zip(&jobs) {
            queue.add(JobId(id), inputs(lengths));
        }
        let mut left: usize = jobs.iter().map(Vec::len).sum();
        let mut seen = std::collections::HashSet::new();
        while left > 0 {
            let batch = queue.next_batch();
            prop_assert!(!batch.slots.is_empty(), "texts wait, and none is batch");
            let longest = batch.inputs[0].tokens.len();
            let padded = batch.inputs.len() * longest;
            let tokens: usize = batch.inputs.iter().map(|input| input.tokens.len()).sum();
            prop_assert!(batch.inputs.len() == 1 || padded <= step);
            let dealt = batch.inputs.len() <= lanes || batch.inputs.len().is_multiple_of(lanes);
            prop_assert!(dealt, "the lanes have different numbers of texts");
            prop_assert!(padded <= FREE_TOKENS || (padded - tokens) * PADDING <= padded);
            for ((job, index), input) in batch.slots.iter().zip(&batch.inputs) {
                prop_assert!(seen.insert((*job, *index)), "a text ran twice");
                prop_assert_eq!(input.tokens.len(), jobs[job.0 as usize][*index]);
                prop_assert!(input.tokens.len() <= longest);
            }
            left -= batch.slots.len();
        }
        prop_assert!(queue.next_batch().slots.is_empty());
    }
}
