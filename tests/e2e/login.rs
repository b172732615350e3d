//! Signing in to the web UI: by the command line, over HTTP, across restarts, and kept out of everything that is written.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::places::{self, SHALLOW, SMOLLM2};
use e2e::{Server, files, process, scripts};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";
/// A page of this origin comes from a port that no other test uses.
const PAGE_PORT: &str = "18467";

/// A browser as far as a session goes: its cookie.
struct Browser {
    agent: ureq::Agent,
    base: String,
    cookie: Option<String>,
}

impl Browser {
    fn new(base: String) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Self { agent: config.into(), base, cookie: None }
    }

    fn call(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header("x-mlxd-page", "1").header("content-type", "application/json");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let mut answer = if matches!(method, "GET" | "DELETE") {
            self.agent.run(request.body(()).unwrap()).unwrap()
        } else {
            self.agent.run(request.body(body.to_string()).unwrap()).unwrap()
        };
        if let Some(cookie) = answer.headers().get("set-cookie") {
            self.cookie = Some(cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }

    fn status(&mut self, path: &str) -> u16 {
        self.call("GET", path, &Value::Null).0
    }

    fn sign_in(&mut self, password: &str) -> u16 {
        self.call("POST", "/admin/v1/session", &json!({"password": password})).0
    }
}

/// A server whose password was set by the command line, and a browser that has signed in.
fn signed_in(server: &Server) -> Browser {
    let (done, text) = server.command_with(&["login", "set"], &format!("{PASSWORD}\n"));
    assert!(done && text.contains("the password is set"), "{text}");
    let mut browser = Browser::new(server.url(""));
    wait("the password is known", || browser.sign_in(PASSWORD) == 200);
    browser
}

fn wait(what: &str, done: impl FnMut() -> bool) {
    process::wait_for(what, Duration::from_secs(10), done);
}

/// The token in what `mlxd login link` or `mlxd serve` has written.
fn token(text: &str) -> String {
    let rest = text.split_once("/#setup=").unwrap_or_else(|| panic!("no link: {text}")).1;
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}

#[test]
fn password_of_the_command_line_signs_in_until_the_command_line_changes_it() {
    let server = Server::start();
    assert_eq!(server.get("/v1/models").status, 200, "it is open");
    let mut browser = signed_in(&server);
    assert_eq!(server.get("/v1/models").status, 401, "the password has closed it");
    let chat = json!({"model": SHALLOW, "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(browser.call("POST", "/v1/chat/completions", &chat).0, 200);
    assert_eq!((browser.status("/admin/v1/pool"), browser.status("/metrics")), (200, 200));
    // The owner of the home folder needs neither key nor password.
    assert!(
        server.mlxd(&["ps"]).contains(SHALLOW) && server.mlxd(&["key", "ls"]).contains("there is no key")
    );
    let listed = server.mlxd(&["login", "ls"]);
    assert!(listed.contains("BROWSER") && listed.contains("ses_"), "{listed}");
    let listed: Value = serde_json::from_str(&server.mlxd(&["login", "ls", "--json"])).unwrap();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{listed}");
    for (wrong, part) in [("short\n", "8 to 1024 bytes"), ("", "8 to 1024 bytes")] {
        let (done, text) = server.command_with(&["login", "set"], wrong);
        assert!(!done && text.contains(part), "{text}");
    }
    let (done, text) = server.command_with(&["login", "set"], "another horse battery\n");
    let start = Instant::now();
    assert!(done, "{text}");
    wait("the session has ended", || browser.status("/v1/models") == 401);
    // Half a second, and what the machine needs to look.
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    assert_eq!((browser.sign_in(PASSWORD), browser.sign_in("another horse battery")), (401, 200));
    assert!(server.mlxd(&["login", "off"]).contains("no password any more"));
    wait("all sessions have ended", || browser.status("/v1/models") == 401);
    assert_eq!(browser.sign_in("another horse battery"), 401);
    assert_eq!(server.get("/v1/models").status, 401, "it stays closed");
}

#[test]
fn session_outlives_gateways_and_the_server() {
    let home = tempfile::tempdir().unwrap();
    let start = || Server::builder().models(&places::models()).home(home.path()).start();
    let server = start();
    let mut browser = signed_in(&server);
    server.mlxd(&["restart", "--gateway"]);
    assert_eq!(browser.status("/v1/models"), 200);
    let gateway = server.gateways().remove(0).pid;
    process::signal(gateway, Signal::SIGKILL);
    wait("another gateway serves", || {
        server.gateways().iter().any(|one| one.pid != gateway) && browser.status("/v1/models") == 200
    });
    process::signal(server.pid() as i32, Signal::SIGKILL);
    drop(server);
    // The dead server's gateway ends by itself.
    let server = start();
    browser.base = server.url("");
    assert_eq!(browser.status("/admin/v1/sessions"), 200);
    server.stop(Signal::SIGTERM);
    // A link can be made while nothing runs, and opens the next server.
    let output = Command::new(places::binary("mlxd"))
        .args(["login", "link", "--home"])
        .arg(home.path())
        .output()
        .unwrap();
    let token = token(&String::from_utf8(output.stdout).unwrap());
    let server = start();
    browser.base = server.url("");
    let set_up = json!({"token": token, "password": "another horse battery"});
    let mut other = Browser::new(server.url(""));
    assert_eq!(other.call("POST", "/admin/v1/setup", &set_up).0, 200);
    assert_eq!((other.status("/v1/models"), browser.status("/v1/models")), (200, 401));
    assert_eq!(other.call("POST", "/admin/v1/setup", &set_up).0, 400, "it works once");
}

/// Runs `mlxd serve` in a terminal of its own.
fn serve_in_a_terminal(home: &Path, arguments: &[&str]) -> std::process::Child {
    let spawn = "import pty, sys; pty.spawn(sys.argv[1:])";
    let mut command = Command::new(places::python());
    command
        .args(["-c", spawn])
        .arg(places::binary("mlxd"))
        .args(["serve", "--port", "0", "--home"])
        .arg(home);
    command.args(arguments).arg("--models").arg(places::models());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn server_for_other_machines_starts_closed_and_invites_on_a_terminal_only() {
    let home = tempfile::tempdir().unwrap();
    let mut child = serve_in_a_terminal(home.path(), &["--host", "0.0.0.0"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.by_ref().find(|line| line.contains("/#setup=")).expect("no link on the terminal");
    // The rest must be read: a terminal that is full stops its program.
    std::thread::spawn(move || lines.for_each(drop));
    let token = token(&line);
    assert_eq!(token.len(), 64, "{line}");
    let address = fs::read_to_string(home.path().join("run/address")).unwrap();
    let mut browser = Browser::new(format!("http://{}", address.trim()));
    assert_eq!((browser.status("/v1/models"), browser.status("/health")), (401, 200));
    let set_up = json!({"token": token, "password": PASSWORD});
    assert_eq!(browser.call("POST", "/admin/v1/setup", &set_up).0, 200);
    let logs = browser.call("GET", "/admin/v1/logs", &Value::Null).1.to_string();
    assert!(logs.contains("mlxd is listening") && !logs.contains(&token), "{logs}");
    let stop =
        Command::new(places::binary("mlxd")).args(["stop", "--home"]).arg(home.path()).status().unwrap();
    assert!(stop.success() && child.wait().unwrap().success());
    // The next one has a password, and no terminal either.
    let server =
        Server::builder().models(&places::models()).home(home.path()).arg("--host").arg("0.0.0.0").start();
    assert!(!server.log().contains("setup") && !server.log().contains("no password yet"), "{}", server.log());
    let other = Server::builder().models(&places::models()).arg("--host").arg("0.0.0.0").start();
    wait("its log says what to do", || other.log().contains("`mlxd login link` prints an address"));
    assert!(!other.log().contains("#setup="), "{}", other.log());
    assert_eq!(other.get("/v1/models").status, 401);
}

#[test]
fn password_link_and_session_are_in_no_log_file_database_or_environment() {
    let server = Server::builder().models(&places::models()).env("MLXD_LOG", "debug").start();
    let mut browser = signed_in(&server);
    let link = token(&server.mlxd(&["login", "link"]));
    // Its requests are stored whole, and this one must not be.
    let made: Value = serde_json::from_str(&server.mlxd(&[
        "key",
        "add",
        "--json",
        "a",
        "--scope",
        "admin",
        "--store-content",
    ]))
    .unwrap();
    let key = format!("Bearer {}", made["secret"].as_str().unwrap());
    let change = json!({"old": "a wrong guess at it", "new": "the next password"}).to_string();
    wait("the key is known", || {
        let request = browser.agent.post(server.url("/admin/v1/password")).header("authorization", &key);
        request.send(&change).unwrap().status() == 400
    });
    let chat = json!({"model": SHALLOW, "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(browser.call("POST", "/v1/chat/completions", &chat).0, 200);
    assert_eq!(browser.sign_in("another wrong guess"), 401);
    let cookie = browser.cookie.clone().unwrap();
    let claims = cookie.split('.').nth(1).unwrap();
    let mut processes = server.gateways();
    processes.extend(server.workers());
    processes.push(server.supervisor());
    for text in [PASSWORD, &link, claims, "a wrong guess at it", "another wrong guess", "the next password"] {
        for process in processes.iter().filter(|_| cfg!(target_os = "linux")) {
            for file in ["environ", "cmdline"] {
                let bytes = fs::read(format!("/proc/{}/{file}", process.pid)).unwrap();
                assert!(
                    !bytes.windows(text.len()).any(|part| part == text.as_bytes()),
                    "{file} of {process:?}"
                );
            }
        }
        let found = files::with(server.home(), text);
        assert!(found.is_empty(), "{found:?} have {text}");
        assert!(!server.log().contains(text), "the log has {text}");
    }
    let found = files::with(server.home(), "$argon2id$v=19$m=19456,t=2,p=1$");
    assert!(found.iter().any(|file| file.contains("mlxd.db")), "the scan sees the hash: {found:?}");
}

/// The worker goes on as fast while somebody guesses with sixteen connections.
#[test]
fn guesses_do_not_starve_inference() {
    let server = Server::start();
    let mut browser = signed_in(&server);
    let body = json!({"model": SHALLOW, "prompt": "2, 4, 6,", "max_tokens": 48, "temperature": 0});
    let mut time = || {
        let start = Instant::now();
        assert_eq!(browser.call("POST", "/v1/completions", &body).0, 200);
        start.elapsed()
    };
    time();
    let quiet = (0..3).map(|_| time()).max().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let (busy, hashed) = std::thread::scope(|scope| {
        let guess = || {
            let (mut other, mut hashed) = (Browser::new(server.url("")), 0);
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                hashed += usize::from(other.sign_in("a wrong guess") == 401);
            }
            hashed
        };
        let guesses: Vec<_> = (0..16).map(|_| scope.spawn(guess)).collect();
        let busy = (0..3).map(|_| time()).min().unwrap();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        (busy, guesses.into_iter().map(|guess| guess.join().unwrap()).sum::<usize>())
    });
    assert!((5..12).contains(&hashed), "{hashed} guesses were hashed");
    assert!(busy < quiet * 5 + Duration::from_millis(500), "{busy:?} instead of {quiet:?}");
}

#[test]
fn foreign_pages_and_rebound_names_cannot_use_a_session() {
    let server = Server::start();
    drop(signed_in(&server));
    let program = std::env::var("MLXD_TEST_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    scripts::run("foreign_login.mjs", &[&server.url(""), SMOLLM2, &program, PASSWORD, PAGE_PORT]);
}
