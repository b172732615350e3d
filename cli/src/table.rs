//! Tables for a terminal.

use ipc_proto::supervisor::{ModelEntry, ModelState, Pool, Pressure, WorkerEntry};

/// Seconds after which a failure is listed only with `all`.
const RECENT: u64 = 600;
/// Characters of a reason that a line shows.
const SHOWN: usize = 90;

/// The loaded models, one line for each process; with `all` also the others. `now` is in seconds since the epoch.
pub(crate) fn models(models: &[ModelEntry], all: bool, now: u64) -> String {
    let mut rows =
        vec![["MODEL", "STATE", "PID", "MEMORY", "LEASE", "REQUESTS", "IDLE", "EXPIRES"].map(String::from)];
    for model in models {
        let workers: Vec<&WorkerEntry> = model.workers.iter().collect();
        let ended = model.last_exit.as_ref().map_or(now, |exit| exit.at);
        let quiet = match model.state {
            ModelState::Stopped => true,
            ModelState::Failed(_) => now.saturating_sub(ended) > RECENT,
            _ => false,
        };
        if workers.is_empty() && (all || !quiet) {
            let mut row = [const { String::new() }; 8];
            let problem = model.details.problem.as_ref().filter(|_| model.details.unserved);
            // The list of supported families follows, which is too long for a table.
            let problem = problem.map(|problem| problem.split(';').next().unwrap_or(problem));
            let state = problem.map_or_else(|| state(&model.state), |problem| short("unsupported", problem));
            (row[0], row[1]) = (name(model), state);
            rows.push(row);
        }
        rows.extend(workers.into_iter().map(|worker| line(model, worker)));
        if let Some(problem) = model.details.chat_problem.as_ref().filter(|_| all) {
            let mut row = [const { String::new() }; 8];
            row[1] = short("chats fail", problem);
            rows.push(row);
        }
    }
    match rows.len() {
        1 => "no model is loaded\n".into(),
        _ => aligned(&rows),
    }
}

fn line(model: &ModelEntry, worker: &WorkerEntry) -> [String; 8] {
    let seconds = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{} s", ms / 1000));
    let requests = match worker.waiting {
        0 => worker.running.to_string(),
        waiting => format!("{} + {waiting}", worker.running),
    };
    let own = format!("{:?}", worker.state).to_lowercase();
    let state = match (&model.state, model.workers.len()) {
        (ModelState::Loading { .. }, 1) => state(&model.state),
        _ => own,
    };
    [
        name(model),
        state,
        worker.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
        size(worker.footprint),
        size(worker.lease),
        requests,
        seconds(worker.idle_ms),
        if model.pinned { "pinned".into() } else { seconds(worker.expires_ms) },
    ]
}

fn name(model: &ModelEntry) -> String {
    let external = if model.details.backend.is_some() { " [external]" } else { "" };
    if model.aliases.is_empty() {
        format!("{}{external}", model.id)
    } else {
        format!("{} ({}){external}", model.id, model.aliases.join(", "))
    }
}

/// A model's state in one line.
pub(crate) fn state(state: &ModelState) -> String {
    match state {
        ModelState::Stopped => "stopped".into(),
        ModelState::Queued => "queued".into(),
        ModelState::Loading { loaded, total } => {
            format!("loading {}%", loaded.saturating_mul(100).checked_div(*total).unwrap_or(0))
        }
        ModelState::Ready => "ready".into(),
        ModelState::Draining => "draining".into(),
        ModelState::Failed(reason) => short("failed", reason),
    }
}

fn short(what: &str, reason: &str) -> String {
    // The end of a reason says most: its beginning repeats the name and the folder.
    let line = reason.lines().next().unwrap_or_default();
    match line.chars().count().checked_sub(SHOWN) {
        None | Some(0) => format!("{what}: {line}"),
        Some(surplus) => format!("{what}: …{}", line.chars().skip(surplus).collect::<String>()),
    }
}

/// The memory budget in one line, then settings of unknown models, then models that others hide.
pub(crate) fn pool(pool: &Pool) -> String {
    let pressure = match pool.pressure {
        Pressure::Normal => "",
        Pressure::Warn => "; the system is short of memory",
        Pressure::Critical => "; the system has no memory left",
    };
    let mut queue = String::new();
    if !pool.queue.is_empty() {
        queue = format!("; waiting for room: {}", pool.queue.join(", "));
    }
    let mut unknown = String::new();
    if !pool.unknown.is_empty() {
        unknown = format!("settings are there for models that do not exist: {}\n", pool.unknown.join(", "));
    }
    for text in &pool.hidden {
        unknown.push_str(&format!("{text}\n"));
    }
    format!(
        "memory: {} of {} leased, {} used{pressure}{queue}\n{unknown}",
        size(pool.leased),
        size(pool.budget),
        size(pool.measured)
    )
}

