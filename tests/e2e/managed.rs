//! Backends: programs with an OpenAI-compatible API that the server starts, watches and stops.

use std::fs;
use std::time::{Duration, Instant};

use e2e::places::{self, SHALLOW};
use e2e::server::Builder;
use e2e::{Server, http, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The whole answer of the program.
const TEXT: &str = "one two three";
/// The name of its model for clients, and its alias.
const MODEL: &str = "lm/toy";
const ALIAS: &str = "quick";

/// The program's folder for notes, and the settings of the backend `lm`.
pub(crate) struct Program {
    folder: TempDir,
    settings: String,
}

impl Program {
    /// With further words for the program, and further lines of its table.
    pub(crate) fn new(words: &[&str], lines: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("mlxd-managed-").tempdir().unwrap();
        let script = places::repository().join("tests/e2e/managed/program.py");
        let mut command = vec![places::python(), script, "{port}".into(), folder.path().to_owned()];
        command.extend(words.iter().map(std::path::PathBuf::from));
        let settings = format!(
            "[backends.lm]\ncommand = {command:?}\nmodel = \"/models/toy\"\nalias = \"{ALIAS}\"\nmemory = \"256MiB\"\n{lines}\n"
        );
        Self { folder, settings }
    }

    fn builder(&self) -> Builder {
        // Python needs none of the libraries of MLX.
        Server::builder().models(&places::models()).config(&self.settings)
    }

    pub(crate) fn start(&self) -> Server {
        self.builder().start()
    }

    fn notes(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The processes of each start: the program and its child.
    fn pids(&self) -> Vec<[i32; 2]> {
        let pair = |line: &String| {
            let (one, two) = line.split_once(' ').unwrap();
            [one.parse().unwrap(), two.parse().unwrap()]
        };
        self.notes("pids").iter().map(pair).collect()
    }

    fn starts(&self) -> usize {
        self.pids().len()
    }

    /// Waits until no process of any start is left.
    fn wait_gone(&self) {
        let pids: Vec<i32> = self.pids().concat();
        assert!(!pids.is_empty());
        process::wait_for("no process of the program is left", Duration::from_secs(8), || {
            process::processes().iter().all(|process| !pids.contains(&process.pid))
        });
    }
}

/// The four client protocols: path, body and the place of the whole text.
fn protocols(prompt: &str) -> [(&'static str, Value, &'static str); 4] {
    let messages = json!([{"role": "user", "content": prompt}]);
    [
        ("/v1/chat/completions", json!({"model": MODEL, "messages": messages}), "/choices/0/message/content"),
        ("/v1/messages", json!({"model": MODEL, "messages": messages, "max_tokens": 50}), "/content/0/text"),
        ("/v1/responses", json!({"model": MODEL, "input": prompt}), "/output/0/content/0/text"),
        ("/api/chat", json!({"model": MODEL, "messages": messages, "stream": false}), "/message/content"),
    ]
}

fn streamed(body: &Value) -> Value {
    let mut body = body.clone();
    body["stream"] = true.into();
    body
}

fn chat(server: &Server, model: &str) -> http::Answer {
    let messages = json!([{"role": "user", "content": "Count."}]);
    server.post("/v1/chat/completions", &json!({"model": model, "messages": messages, "max_tokens": 8}))
}

/// The text deltas of a stream, in any protocol.
fn text_of(server: &Server, path: &str, body: &Value) -> String {
    let piece = |event: &Value| {
        let places = ["/choices/0/delta/content", "/delta/text", "/message/content"];
        let found = places.iter().find_map(|place| event.pointer(place)?.as_str());
        let of_responses = event["type"] == "response.output_text.delta";
        found.or(of_responses.then(|| event["delta"].as_str()).flatten()).unwrap_or_default().to_owned()
    };
    if path == "/api/chat" {
        return http::lines(&server.url(path), body).map(|event| piece(&event)).collect();
    }
    let events = server.stream(path, body).filter(|data| data != "[DONE]");
    events.map(|data| piece(&serde_json::from_str(&data).unwrap())).collect()
}

fn model(server: &Server) -> Value {
    server.get("/admin/v1/models/lm%2Ftoy").body
}

#[test]
fn first_request_starts_the_program_and_every_protocol_is_answered() {
    let program = Program::new(&["late"], "context = 2048");
    let server = program.start();
    assert_eq!(program.starts(), 0, "nothing starts without a request");
    let listed = server.get("/v1/models").body;
    let entry = |name: &str| {
        let models = listed["data"].as_array().unwrap();
        models.iter().find(|model| model["id"] == name).unwrap_or_else(|| panic!("{name}: {listed}")).clone()
    };
    for name in [MODEL, ALIAS] {
        assert_eq!((&entry(name)["owned_by"], &entry(name)["state"]), (&json!("lm"), &json!("stopped")));
        assert_eq!(
            (&entry(name)["context_length"], &entry(name)["details"]["backend"]),
            (&json!(2048), &json!("lm"))
        );
    }
    for (path, body, place) in protocols("Count.") {
        let answer = server.post(path, &body);
        assert_eq!((answer.status, answer.text(place)), (200, TEXT), "{path}: {}", answer.body);
        assert_eq!(text_of(&server, path, &streamed(&body)), TEXT, "{path}");
    }
    assert_eq!(chat(&server, ALIAS).text("/choices/0/message/content"), TEXT);
    assert_eq!(program.starts(), 1, "one start serves all");
    let sent: Value = serde_json::from_str(&program.notes("requests")[0]).unwrap();
    assert_eq!(
        (&sent["path"], &sent["body"]["model"]),
        (&json!("/v1/chat/completions"), &json!("/models/toy"))
    );
    let row = &server.get("/admin/v1/requests?limit=1").body["requests"][0];
    assert_eq!((&row["backend"], &row["model"]), (&json!("lm"), &json!(ALIAS)), "{row}");
    assert!(server.log().contains("[lm/toy] the program's own words"), "{}", server.log());
    assert!(server.mlxd(&["ps"]).contains("lm/toy (quick) [external]"), "{}", server.mlxd(&["ps"]));
    server.stop(Signal::SIGTERM);
    program.wait_gone();
}

#[test]
fn requests_at_once_share_one_start_and_commands_load_restart_and_unload() {
    let program = Program::new(&["late"], "");
    let server = program.start();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| chat(&server, MODEL).status)).collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), 200);
        }
    });
    assert_eq!(program.starts(), 1);
    let leases = server.get("/admin/v1/pool").body["leases"].clone();
    assert_eq!((&leases[0]["model"], &leases[0]["bytes"]), (&json!(MODEL), &json!(256 << 20)), "{leases}");
    process::wait_for("its memory is measured", Duration::from_secs(5), || {
        let bytes = model(&server)["workers"][0]["footprint_bytes"].as_u64().unwrap();
        bytes > 5 << 20
    });
    server.mlxd(&["restart", MODEL]);
    assert_eq!(program.starts(), 2);
    server.mlxd(&["unload", MODEL]);
    assert_eq!(model(&server)["state"], "stopped");
    program.wait_gone();
    server.mlxd(&["load", ALIAS]);
    assert_eq!((program.starts(), &model(&server)["state"]), (3, &json!("ready")));
    let (done, text) = server.command(&["set", MODEL, "kv_mib=8"]);
    assert!(!done && text.contains("has no effect on the model of a backend"), "{text}");
    server.mlxd(&["set", MODEL, "idle_seconds=600"]);
    let refused = server.delete("/admin/v1/models/lm%2Ftoy");
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.text("/detail").contains("take [backends.lm] out of config.toml"), "{}", refused.body);
}

