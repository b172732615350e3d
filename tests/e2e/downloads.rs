//! Downloads by the server: the queue, and what happens to it when processes end.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::fake_hub::{FakeHub, Model, bytes};
use e2e::hub_user::HubUser;
use e2e::process::{self, wait_for};
use e2e::random::{Random, setting};
use e2e::{Server, http, scripts};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const BIG: &str = "mlx-community/big";
const OTHER: &str = "mlx-community/other";
const THIRD: &str = "mlx-community/third";
const TOY: &str = "mlx-community/toy-qwen2";
/// Bytes of each of the two files of weights.
const SIZE: usize = 6_000_000;
/// Connections of one download at once.
const CONNECTIONS: usize = 8;
const LIST: &str = "/admin/v1/downloads";

fn big() -> Model {
    weights(SIZE)
}

/// A model of two files of weights of this size.
fn weights(size: usize) -> Model {
    let mut second = bytes(size);
    second.reverse();
    Model::new([
        ("config.json", json!({"model_type": "llama"}).to_string().into_bytes()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model-00001-of-00002.safetensors", bytes(size)),
        ("model-00002-of-00002.safetensors", second),
    ])
}

/// A hub whose connections send so many bytes a second.
fn hub(rate: u64) -> FakeHub {
    let hub = FakeHub::start([(BIG, big()), (OTHER, big()), (THIRD, big()), (TOY, Model::toy())]);
    hub.faults(|faults| faults.slow = Some(rate));
    hub
}

/// Orders a download. Returns it.
fn order(server: &Server, body: &Value) -> Value {
    let answer = server.post(LIST, body);
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.body
}

fn downloads(server: &Server) -> Vec<Value> {
    let answer = server.get(LIST);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["downloads"].as_array().unwrap().clone()
}

fn download(server: &Server, id: &Value) -> Value {
    downloads(server).into_iter().find(|download| download["id"] == *id).unwrap()
}

fn path(id: &Value) -> String {
    format!("{LIST}/{}", id.as_str().unwrap())
}

fn wait_for_bytes(server: &Server, id: &Value, count: u64) {
    wait_for("bytes come", Duration::from_secs(20), || {
        download(server, id)["bytes_done"].as_u64().unwrap() >= count
    });
}

fn wait_for_end(server: &Server, id: &Value) -> Value {
    let mut last = Value::Null;
    wait_for("the download ends", Duration::from_secs(60), || {
        last = download(server, id);
        last["state"] == "done" || last["state"] == "failed"
    });
    last
}

/// Asserts that the model's files on disk are the hub's.
fn assert_equal(hub: &FakeHub, user: &HubUser, model: &str) {
    let commit = fs::read_to_string(user.cached(model).join("refs/main")).unwrap();
    let snapshot = user.cached(model).join("snapshots").join(commit);
    hub.models(|models| {
        for (path, content) in &models[model].files {
            assert!(fs::read(snapshot.join(path)).unwrap() == *content.bytes, "{path} differs");
        }
    });
    assert_eq!(fs::read_dir(user.cached(model).join("blobs")).unwrap().count(), 4, "no part is left");
}

fn parts(folder: &Path) -> usize {
    let entries = fs::read_dir(folder.join("blobs")).into_iter().flatten().map(Result::unwrap);
    entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".mlxd.incomplete")).count()
}