/// A number of weights, in billions, or in millions if it is less than one billion.
pub(crate) fn parameters(count: u64) -> String {
    let millions = count as f64 / 1e6;
    if millions < 1e3 { format!("{millions:.1}M") } else { format!("{:.1}B", millions / 1e3) }
}

/// Memory in GiB, or in MiB if it is less than one GiB.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0 => "-".into(),
        1_073_741_824.. => format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

/// Rows whose columns are as wide as their widest cell.
pub(crate) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A span of time in its largest unit.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        86_400.. => format!("{} days", seconds / 86_400),
        3600.. => format!("{} h", seconds / 3600),
        60.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::supervisor::{Exit, WorkerState};

    use super::*;

    #[test]
    fn running_and_waiting_models_are_listed_and_others_with_all() {
        let worker = WorkerEntry {
            incarnation: 1,
            pid: Some(77),
            state: WorkerState::Ready,
            footprint: 700 << 20,
            lease: 3 << 30,
            running: 2,
            waiting: 1,
            expires_ms: Some(5500),
            ..WorkerEntry::default()
        };
        let model = |id: &str, state| ModelEntry { id: id.into(), state, ..ModelEntry::default() };
        let mut ready = model("org/name", ModelState::Ready);
        ready.workers = vec![worker.clone(), worker];
        ready.aliases = vec!["short".into()];
        let mut strange = model("strange", ModelState::Stopped);
        (strange.details.unserved, strange.details.problem) = (true, Some("\"gpt2\" models".into()));
        let all = [
            ready,
            model("asleep", ModelState::Stopped),
            strange,
            model("broken", ModelState::Failed("no\nweights".into())),
            model("half", ModelState::Loading { loaded: 1, total: 2 }),
        ];
        let text = models(&all, false, 0);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[1], "org/name (short)  ready        77   700 MiB  3.0 GiB  2 + 1     -     5 s");
        assert_eq!(lines[3], "broken            failed: no");
        assert!(lines[4].ends_with("loading 50%"));
        let text = models(&all, true, 0);
        assert_eq!(text.lines().count(), 7);
        assert!(text.contains("unsupported: \"gpt2\" models"), "{text}");
        assert_eq!(models(&[], false, 0), "no model is loaded\n");
        let text = pool(&Pool {
            budget: 4 << 30,
            leased: 3 << 30,
            pressure: Pressure::Warn,
            queue: vec!["m".into()],
            unknown: vec!["typo".into()],
            ..Pool::default()
        });
        assert_eq!(
            text,
            "memory: 3.0 GiB of 4.0 GiB leased, - used; the system is short of memory; waiting for room: m\nsettings \
             are there for models that do not exist: typo\n"
        );
    }

    #[test]
    fn failure_shows_the_end_of_its_reason_and_an_old_one_only_with_all() {
        let reason = format!("the model \"m\" cannot be loaded: /models/{}: no weights", "deep/".repeat(30));
        let exit = Exit { at: 1000, ..Exit::default() };
        let model = ModelEntry {
            id: "m".into(),
            state: ModelState::Failed(reason),
            last_exit: Some(exit),
            ..ModelEntry::default()
        };
        let listed = |all, now| models(std::slice::from_ref(&model), all, now);
        assert!(listed(false, 1600).lines().nth(1).unwrap().ends_with("deep/: no weights"));
        assert_eq!(listed(false, 1601), "no model is loaded\n");
        assert!(listed(true, 9000).contains("failed: …"));
    }

    #[test]
    fn model_that_another_one_hides_is_named() {
        let pool = pool(&Pool { hidden: vec!["two models are named \"m\"".into()], ..Pool::default() });
        assert!(pool.ends_with("two models are named \"m\"\n"), "{pool}");
    }

    #[test]
    fn chat_problem_is_listed_with_all() {
        let mut model = ModelEntry { id: "m".into(), ..ModelEntry::default() };
        model.details.chat_problem = Some("chat_template.jinja: line 3".into());
        let text = models(&[model.clone()], true, 0);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["m      stopped", "       chats fail: chat_template.jinja: line 3"]);
        assert_eq!(models(&[model], false, 0), "no model is loaded\n");
    }
}