#[test]
fn idle_program_is_stopped_but_not_during_a_stream() {
    let program = Program::new(&[], "idle_seconds = 1");
    let server = program.start();
    let (path, body, _) = &protocols("Count, slow.")[0];
    let mut events = server.stream(path, &streamed(body));
    assert!(events.next().is_some());
    let since = Instant::now();
    // Longer than an idle program lives.
    while since.elapsed() < Duration::from_secs(12) {
        assert!(events.next().is_some_and(|data| data.contains("delta")), "{}", server.log());
    }
    assert_eq!(model(&server)["workers"][0]["running"], 1);
    drop(events);
    process::wait_for("the program notices that the client has left", Duration::from_secs(5), || {
        !program.notes("left").is_empty()
    });
    process::wait_for("the idle program is stopped", Duration::from_secs(15), || {
        model(&server)["state"] == "stopped"
    });
    program.wait_gone();
    assert_eq!(chat(&server, MODEL).status, 200, "the next request starts it again");
    assert_eq!(program.starts(), 2);
}

#[test]
fn killed_program_is_an_error_of_the_protocol_and_the_next_request_works() {
    let program = Program::new(&[], "");
    let server = program.start();
    for (path, body, _) in protocols("Count, slow.").into_iter().take(3) {
        let mut events = server.stream(path, &streamed(&body));
        assert!(events.next().is_some());
        std::thread::sleep(Duration::from_millis(300));
        let [pid, _] = *program.pids().last().unwrap();
        process::signal(pid, Signal::SIGKILL);
        let rest: Vec<String> = events.collect();
        let last = rest.iter().rev().find(|data| *data != "[DONE]").unwrap();
        assert!(last.contains("error") || last.contains("failed"), "{path}: {last}");
        let answer = chat(&server, MODEL);
        assert_eq!(
            (answer.status, answer.text("/choices/0/message/content")),
            (200, TEXT),
            "{}",
            answer.body
        );
    }
    assert_eq!(program.starts(), 4);
    let exit = &model(&server)["last_exit"];
    assert_eq!(exit["expected"], false, "{exit}");
    let pids: Vec<[i32; 2]> = program.pids();
    let alive = |pid: i32| process::processes().iter().any(|process| process.pid == pid);
    process::wait_for("children of killed programs end, too", Duration::from_secs(5), || {
        pids[..3].concat().iter().all(|pid| !alive(*pid))
    });
    assert!(alive(pids[3][0]));
}

