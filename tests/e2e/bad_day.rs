//! One bad day: everything goes wrong at once, and healthy requests do not notice, or fail cleanly.
//!
//! Gateways are stopped and killed, the supervisor is stopped, weights are a pipe, a file system does not answer, prompts are huge,
//! a schema is slow, a grammar ambiguous, a model computes no numbers, the database is full and locked, and 2,000 connections
//! stop halfway. `MLXD_CHAOS_SECONDS` sets the duration.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use e2e::locked::Lock;
use e2e::places::{self, SHALLOW};
use e2e::{Server, broken, http, process, slow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

const CLIENTS: usize = 4;
const PROMPTS: [&str; 4] = ["2, 4, 6, 8,", "Once upon a time", "The capital of France is", "def main():"];
const TOKENS: u32 = 24;
const HANGING: &str = "hanging";
/// A folder on a file system that never answers.
const SILENT: &str = "silent";
const NO_NUMBERS: &str = "no-numbers";
const SLOW_CONNECTIONS: usize = 2000;
const HANG_SECONDS: u64 = 6;
/// The limit of every request.
const PATIENCE: Duration = Duration::from_secs(120);
/// The limit of a request that cannot be served at all.
const REFUSAL: Duration = Duration::from_secs(60);
/// Seconds, a third of a short day, that are not compared.
const WARM_UP: usize = 60;
/// Growth of the processes' memory that is allowed from the first third of the day to the last, besides a quarter.
const GROWTH_KIB: u64 = 256 << 10;

/// The outcomes of the requests.
#[derive(Debug, Default)]
struct Counts {
    /// Healthy ones with the right answer.
    right: AtomicU32,
    /// Healthy ones with a clean error.
    refused: AtomicU32,
    /// Healthy ones whose gateway was killed.
    cut: AtomicU32,
    /// Bad ones that were refused.
    bad: AtomicU32,
    /// Slow schemas that were served.
    schemas: AtomicU32,
    /// Ambiguous grammars that were served or refused.
    grammars: AtomicU32,
    /// Connections that stopped halfway.
    slow: AtomicU32,
    /// Gateways that were killed or stopped, and replaced.
    gateways: AtomicU32,
    /// Resident KiB of all processes, once a second.
    memory: Mutex<Vec<u64>>,
    errors: Mutex<Vec<String>>,
}

struct BadDay {
    server: Server,
    // Holds the models.
    _folder: TempDir,
    /// An undisturbed server's answer to each prompt.
    right: Vec<String>,
    over: AtomicBool,
    counts: Counts,
    /// Held while the supervisor is stopped or a gateway is missing: a stopped supervisor replaces none.
    stopping: Mutex<()>,
}

/// Ends all threads' work when it is dropped by a panic.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// How a request ended.
enum End {
    Text(String),
    Refused(u16, String),
    /// The connection broke after this much text.
    Cut(String),
}

fn add(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn body(prompt: &str, stream: bool) -> Value {
    json!({"model": SHALLOW, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "stream": stream})
}

/// A signal to a process that may have ended.
fn hit(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

impl BadDay {
    fn start() -> Self {
        slow::raise_descriptor_limit();
        let folder = tempfile::tempdir().unwrap();
        broken::hanging(folder.path(), HANGING);
        broken::without_numbers(folder.path(), NO_NUMBERS);
        let silent = folder.path().join(SILENT);
        std::fs::create_dir(&silent).unwrap();
        let server = Server::builder()
            .models(&places::models())
            .models(folder.path())
            .env("MLXD_HANG_SECONDS", &HANG_SECONDS.to_string())
            .env("MLXD_RECOVERIES", "8")
            .env("MLXD_IDLE_CONNECTION_SECONDS", "15")
            .env("MLXD_BODY_SECONDS", "15")
            // A small cache is full soon, and then stays so.
            .config(&format!("[models.\"{SHALLOW}\"]\nkv_mib = 64\n"))
            .bounded()
            .silent(&silent)
            .start();
        let (over, counts) = (AtomicBool::new(false), Counts::default());
        let stopping = Mutex::default();
        let mut day = Self { server, _folder: folder, right: Vec::new(), over, counts, stopping };
        for prompt in PROMPTS {
            match day.whole(prompt) {
                End::Text(text) => day.right.push(text),
                End::Refused(status, message) => panic!("undisturbed: {status} {message}"),
                End::Cut(text) => panic!("undisturbed: cut after {text:?}"),
            }
        }
        day
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits, but not beyond the end.
    fn pause(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time && !self.is_over() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    fn whole(&self, prompt: &str) -> End {
        let Ok(answer) = http::post_within(&self.url("/v1/completions"), &body(prompt, false), PATIENCE)
        else {
            return End::Cut(String::new());
        };
        match answer.status {
            200 => End::Text(answer.text("/choices/0/text").to_owned()),
            status => End::Refused(status, answer.text("/error/message").to_owned()),
        }
    }

    fn streamed(&self, prompt: &str) -> End {
        let Ok(events) = http::stream_within(&self.url("/v1/completions"), &body(prompt, true), PATIENCE)
        else {
            return End::Cut(String::new());
        };
        if events.status != 200 {
            return End::Refused(events.status, "a stream was refused".into());
        }
        let mut text = String::new();
        for event in events {
            if event == "[DONE]" {
                return End::Text(text);
            }
            let event: Value = serde_json::from_str(&event).unwrap();
            if let Some(message) = event.pointer("/error/message") {
                return End::Refused(503, message.as_str().unwrap().to_owned());
            }
            text.push_str(event["choices"][0]["text"].as_str().unwrap());
        }
        End::Cut(text)
    }

    /// A healthy client. Every whole answer is the right one, every part its beginning.
    fn client(&self, number: usize) {
        for round in number.. {
            if self.is_over() {
                return;
            }
            let at = round % PROMPTS.len();
            let end = if round % 3 == 0 { self.whole(PROMPTS[at]) } else { self.streamed(PROMPTS[at]) };
            match end {
                End::Text(text) => {
                    assert_eq!(text, self.right[at]);
                    add(&self.counts.right);
                    continue;
                }
                End::Cut(text) => {
                    assert!(self.right[at].starts_with(&text), "{text:?} of {:?}", self.right[at]);
                    add(&self.counts.cut);
                }
                End::Refused(status, message) => {
                    assert!((status == 503 || status == 504) && !message.is_empty(), "{status} {message}");
                    self.counts.errors.lock().unwrap().push(message);
                    add(&self.counts.refused);
                }
            }
            self.pause(Duration::from_millis(200));
        }
    }

    /// Sends a request that cannot be served. Its error has one of these statuses, unless its gateway was killed.
    fn refuse(&self, body: &Value, statuses: &[u16]) {
        let begun = Instant::now();
        if let Ok(answer) = http::post_within(&self.url("/v1/completions"), body, PATIENCE) {
            let fits = statuses.contains(&answer.status) || matches!(answer.status, 503 | 504);
            assert!(fits, "{} for {statuses:?}: {}", answer.status, answer.body);
            assert!(!answer.text("/error/message").is_empty(), "{}", answer.body);
            assert!(begun.elapsed() < REFUSAL, "{:?}: {}", begun.elapsed(), answer.body);
            add(&self.counts.bad);
        }
        self.pause(Duration::from_secs(1));
    }

    fn hanging_model(&self) {
        self.refuse(&json!({"model": HANGING, "prompt": "Hi"}), &[400, 404, 500]);
        self.refuse(&json!({"model": SILENT, "prompt": "Hi"}), &[503]);
    }

    fn model_without_numbers(&self) {
        self.refuse(&json!({"model": NO_NUMBERS, "prompt": "Hi", "max_tokens": 4}), &[500]);
    }

    /// Almost eight megabytes, of which no model's context holds a tenth.
    fn huge_prompt(&self) {
        let prompt = "hello ".repeat(10 << 20 >> 3);
        self.refuse(&json!({"model": SHALLOW, "prompt": prompt, "max_tokens": 4}), &[400, 413]);
    }

    /// A schema of many words, which takes a while to prepare and is harmless.
    fn slow_schema(&self) {
        let words: Vec<String> = (0..4000).map(|n| format!("word {n} of many")).collect();
        let schema = json!({"type": "object", "properties": {"a": {"enum": words}}, "required": ["a"]});
        let format = json!({"type": "json_schema", "json_schema": {"name": "words", "schema": schema}});
        let turns = json!([{"role": "user", "content": "Say a word."}]);
        let body = json!({"model": SHALLOW, "messages": turns, "max_tokens": 8, "response_format": format});
        if let Ok(answer) = http::post_within(&self.url("/v1/chat/completions"), &body, PATIENCE) {
            assert!(matches!(answer.status, 200 | 400 | 503 | 504), "{}: {}", answer.status, answer.body);
            if answer.status == 200 {
                add(&self.counts.schemas);
            }
        }
        self.pause(Duration::from_millis(500));
    }

    /// A grammar with very many readings of each text, which has its rows sit steps out until it is refused.
    fn ambiguous_grammar(&self) {
        let grammar = "start: text\ntext: text text | text text text | /[a-z ,.]/\n";
        let body = json!({"model": SHALLOW, "prompt": "Once upon a time", "max_tokens": 64, "guided_grammar": grammar});
        if let Ok(answer) = http::post_within(&self.url("/v1/completions"), &body, PATIENCE) {
            assert!(matches!(answer.status, 200 | 400 | 503 | 504), "{}: {}", answer.status, answer.body);
            add(&self.counts.grammars);
        }
        self.pause(Duration::from_secs(1));
    }

    /// Responses, which are stored, while the database is locked or its disk is full.
    fn response(&self) {
        let body = json!({"model": SHALLOW, "input": "Say a word.", "max_output_tokens": 4});
        if let Ok(answer) = http::post_within(&self.url("/v1/responses"), &body, PATIENCE) {
            assert!(matches!(answer.status, 200 | 503 | 504), "{}: {}", answer.status, answer.body);
        }
        self.pause(Duration::from_millis(300));
    }

    fn database(&self) {
        {
            let _lock = Lock::take(&self.server.home().join("mlxd.db"));
            self.pause(Duration::from_secs(4));
        }
        self.pause(Duration::from_secs(2));
        let gateway = self.server.gateways().first().map(|gateway| gateway.pid);
        if let Some(gateway) = gateway.filter(|pid| process::try_limit_files(*pid, true)) {
            self.pause(Duration::from_secs(4));
            process::try_limit_files(gateway, false);
        }
        self.pause(Duration::from_secs(2));
    }

    fn connections(&self) {
        let mut open: Vec<TcpStream> = Vec::new();
        while !self.is_over() {
            open.retain(|stream| !slow::has_ended(stream));
            let more = slow::connect(self.server.address(), SLOW_CONNECTIONS - open.len());
            self.counts.slow.fetch_add(more.len() as u32, Ordering::Relaxed);
            open.extend(more);
            self.pause(Duration::from_secs(2));
        }
    }

    /// Kills or stops a gateway. A stopped one is replaced like a worker that hangs.
    fn gateway(&self, round: u32) {
        self.pause(Duration::from_secs(10));
        let Some(victim) = self.server.gateways().first().map(|gateway| gateway.pid) else { return };
        if self.is_over() {
            return;
        }
        let _one = self.stopping.lock();
        hit(victim, if round.is_multiple_of(2) { Signal::SIGKILL } else { Signal::SIGSTOP });
        let begun = Instant::now();
        let is_there = || self.server.gateways().iter().any(|gateway| gateway.pid == victim);
        while is_there() {
            assert!(
                begun.elapsed() < Duration::from_secs(4 * HANG_SECONDS),
                "the gateway {victim} that was stopped is not replaced"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        // The next one has started.
        let healthy = http::get(&self.url("/health")).map(|answer| answer.status);
        assert!(matches!(healthy, Ok(200)), "{healthy:?}");
        add(&self.counts.gateways);
    }

    fn supervisor(&self) {
        self.pause(Duration::from_secs(5));
        let _one = self.stopping.lock();
        hit(self.server.pid() as i32, Signal::SIGSTOP);
        std::thread::sleep(Duration::from_secs(2));
        let asked = Instant::now();
        if let Ok(answer) = http::get(&self.url("/v1/models")) {
            assert!(matches!(answer.status, 200 | 503), "{}", answer.body);
        }
        assert!(asked.elapsed() < Duration::from_secs(30), "a list of models took {:?}", asked.elapsed());
        hit(self.server.pid() as i32, Signal::SIGCONT);
    }

    fn measure(&self) {
        let supervisor = self.server.pid() as i32;
        let family =
            process::processes().into_iter().filter(|p| p.pid == supervisor || p.parent == supervisor);
        self.counts.memory.lock().unwrap().push(family.map(|process| process.rss_kib).sum());
        self.pause(Duration::from_secs(1));
    }

    /// Runs everything for `time`, or until a thread panics.
    fn run(&self, time: Duration) {
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                scope.spawn(move || {
                    let _alarm = Alarm(&self.over);
                    self.client(number);
                });
            }
            let works: [fn(&Self); 9] = [
                Self::hanging_model,
                Self::model_without_numbers,
                Self::huge_prompt,
                Self::slow_schema,
                Self::ambiguous_grammar,
                Self::response,
                Self::database,
                Self::supervisor,
                Self::measure,
            ];
            for work in works {
                scope.spawn(move || {
                    let _alarm = Alarm(&self.over);
                    while !self.is_over() {
                        work(self);
                    }
                });
            }
            scope.spawn(|| {
                let _alarm = Alarm(&self.over);
                self.connections();
            });
            scope.spawn(|| {
                let _alarm = Alarm(&self.over);
                for round in 0.. {
                    if self.is_over() {
                        return;
                    }
                    self.gateway(round);
                }
            });
            self.pause(time);
            self.over.store(true, Ordering::Relaxed);
        });
    }
}

/// The value in the middle.
fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
fn healthy_requests_survive_a_bad_day() {
    let seconds: u64 = std::env::var("MLXD_CHAOS_SECONDS").map_or(60, |text| text.parse().unwrap());
    let day = BadDay::start();
    day.run(Duration::from_secs(seconds));
    // The day is over: everything is as before.
    process::wait_for("healthy answers are right again", Duration::from_secs(60), || {
        PROMPTS
            .iter()
            .zip(&day.right)
            .all(|(prompt, right)| matches!(day.whole(prompt), End::Text(text) if text == *right))
    });
    let BadDay { server, counts, .. } = day;
    let measured = counts.memory.lock().unwrap().clone();
    // Caches fill first.
    let memory = &measured[(measured.len() / 3).min(WARM_UP)..];
    let third = (memory.len() / 3).max(1);
    let (first, last) = (median(&memory[..third]), median(&memory[memory.len() - third..]));
    let mut errors = counts.errors.lock().unwrap().clone();
    errors.sort();
    errors.dedup();
    println!(
        "{seconds} s: {counts:?}; {first} KiB in the first third, {last} KiB in the last; errors: {errors:#?}"
    );
    let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
    assert!(count(&counts.right) > 0 && count(&counts.bad) > 0 && count(&counts.gateways) > 0);
    assert!(count(&counts.slow) >= SLOW_CONNECTIONS as u32);
    assert!(last <= first + first / 4 + GROWTH_KIB, "from {first} to {last} KiB");
    assert!(server.stop(Signal::SIGTERM).success());
}
