use std::sync::mpsc;

use ipc_proto::worker::ModelKind;

use super::*;
use crate::engine::admission_limits::AdmissionLimits;

/// Returns the length of each text, and of 15 tokens no number. Fails to finish a text of 13 tokens, and to launch one of 14.
#[derive(Default)]
struct Lengths {
    launched: VecDeque<Vec<usize>>,
}

impl BatchRunner for Lengths {
    fn launch(&mut self, inputs: &[EncoderInput]) -> Result<(), RunnerError> {
        if inputs.iter().any(|input| input.tokens.len() == 14) {
            return Err(RunnerError("fourteen".into()));
        }
        self.launched.push_back(inputs.iter().map(|input| input.tokens.len()).collect());
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Vec<f32>>, RunnerError> {
        let lengths = self.launched.pop_front().unwrap();
        if lengths.contains(&13) {
            return Err(RunnerError("thirteen".into()));
        }
        let result = |length| if length == 15 { vec![1.0, f32::NAN] } else { vec![length as f32] };
        Ok(lengths.into_iter().map(result).collect())
    }

    fn trim(&mut self) {}

    fn memory(&self) -> Memory {
        Memory::default()
    }
}

type Answer = oneshot::Receiver<Result<Vec<Vec<f32>>>>;

fn job(lengths: &[usize]) -> (Command, Answer) {
    let (reply, answer) = oneshot::channel();
    let inputs =
        lengths.iter().map(|length| EncoderInput { tokens: vec![1; *length], second_start: *length });
    let permit = AdmissionLimits::new(1, 1).acquire(ModelKind::Embed, 1, 0).unwrap().swap_remove(0);
    (Command::Embed(Box::new(Job { inputs: inputs.collect(), reply, permit })), answer)
}

/// Runs the engine on commands that are all queued beforehand.
fn run(commands: impl IntoIterator<Item = Command>) -> Arc<Counters> {
    let (sender, receiver) = mpsc::channel();
    for command in commands {
        sender.send(command).unwrap();
    }
    let counters = Arc::new(Counters::default());
    EncoderEngine::new(Lengths::default(), 64, 1, Arc::clone(&counters)).run(&receiver);
    counters
}

#[test]
fn results_keep_the_order_of_the_texts() {
    let ((first, mut one), (second, mut two)) = (job(&[3, 50, 1, 60]), job(&[2]));
    let counters = run([first, second, Command::Drain]);
    assert_eq!(one.try_recv().unwrap().unwrap(), [[3.0], [50.0], [1.0], [60.0]]);
    assert_eq!(two.try_recv().unwrap().unwrap(), [[2.0]]);
    assert!(counters.health().steps >= 3 && counters.health().running == 0);
}

#[test]
fn failed_step_fails_only_its_requests() {
    for unlucky in [13, 14] {
        let ((first, mut one), (second, mut two)) = (job(&[60, unlucky]), job(&[64]));
        run([first, second, Command::Drain]);
        assert_eq!(one.try_recv().unwrap().unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(two.try_recv().unwrap().unwrap(), [[64.0]]);
    }
}

#[test]
fn result_without_numbers_fails_only_its_request() {
    let ((first, mut one), (second, mut two)) = (job(&[60, 15, 3]), job(&[2]));
    let counters = run([first, second, Command::Drain]);
    let error = one.try_recv().unwrap().unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::ModelBroken, false));
    assert!(error.message.contains("no numbers (NaN)"), "{error}");
    assert_eq!(two.try_recv().unwrap().unwrap(), [[2.0]]);
    assert_eq!(counters.health().running, 0);
}

#[test]
fn overlapping_steps_return_their_own_results() {
    let ((first, mut one), (second, mut two)) = (job(&[64, 63, 62]), job(&[61]));
    run([first, second, Command::Drain]);
    assert_eq!(one.try_recv().unwrap().unwrap(), [[64.0], [63.0], [62.0]]);
    assert_eq!(two.try_recv().unwrap().unwrap(), [[61.0]]);
}

#[test]
fn abandoned_request_does_not_run() {
    let ((first, one), (second, mut two)) = (job(&[60]), job(&[61]));
    drop(one);
    let counters = run([first, second, Command::Drain]);
    assert_eq!(two.try_recv().unwrap().unwrap(), [[61.0]]);
    assert_eq!(counters.health().steps, 1);
}

#[test]
fn request_after_drain_is_refused() {
    let ((first, mut one), (second, mut two)) = (job(&[61]), job(&[5]));
    run([first, Command::Drain, second]);
    assert_eq!(one.try_recv().unwrap().unwrap(), [[61.0]]);
    assert_eq!(two.try_recv().unwrap().unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn stop_fails_running_requests() {
    let (first, mut one) = job(&[60]);
    run([first, Command::Stop]);
    assert_eq!(one.try_recv().unwrap().unwrap_err().kind, ErrorKind::Unavailable);
}