#[test]
fn killed_runner_or_server_leaves_no_process_of_the_program() {
    let program = Program::new(&[], "");
    let server = program.start();
    assert_eq!(chat(&server, MODEL).status, 200);
    process::signal(server.runners()[0].pid, Signal::SIGKILL);
    program.wait_gone();
    assert_eq!(chat(&server, MODEL).status, 200, "it starts again");
    process::signal(server.pid() as i32, Signal::SIGKILL);
    program.wait_gone();
}

#[test]
fn program_that_never_becomes_ready_is_named_and_a_route_goes_on() {
    let program = Program::new(&["sick"], "start_seconds = 1");
    let routes = format!("[[routes]]\nmodel = \"any\"\ntargets = [\"{MODEL}\", \"{SHALLOW}\"]\n");
    let server = program.builder().config(&routes).start();
    let message = chat(&server, MODEL).expect_error(503).to_owned();
    for part in ["within 1 s", "GET /health: it answered with status 503", "mlxd logs"] {
        assert!(message.contains(part), "{message}");
    }
    program.wait_gone();
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5});
    let answer = server.post("/v1/messages", &body);
    assert_eq!((answer.status, answer.text("/type")), (503, "error"), "{}", answer.body);
    let answer = chat(&server, "any");
    assert_eq!((answer.status, answer.text("/model")), (200, SHALLOW), "{}", answer.body);
}

