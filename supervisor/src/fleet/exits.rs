//! Handles the end of a worker.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ipc_proto::supervisor::{Exit, WorkerState};
use ipc_proto::{Error, ErrorKind, Origin};

use super::actor::{FleetActor, Worker};
use super::calls::answer;
use crate::backoff::Death;
use crate::child::ProcessExit;
use crate::failures::Verdict;
use crate::process::{Event, Fault};

/// Lines of a backend's program that an error quotes.
const PROGRAM_LINES: usize = 5;

impl FleetActor {
    pub(super) fn handle_exit(&mut self, number: u64, exit: &ProcessExit, last_words: Vec<String>) {
        let Some(worker) = self.workers.get(&number) else { return };
        let was_starting = worker.process.state() == WorkerState::Starting;
        self.apply_event(number, Event::Exited);
        self.ledger.release(number);
        let Some(worker) = self.workers.remove(&number) else { return };
        let expected = worker.process.was_requested();
        let is_program = self.externals.models.contains_key(&worker.model);
        let quoted = if is_program { quoted_end(&worker.model, &last_words) } else { quotable(&last_words) };
        let status = if worker.reason.is_empty() {
            exit.text.clone()
        } else {
            format!("{} ({})", exit.text, worker.reason)
        };
        if expected {
            tracing::info!(model = worker.model, incarnation = number, status, "a worker ended");
        } else {
            tracing::error!(
                model = worker.model,
                incarnation = number,
                status,
                last_words = last_words.join("\n"),
                "a worker ended unasked"
            );
        }
        let id = worker.model.clone();
        self.slot(&id).last_exit = Some(Exit {
            at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            incarnation: number,
            status,
            code: exit.code,
            signal: exit.signal,
            expected,
            last_words,
        });
        if !expected {
            self.handle_failure((number, &worker), exit, &quoted, was_starting);
        }
        self.update_restart_after_exit(&id, number);
        self.finish_unloads(&id, number);
    }

    /// Records an unexpected end and decides whether callers keep waiting.
    fn handle_failure(
        &mut self,
        (number, worker): (u64, &Worker),
        exit: &ProcessExit,
        quoted: &str,
        was_starting: bool,
    ) {
        let id = worker.model.as_str();
        let what = if self.externals.models.contains_key(id) { "program" } else { "worker" };
        let failure =
            |kind, text: &str| Error::new(kind, Origin::Worker, format!("the {what} for \"{id}\" {text}"));
        let error = match worker.process.fault() {
            // The worker reported the reason before it ended, and callers have it.
            Some(Fault::Broken) => return,
            Some(Fault::SlowStart) => {
                failure(ErrorKind::Unavailable, "did not finish loading in time: it made no progress")
            }
            Some(Fault::Hung) => failure(ErrorKind::Unavailable, "hung and was ended"),
            None if worker.pid.is_none() => {
                let error = failure(ErrorKind::Internal, &exit.text);
                return self.mark_broken(id, &error);
            }
            // It ended by itself and would do so again.
            None if was_starting && exit.signal.is_none() => {
                let text = format!("ended while loading ({}){quoted}", exit.text);
                return self.mark_broken(id, &failure(ErrorKind::ModelBroken, &text));
            }
            None => failure(ErrorKind::Unavailable, &format!("ended ({}){quoted}", exit.text)),
        };
        let now = Instant::now();
        let (lifetime, steps) = (worker.process.age(now), worker.process.health().steps);
        let excused = worker.excused;
        // Such models start again without a request.
        let stays = self.is_pinned(id) || self.settings(id).preload;
        let slot = self.slot(id);
        slot.preload |= stays;
        slot.note.clone_from(&error.message);
        slot.failures.record_death(error.clone(), Death { process: number, lifetime, steps }, now);
        if excused {
            slot.failures.excuse(number);
        }
        if let Verdict::Refuse(_) = slot.failures.verdict(now) {
            self.refuse_callers(id, &error);
        }
    }

    /// Does not count the death of a worker against its model. The gateway may know of the death first.
    pub(super) fn excuse(&mut self, id: &str, number: u64) {
        match self.workers.get_mut(&number) {
            Some(worker) => worker.excused = true,
            None => self.slot(id).failures.excuse(number),
        }
    }

    /// Answers unloads whose last worker this was.
    fn finish_unloads(&mut self, id: &str, number: u64) {
        let was_last = self.workers_of(id).next().is_none();
        let slot = self.slot(id);
        if was_last && slot.callers.is_empty() && !slot.preload {
            // Lifetimes end with the workers that they were set for.
            (slot.held, slot.asked) = <_>::default();
        }
        for unload in &mut slot.unloads {
            unload.remaining.retain(|remaining| *remaining != number);
        }
        for done in slot.unloads.extract_if(.., |unload| unload.remaining.is_empty()) {
            answer(done.reply, Ok(()));
        }
    }
}

/// The last words that a client can use, after a colon: neither lines of the log nor stacks, which are in this server's log.
fn quotable(last_words: &[String]) -> String {
    let is_logged = |line: &str| {
        let mut date = line.bytes().take(11);
        line.len() > 11 && date.all(|byte| byte.is_ascii_digit() || b"-T".contains(&byte))
    };
    let is_stack =
        |line: &str| line.starts_with("thread ") || line.starts_with("aborted: ") || line.contains("0x");
    let lines: Vec<&str> =
        last_words.iter().map(String::as_str).filter(|line| !is_logged(line) && !is_stack(line)).collect();
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join("\n")) }
}

/// The end of what a backend's program has written, and where the rest is.
fn quoted_end(id: &str, last_words: &[String]) -> String {
    let lines = quotable(last_words);
    let lines: Vec<&str> = lines.lines().collect();
    let end = lines[lines.len().saturating_sub(PROGRAM_LINES)..].join("\n");
    let end = end.trim_start_matches(": ");
    let before = if end.is_empty() { "" } else { ": " };
    format!("{before}{end} (its output is in the server's log: `mlxd logs {id}`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_and_stacks_are_not_quoted() {
        let words = [
            "2026-11-28T10:00:00.000000Z  INFO mlxd_worker: loading",
            "tensor x is missing",
            "aborted: the stacks of 2 threads follow, inner frames first",
            "thread engine (7): hanging::hang (engine.rs:5)",
            "  at 0x7f00",
        ];
        let words = words.map(str::to_owned);
        assert_eq!(quotable(&words), ": tensor x is missing");
        assert_eq!(quotable(&words[2..]), "");
    }

    #[test]
    fn end_of_a_programs_output_is_quoted_with_the_place_of_the_rest() {
        let words: Vec<String> = (1..=7).map(|number| format!("line {number}")).collect();
        let expected =
            ": line 3\nline 4\nline 5\nline 6\nline 7 (its output is in the server's log: `mlxd logs lm/m`)";
        assert_eq!(quoted_end("lm/m", &words), expected);
        assert_eq!(
            quoted_end("lm/m", &words[..1]),
            ": line 1 (its output is in the server's log: `mlxd logs lm/m`)"
        );
        assert_eq!(quoted_end("lm/m", &[]), " (its output is in the server's log: `mlxd logs lm/m`)");
    }
}
