use std::sync::mpsc;

use ipc_proto::worker::ModelKind;

use super::*;
use crate::engine::places::Places;

/// Answers each text with its length; fails on a text of 13 tokens, and at once on one of 14.
#[derive(Default)]
struct Lengths {
    begun: VecDeque<Vec<usize>>,
}

impl Runner for Lengths {
    fn launch(&mut self, pieces: &[Piece]) -> std::result::Result<(), RunnerError> {
        if pieces.iter().any(|piece| piece.tokens.len() == 14) {
            return Err(RunnerError("fourteen".into()));
        }
        self.begun.push_back(pieces.iter().map(|piece| piece.tokens.len()).collect());
        Ok(())
    }

    fn finish(&mut self) -> std::result::Result<Vec<Vec<f32>>, RunnerError> {
        let lengths = self.begun.pop_front().unwrap();
        if lengths.contains(&13) {
            return Err(RunnerError("thirteen".into()));
        }
        Ok(lengths.into_iter().map(|length| vec![length as f32]).collect())
    }

    fn trim(&mut self) {}

    fn memory(&self) -> Memory {
        Memory::default()
    }
}

type Answer = oneshot::Receiver<Result<Vec<Vec<f32>>>>;

fn job(lengths: &[usize]) -> (Command, Answer) {
    let (reply, answer) = oneshot::channel();
    let pieces = lengths.iter().map(|length| Piece { tokens: vec![1; *length], second: *length });
    let place = Places::new(1, 1).take(ModelKind::Embed).unwrap();
    (Command::Embed(Box::new(Job { pieces: pieces.collect(), reply, place })), answer)
}

/// Runs the engine over commands that are all there at once.
fn run(commands: impl IntoIterator<Item = Command>) -> Arc<Counters> {
    let (sender, receiver) = mpsc::channel();
    for command in commands {
        sender.send(command).unwrap();
    }
    let counters = Arc::new(Counters::default());
    Engine::new(Lengths::default(), 64, 1, Arc::clone(&counters)).run(&receiver);
    counters
}

#[test]
fn answers_come_in_the_order_of_the_texts() {
    let ((first, mut one), (second, mut two)) = (job(&[3, 50, 1, 60]), job(&[2]));
    let counters = run([first, second, Command::Drain]);
    assert_eq!(one.try_recv().unwrap().unwrap(), [[3.0], [50.0], [1.0], [60.0]]);
    assert_eq!(two.try_recv().unwrap().unwrap(), [[2.0]]);
    assert!(counters.health().steps >= 3 && counters.health().running == 0);
}

#[test]
fn a_failure_takes_only_the_requests_of_its_step() {
    for unlucky in [13, 14] {
        let ((first, mut one), (second, mut two)) = (job(&[60, unlucky]), job(&[64]));
        run([first, second, Command::Drain]);
        assert_eq!(one.try_recv().unwrap().unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(two.try_recv().unwrap().unwrap(), [[64.0]]);
    }
}

#[test]
fn steps_overlap_and_each_answers_its_own() {
    let ((first, mut one), (second, mut two)) = (job(&[64, 63, 62]), job(&[61]));
    run([first, second, Command::Drain]);
    assert_eq!(one.try_recv().unwrap().unwrap(), [[64.0], [63.0], [62.0]]);
    assert_eq!(two.try_recv().unwrap().unwrap(), [[61.0]]);
}

#[test]
fn who_has_left_costs_nothing_and_who_comes_late_is_told() {
    let ((first, one), (second, mut two), (third, mut three)) = (job(&[60]), job(&[61]), job(&[5]));
    drop(one);
    let counters = run([first, second, Command::Drain, third]);
    assert_eq!(two.try_recv().unwrap().unwrap(), [[61.0]]);
    assert_eq!(three.try_recv().unwrap().unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(counters.health().steps, 1);
}

#[test]
fn a_stop_answers_everybody() {
    let (first, mut one) = job(&[60]);
    run([first, Command::Stop]);
    assert_eq!(one.try_recv().unwrap().unwrap_err().kind, ErrorKind::Unavailable);
}