#[test]
fn program_that_ends_at_once_is_quoted() {
    let program = Program::new(&["broken"], "");
    let server = program.start();
    let answer = chat(&server, MODEL);
    let message = answer.text("/error/message");
    for part in ["the program for \"lm/toy\" ended while loading", "no weights here", "`mlxd logs lm/toy`"] {
        assert!(message.contains(part), "{message}");
    }
    program.wait_gone();
    let missing =
        "[backends.none]\ncommand = [\"/no/such/program\", \"{port}\"]\nmodel = \"m\"\nmemory = \"64MiB\"\n";
    let server = Server::builder().models(&places::models()).config(missing).start();
    let answer = chat(&server, "none/m");
    let message = answer.text("/error/message");
    assert!(
        message.contains("/no/such/program cannot be started") && message.contains("install it"),
        "{message}"
    );
}

#[test]
fn program_and_workers_share_the_memory_budget() {
    let program = Program::new(&[], "");
    let models = format!("[models.\"{SHALLOW}\"]\nkv_mib = 64\n");
    // A worker of the model needs about 700 MiB.
    let server = program.builder().config(&models).arg("--memory").arg("820MiB").start();
    assert_eq!(server.count().status, 200);
    let states = |server: &Server| {
        let worker = server.get(&format!("/admin/v1/models/{SHALLOW}")).body["state"].clone();
        (worker, model(server)["state"].clone())
    };
    assert_eq!(states(&server), (json!("ready"), json!("stopped")));
    assert_eq!(chat(&server, MODEL).status, 200);
    assert_eq!(states(&server), (json!("stopped"), json!("ready")), "the worker was evicted");
    assert_eq!(server.count().status, 200);
    assert_eq!(states(&server), (json!("ready"), json!("stopped")), "the program was evicted");
    program.wait_gone();
    assert!(server.log().contains("evicted to make room for lm/toy"), "{}", server.log());
}

#[test]
fn program_gets_no_secret_and_local_keys_may_use_it() {
    let program = Program::new(&[], "pass_env = [\"HF_TOKEN\", \"MY_SETTING\"]");
    let more = format!(
        "[providers.far]\nkind = \"openai\"\nurl = \"http://127.0.0.1:9\"\napi_key_env = \"FAR_KEY\"\nmodels = [\"m\"]\n\
         [[routes]]\nmodel = \"near\"\ntargets = [\"{MODEL}\"]\nlocal_only = true\n"
    );
    let variables = [
        ("MLXD_API_KEYS", "sk-hidden-1"),
        ("MLXD_MASTER_KEY", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
        ("FAR_KEY", "sk-hidden-2"),
        ("OTHER_TOKEN", "sk-hidden-3"),
        ("LD_LIBRARY_PATH_TEST", "hidden-4"),
        ("HF_TOKEN", "hf-passed"),
        ("MY_SETTING", "passed"),
    ];
    let mut builder = program.builder().config(&more);
    for (name, value) in variables {
        builder = builder.env(name, value);
    }
    let server = builder.start();
    let made: Value =
        serde_json::from_str(&server.mlxd(&["key", "add", "--json", "ann", "--local-only"])).unwrap();
    let key = made["secret"].as_str().unwrap().to_owned();
    let ask = |model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Count."}]});
        let request = ureq::post(server.url("/v1/chat/completions")).content_type("application/json");
        let request = request.header("authorization", format!("Bearer {key}"));
        request.send(body.to_string()).map_or(0, |response| response.status().as_u16())
    };
    process::wait_for("the key counts", Duration::from_secs(5), || ask(MODEL) == 200);
    assert_eq!((ask(ALIAS), ask("near")), (200, 200));
    assert_ne!(ask("far/m"), 200);
    let names: Vec<String> = program.notes("environment");
    let has = |text: &str| names.iter().any(|line| line.contains(text));
    for absent in ["hidden", "MLXD_", "FAR_KEY", "OTHER_TOKEN", "LD_LIBRARY_PATH", "00112233"] {
        assert!(!has(absent), "{absent}: {names:?}");
    }
    for present in ["PATH=", "HF_TOKEN=hf-passed", "MY_SETTING=passed"] {
        assert!(has(present), "{present}: {names:?}");
    }
}