#[test]
fn two_orders_are_one_download_and_a_higher_class_comes_first() {
    let hub = hub(500_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    assert!(downloads(&server).is_empty() && server.hubs().is_empty(), "nothing needs the process yet");
    let first = order(&server, &json!({"model": BIG}));
    assert_eq!((&first["model"], &first["revision"]), (&json!(BIG), &json!("main")));
    let again = order(&server, &json!({"model": BIG, "revision": "main"}));
    assert_eq!(again["id"], first["id"]);
    let second = order(&server, &json!({"model": OTHER, "priority": "low"}));
    let states = || {
        let all = downloads(&server);
        all.iter().map(|download| download["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(), ["running", "queued"]);
    let third = order(&server, &json!({"model": THIRD, "priority": "high"}));
    assert_eq!(states(), ["queued", "queued", "running"]);
    wait_for_bytes(&server, &third["id"], 100_000);
    let now = download(&server, &third["id"]);
    assert_eq!(now["bytes_total"], 2 * SIZE + 22 + 2);
    assert!(now["bytes_per_second"].as_u64().unwrap() > 0 && now["seconds_left"].is_u64(), "{now}");
    let raised = server.patch(&path(&second["id"]), &json!({"priority": "high"}));
    assert_eq!((raised.status, &raised.body["priority"]), (200, &json!("high")));
    assert_eq!(states(), ["queued", "running", "queued"], "the older one of a class comes first");
    assert_eq!(server.hubs().len(), 1);
    server.stop(Signal::SIGTERM);
}

#[test]
fn paused_download_stays_paused_over_a_restart_and_then_becomes_a_model_that_answers() {
    let hub = hub(2_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    let id = order(&server, &json!({"model": TOY}))["id"].clone();
    wait_for_bytes(&server, &id, 1_000_000);
    let paused = server.patch(&path(&id), &json!({"paused": true}));
    assert_eq!((paused.status, &paused.body["state"]), (200, &json!("paused")));
    server.stop(Signal::SIGTERM);
    let sent = hub.sent();
    let server = user.serve("");
    assert!(server.hubs().is_empty(), "a paused download needs no process");
    let left = download(&server, &id);
    assert!(left["state"] == "paused" && left["bytes_done"].as_u64().unwrap() >= 1_000_000, "{left}");
    assert!(!server.get("/v1/models").body.to_string().contains(TOY));
    assert_eq!(hub.sent(), sent, "nothing came meanwhile");
    hub.faults(|faults| faults.slow = None);
    let resumed = server.patch(&path(&id), &json!({"paused": false}));
    assert_eq!(resumed.body["state"], "running");
    let done = wait_for_end(&server, &id);
    assert!(done["state"] == "done" && done["bytes_done"] == done["bytes_total"], "{done}");
    wait_for("the list has the model", Duration::from_secs(10), || {
        server.get("/v1/models").body.to_string().contains(TOY)
    });
    let chat = json!({"model": TOY, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4});
    assert_eq!(server.post("/v1/chat/completions", &chat).status, 200);
    // The model stays when its download is taken off the list.
    assert_eq!(server.delete(&path(&id)).status, 200);
    assert!(downloads(&server).is_empty() && user.cached(TOY).join("refs/main").exists());
}

/// What has come is never asked for again, but for the pieces in flight.
#[test]
fn killed_hub_process_is_replaced_and_goes_on() {
    let hub = hub(2_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    let id = order(&server, &json!({"model": BIG}))["id"].clone();
    let kills = 4;
    for kill in 1..=kills {
        wait_for_bytes(&server, &id, kill * 800_000);
        let process = server.hubs().remove(0).pid;
        process::signal(process, Signal::SIGKILL);
        wait_for("another one runs", Duration::from_secs(10), || {
            server.hubs().iter().any(|other| other.pid != process)
        });
        assert!(!user.cached(BIG).join("snapshots").exists(), "a half model is visible");
    }
    assert_eq!(wait_for_end(&server, &id)["state"], "done");
    assert_equal(&hub, &user, BIG);
    let bound = 2 * SIZE as u64 + kills * 2 * (512 << 10) + 10_000 * (kills + 1);
    assert!(hub.sent() <= bound, "{} bytes went out", hub.sent());
    server.stop(Signal::SIGTERM);
}

#[test]
fn killed_server_leaves_no_hub_process_and_the_next_one_goes_on_by_itself() {
    let hub = hub(2_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    let id = order(&server, &json!({"model": BIG}))["id"].clone();
    wait_for_bytes(&server, &id, 2_000_000);
    // A gateway that is replaced changes nothing.
    process::signal(server.gateways().remove(0).pid, Signal::SIGKILL);
    wait_for_bytes(&server, &id, 3_000_000);
    let orphan = server.hubs().remove(0).pid;
    process::signal(server.pid() as i32, Signal::SIGKILL);
    wait_for("no orphan", Duration::from_secs(5), || {
        process::processes().iter().all(|process| process.pid != orphan)
    });
    drop(server);
    let sent = hub.sent();
    assert!(sent < 2 * SIZE as u64, "it was not complete: {sent}");
    let server = user.serve("");
    wait_for("the model is complete", Duration::from_secs(20), || {
        user.cached(BIG).join("refs/main").exists()
    });
    assert_equal(&hub, &user, BIG);
    assert!(hub.sent() < 2 * SIZE as u64 + (2 << 20), "{} bytes went out", hub.sent());
    assert_eq!(wait_for_end(&server, &id)["state"], "done");
    server.stop(Signal::SIGTERM);
}

/// Hub process, gateway and server die at random moments. `MLXD_KILLS=50` makes a download of 300 MB of it, `MLXD_CHAOS_SEED` other
/// moments.
#[test]
fn download_survives_kills_of_every_process_at_random_moments() {
    let (kills, mut random) = (setting("MLXD_KILLS", 3), Random(setting("MLXD_CHAOS_SEED", 7)));
    let size = 3_000_000 * kills as usize;
    let connections = (2 * size.div_ceil(32 << 20)).min(CONNECTIONS);
    // All of it takes about a second for each kill.
    let hub = FakeHub::start([(BIG, weights(size))]);
    hub.faults(|faults| faults.slow = Some((2 * size / connections) as u64 / kills));
    let user = HubUser::new(&hub);
    let mut server = user.serve("");
    order(&server, &json!({"model": BIG}));
    let mut killed = [0; 3];
    for kill in 0..kills as usize {
        random.pause(100, 600);
        let which = kill % killed.len();
        killed[which] += 1;
        match which {
            0 => server.hubs().iter().for_each(|process| process::signal(process.pid, Signal::SIGKILL)),
            1 => server.gateways().iter().for_each(|process| process::signal(process.pid, Signal::SIGKILL)),
            _ => {
                process::signal(server.pid() as i32, Signal::SIGKILL);
                drop(server);
                server = user.serve("");
            }
        }
        let is_complete = user.cached(BIG).join("refs/main").exists();
        assert!(is_complete || !user.cached(BIG).join("snapshots").exists(), "a half model is visible");
    }
    wait_for("the model is complete", Duration::from_secs(60 + 2 * kills), || {
        user.cached(BIG).join("refs/main").exists()
    });
    assert_equal(&hub, &user, BIG);
    let pieces = connections as u64 * (512 << 10);
    let bound = 2 * size as u64 + (kills + 1) * (pieces + 20_000);
    println!("{killed:?} hubs, gateways, servers killed; {} bytes of {} went out", hub.sent(), 2 * size);
    assert!(hub.sent() <= bound, "{} bytes went out, {bound} is the bound", hub.sent());
    server.stop(Signal::SIGTERM);
}

#[test]
fn cancelled_download_gives_its_room_back() {
    let hub = hub(2_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    let id = order(&server, &json!({"model": BIG}))["id"].clone();
    wait_for_bytes(&server, &id, 1_500_000);
    let kept = server.delete(&format!("{}?keep=true", path(&id)));
    assert_eq!((kept.status, &kept.body["id"]), (200, &id));
    assert!(downloads(&server).is_empty());
    assert_eq!(parts(&user.cached(BIG)), 2);
    let again = order(&server, &json!({"model": BIG}))["id"].clone();
    assert_ne!(again, id);
    wait_for_bytes(&server, &again, 1_500_000);
    assert_eq!(server.delete(&path(&again)).status, 200);
    assert!(!user.cached(BIG).exists(), "nothing of it is left");
    // A piece may still be on its way.
    std::thread::sleep(Duration::from_millis(300));
    let sent = hub.sent();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(hub.sent(), sent, "nothing comes any more");
    let unknown = server.delete(&path(&again));
    assert!(unknown.status == 404 && unknown.text("/detail").contains(LIST), "{}", unknown.body);
}

#[test]
fn failed_downloads_say_why_and_wrong_orders_are_refused_by_the_field() {
    let hub = hub(50_000_000);
    let config = json!({"model_type": "gpt2"}).to_string().into_bytes();
    let files = [("config.json", config), ("model.safetensors", bytes(500_000))];
    hub.models(|models| drop(models.insert("org/old".into(), Model::new(files))));
    let user = HubUser::new(&hub);
    let server = user.serve("");
    let id = order(&server, &json!({"model": "org/old"}))["id"].clone();
    let failed = wait_for_end(&server, &id);
    assert!(failed["error"].as_str().unwrap().contains("\"gpt2\" models are not supported"), "{failed}");
    assert!(hub.sent() < 1000, "its weights were not asked for");
    let forced = order(&server, &json!({"model": "org/old", "force": true}));
    assert_eq!(forced["id"], id);
    assert_eq!(wait_for_end(&server, &id)["state"], "done");
    let missing = order(&server, &json!({"model": "org/none"}))["id"].clone();
    assert!(wait_for_end(&server, &missing)["error"].as_str().unwrap().contains("mlxd search none"));
    for (body, param) in [
        (json!({"model": "a/b/c"}), "model"),
        (json!({"model": BIG, "revision": ".."}), "model"),
        (json!({"model": BIG, "priority": 3}), "priority"),
        (json!({"model": BIG, "prio": "high"}), "prio"),
    ] {
        let refused = server.post(LIST, &body);
        assert_eq!((refused.status, refused.text("/param")), (400, param), "{}", refused.body);
    }
    assert_eq!(server.patch(&path(&json!("nothing")), &json!({"paused": true})).status, 404);
}

#[test]
fn search_has_the_rows_of_the_command_line() {
    let hub = hub(50_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    let rows: Value = serde_json::from_str(&user.done(&["search", "toy", "--json"])).unwrap();
    assert_eq!(rows[0]["id"], TOY);
    assert_eq!(server.get("/admin/v1/hub/search?query=toy&sort=downloads&limit=5").body, rows);
    assert_eq!(server.get("/admin/v1/hub/search?limit=1").body.as_array().unwrap().len(), 1);
    assert_eq!(server.get("/admin/v1/hub/search?query=none-like-it").body, json!([]));
    for wrong in ["limit=0", "sort=size", "words=x"] {
        let refused = server.get(&format!("/admin/v1/hub/search?{wrong}"));
        assert!(refused.status == 400 && !refused.text("/detail").is_empty(), "{wrong}: {}", refused.body);
    }
    server.stop(Signal::SIGTERM);
    let user = user.with("HF_HUB_OFFLINE", "1");
    let offline = user.serve("");
    let refused = offline.get("/admin/v1/hub/search?query=toy");
    assert!(refused.status == 503 && refused.text("/detail").contains("HF_HUB_OFFLINE"), "{}", refused.body);
}

#[test]
fn progress_is_in_the_event_stream_twice_a_second_at_most() {
    let hub = hub(1_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    let id = order(&server, &json!({"model": BIG}))["id"].clone();
    let start = Instant::now();
    let events = http::listen(&server.url("/admin/v1/events"), Duration::from_secs(60)).unwrap();
    let parsed = events.filter_map(|data| serde_json::from_str::<Value>(&data).ok());
    let (mut seen, mut removed) = (Vec::new(), false);
    for event in parsed.filter(|event| event["id"] == id) {
        if event["removed"] == true {
            removed = true;
            break;
        }
        seen.push((event["state"].clone(), event["bytes_done"].as_u64().unwrap()));
        if event["bytes_done"].as_u64().unwrap() > 3_000_000 && start.elapsed() > Duration::from_secs(2) {
            server.delete(&path(&id));
        }
    }
    let (count, time) = (seen.len() as f64, start.elapsed().as_secs_f64());
    assert!(removed && count >= 3.0, "{seen:?}");
    assert!(count <= 2.0 * time + 3.0, "{count} events in {time} s");
    assert!(seen.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{seen:?}");
}

#[test]
fn limit_of_the_settings_holds_for_all_connections_together() {
    let hub = hub(50_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("download_limit = \"4MB\"\n");
    let start = Instant::now();
    let id = order(&server, &json!({"model": BIG}))["id"].clone();
    assert_eq!(wait_for_end(&server, &id)["state"], "done");
    let seconds = start.elapsed().as_secs_f64();
    assert!((2.7..20.0).contains(&seconds), "12 MB took {seconds} s");
}

#[test]
fn pull_waits_for_the_servers_download_and_says_so() {
    let hub = hub(2_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    let id = order(&server, &json!({"model": BIG}))["id"].clone();
    wait_for_bytes(&server, &id, 1_000_000);
    let pull = user.mlxd(&["pull", BIG]);
    assert!(pull.success && pull.err.contains(&format!("another program downloads {BIG}")), "{pull:?}");
    assert!(pull.err.contains("nothing had to be downloaded"), "{pull:?}");
    assert_eq!(wait_for_end(&server, &id)["state"], "done");
    // The other way round, the server's download waits, and lets others run.
    let mut pull = user.start(&["pull", OTHER]);
    wait_for("it has begun", Duration::from_secs(10), || parts(&user.cached(OTHER)) > 0);
    let waiting = order(&server, &json!({"model": OTHER}))["id"].clone();
    wait_for("it waits", Duration::from_secs(5), || {
        let note = download(&server, &waiting)["note"].clone();
        note.as_str().is_some_and(|note| note.contains("another program"))
    });
    let third = order(&server, &json!({"model": THIRD}))["id"].clone();
    wait_for_bytes(&server, &third, 100_000);
    assert!(pull.wait().unwrap().success());
    assert_eq!(wait_for_end(&server, &waiting)["state"], "done");
    assert_eq!(wait_for_end(&server, &third)["state"], "done");
}

#[test]
fn request_for_a_model_of_the_hub_begins_its_download_if_the_settings_say_so() {
    let hub = hub(8_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("auto_download = true\n");
    let chat = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4});
    let unknown = server.post("/v1/chat/completions", &chat("mlx-community/none"));
    assert!(unknown.expect_error(404).contains("mlxd pull"), "{}", unknown.body);
    assert!(downloads(&server).is_empty(), "a misspelt name leaves nothing");
    let start = Instant::now();
    let first = server.post("/v1/chat/completions", &chat(TOY));
    assert!(first.expect_error(503).contains("is being downloaded"), "{}", first.body);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let header = ureq::post(server.url("/v1/messages")).config().http_status_as_error(false).build();
    let response = header.content_type("application/json").send(chat(TOY).to_string()).unwrap();
    assert_eq!(response.status().as_u16(), 503);
    let pause: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((2..=30).contains(&pause), "{pause}");
    let ollama = server.post("/api/chat", &chat(TOY));
    assert!(ollama.status == 503 && ollama.text("/error").contains("downloaded"), "{}", ollama.body);
    let all = downloads(&server);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(wait_for_end(&server, &all[0]["id"])["state"], "done");
    assert_eq!(server.post("/v1/chat/completions", &chat(TOY)).status, 200);
    // A model that no worker supports says why, and is not tried again at once.
    let config = json!({"model_type": "gpt2"}).to_string().into_bytes();
    let files = [("config.json", config), ("model.safetensors", bytes(500_000))];
    hub.models(|models| drop(models.insert("org/old".into(), Model::new(files))));
    server.post("/v1/chat/completions", &chat("org/old"));
    wait_for("the reason is known", Duration::from_secs(10), || {
        let answer = server.post("/v1/chat/completions", &chat("org/old"));
        answer.status == 404 && answer.text("/error/message").contains("\"gpt2\" models are not supported")
    });
}

/// A client that leaves ends no download; one that comes again follows it.
#[test]
fn ollama_pulls() {
    let hub = hub(2_000_000);
    let user = HubUser::new(&hub);
    let server = user.serve("");
    scripts::run("ollama_pull.py", &[&server.url(""), TOY, "mlx-community/none"]);
    let mut lines = http::lines(&server.url("/api/pull"), &json!({"model": BIG}));
    let begun = lines.find(|line| line["completed"].as_u64() > Some(100_000)).unwrap();
    assert_eq!(begun["total"], 2 * SIZE + 22 + 2);
    drop(lines);
    let last = http::lines(&server.url("/api/pull"), &json!({"model": BIG})).last().unwrap();
    assert_eq!(last, json!({"status": "success"}));
    assert_equal(&hub, &user, BIG);
    assert_eq!(server.get(&format!("/v1/models/{BIG}")).status, 200, "it is in the list at once");
    // The server's end is a line.
    let mut lines = http::lines(&server.url("/api/pull"), &json!({"model": OTHER}));
    lines.find(|line| line["completed"].as_u64() > Some(0)).unwrap();
    let stopping = std::thread::spawn(move || server.stop(Signal::SIGTERM));
    assert!(lines.last().unwrap()["error"].as_str().unwrap().contains("goes on"));
    stopping.join().unwrap();
}
