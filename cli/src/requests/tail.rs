//! `mlxd requests tail`: ended requests as they are recorded, until Ctrl-C. It asks the running server, and goes on where it was after
//! a restart of the gateway.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Filter, Listed, cells};
use crate::client::{Answer, ClientError};
use crate::config::{self, Environment};
use crate::gateway::Form;
use crate::generation::{Api, ApiError};
use crate::server::{self, ServerError};

const PATH: &str = "/admin/v1/requests/tail";
const VARIABLE: &str = "MLXD_API_KEY";
/// Pause before the next connection.
const PAUSE: Duration = Duration::from_millis(500);
const DAY_SECONDS: u64 = 86_400;
/// The widths of a line's cells. A longer cell moves the rest of its line.
const WIDTHS: [usize; 9] = [9, 28, 10, 14, 18, 13, 9, 9, 0];

/// Which requests to show, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    form: Form,
}

/// A reason why a stream ended.
#[derive(Debug, thiserror::Error)]
enum TailError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Output(io::Error),
}

/// Writes each request that ends to standard output, until its reader leaves or the server ends.
///
/// # Errors
/// No server runs, it has ended, or it refuses.
pub(crate) fn run(options: Tail, environment: &Environment) -> Result<Answer, ClientError> {
    let home = config::home(options.form.home.folder(), environment)?;
    let (key, path) = (environment.variable(VARIABLE), path(&options.filter));
    let mut events = Events::default();
    let mut output = Output { json: options.form.json, has_head: false, out: io::stdout().lock() };
    let mut is_told = false;
    loop {
        let api = Api::new(&address(&home)?, key.clone());
        match follow(&api, &path, &mut events, &mut output) {
            Ok(()) => is_told = false,
            // A gateway that is being replaced.
            Err(TailError::Api(ApiError::Unreachable(problem))) => {
                if !is_told {
                    let _ = writeln!(io::stderr().lock(), "mlxd: {problem}: it is tried again");
                }
                is_told = true;
            }
            Err(TailError::Api(error)) => return Err(refusal(error)),
            Err(TailError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Answer::default());
            }
            Err(TailError::Output(error)) => return Err(error.into()),
        }
        std::thread::sleep(PAUSE);
    }
}

fn address(home: &Path) -> Result<String, ClientError> {
    let running = server::running(home).map_err(|error| match error {
        ServerError::Client(error) => error,
        other => ClientError::Gateway(other.to_string()),
    });
    running?.ok_or_else(|| ClientError::NotRunning(home.to_owned()))
}

fn refusal(error: ApiError) -> ClientError {
    ClientError::Gateway(match error {
        ApiError::Key => format!(
            "the server asks for a key: make one with `mlxd key add NAME --scope admin-read`, and set {VARIABLE} to it"
        ),
        other => other.to_string(),
    })
}

/// The endpoint with the conditions.
fn path(filter: &Filter) -> String {
    let value = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = filter.pairs().into_iter().filter_map(|(name, text)| Some((name, text?)));
    let query: Vec<String> = pairs.map(|(name, text)| format!("{name}={}", value(text))).collect();
    if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{}", query.join("&")) }
}

/// Follows one connection to its end.
fn follow(
    api: &Api,
    path: &str,
    events: &mut Events,
    output: &mut Output<impl Write>,
) -> Result<(), TailError> {
    events.reconnect();
    for line in api.follow(path, events.last.as_deref())?.lines() {
        // The gateway has ended in the middle of a line.
        let Ok(line) = line else { return Ok(()) };
        if let Some(data) = events.take(&line) {
            output.write(&data).map_err(TailError::Output)?;
        }
    }
    Ok(())
}

/// The events of a stream so far.
#[derive(Debug, Default)]
struct Events {
    /// The id of the last complete event.
    last: Option<String>,
    /// Of the event whose end has not come yet.
    id: Option<String>,
    data: String,
}

impl Events {
    /// Forgets the beginning of an event that did not end.
    fn reconnect(&mut self) {
        (self.id, self.data) = (None, String::new());
    }

    /// Takes one line. Returns the data of the event that it ends, if that has some.
    fn take(&mut self, line: &str) -> Option<String> {
        if let Some(id) = field(line, "id") {
            self.id = Some(id.to_owned());
        } else if let Some(data) = field(line, "data") {
            self.data.push_str(data);
        } else if line.is_empty() {
            self.last = self.id.take().or(self.last.take());
            return Some(std::mem::take(&mut self.data)).filter(|data| !data.is_empty());
        }
        None
    }
}

/// The value of a line that has this field.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let value = line.strip_prefix(name)?.strip_prefix(':')?;
    Some(value.strip_prefix(' ').unwrap_or(value))
}

struct Output<W> {
    json: bool,
    has_head: bool,
    out: W,
}

impl<W: Write> Output<W> {
    fn write(&mut self, data: &str) -> io::Result<()> {
        if self.json {
            writeln!(self.out, "{data}")?;
        } else {
            if !std::mem::replace(&mut self.has_head, true) {
                let head = ["STARTED", "MODEL", "BACKEND", "ROUTE", "STATUS", "TOKENS", "COST", "TIME", "ID"];
                writeln!(self.out, "{}", line(&head.map(String::from)))?;
            }
            let row: Listed = serde_json::from_str(data)?;
            writeln!(self.out, "{}", line(&cells(&row, clock(row.started_at_ms))))?;
        }
        self.out.flush()
    }
}

fn line(cells: &[String; 9]) -> String {
    let padded = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:width$}"));
    padded.collect::<Vec<_>>().join("  ")
}

/// The time of the day (UTC) of a time in milliseconds since the epoch.
fn clock(at_ms: u64) -> String {
    let seconds = at_ms / 1000 % DAY_SECONDS;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_counts_once_it_is_complete() {
        let mut events = Events::default();
        for line in ["id: 4", "", ": keep-alive", "", "id:5", "event: request", "data: {\"a\":1}"] {
            assert_eq!(events.take(line), None, "{line}");
        }
        assert_eq!(events.last.as_deref(), Some("4"));
        assert_eq!(events.take("").as_deref(), Some("{\"a\":1}"));
        assert_eq!(events.last.as_deref(), Some("5"));
        for line in ["id: 6", "data: half"] {
            assert_eq!(events.take(line), None);
        }
        events.reconnect();
        assert_eq!(events.take(""), None);
        assert_eq!(events.last.as_deref(), Some("5"));
    }

    #[test]
    fn conditions_go_into_the_query() {
        let filter = Filter { model: Some("org/m &1".into()), key: Some("ann".into()), ..Filter::default() };
        assert_eq!(path(&filter), "/admin/v1/requests/tail?model=org%2Fm%20%261&key=ann");
        assert_eq!(path(&Filter::default()), PATH);
    }

    #[test]
    fn lines_have_one_head_and_a_time_of_day() {
        let row = r#"{"id": "req_1/a", "started_at_ms": 86461000, "model": "m", "backend": "local", "route": null,
            "status": "finished", "error": null, "prompt_tokens": 12, "completion_tokens": 30, "total_ms": 420, "cost_usd": null}"#;
        let mut output = Output { json: false, has_head: false, out: Vec::new() };
        output.write(row).unwrap();
        output.write(row).unwrap();
        let text = String::from_utf8(output.out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[1]), (3, lines[2]));
        assert_eq!(lines[0].find("MODEL"), lines[1].find("m "));
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(
            words,
            ["00:01:01Z", "m", "local", "-", "finished", "12", "+", "30", "-", "420", "ms", "req_1/a"]
        );
    }

    #[test]
    fn json_lines_are_as_the_server_sends_them() {
        let mut output = Output { json: true, has_head: false, out: Vec::new() };
        output.write("{\"id\":\"a\"}").unwrap();
        assert_eq!(output.out, b"{\"id\":\"a\"}\n");
    }
}
