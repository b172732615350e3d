//! `mlxd pull`, `search`, `ls`, `rm` and `run` with a hub over HTTP, and the cache as huggingface_hub sees it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::Server;
use e2e::fake_hub::{FakeHub, Model, TOKEN, bytes};
use e2e::hub_user::HubUser;
use e2e::process::wait_for;
use serde_json::{Value, json};

const SMALL: &str = "mlx-community/small";
const GATED: &str = "mlx-community/gated";
const TOY: &str = "mlx-community/toy-qwen2";

/// A model that no worker would load: its weights are noise.
fn small() -> Model {
    Model::new([
        ("config.json", json!({"model_type": "llama", "hidden_size": 64}).to_string().into_bytes()),
        ("tokenizer.json", b"{}".repeat(5000)),
        ("README.md", b"---\nlicense: mit\n---\n".to_vec()),
        ("model-00001-of-00002.safetensors", bytes(3_000_000)),
        ("model-00002-of-00002.safetensors", bytes(1_000_001)),
        ("1_Pooling/config.json", b"{}".to_vec()),
        ("pytorch_model.bin", bytes(100)),
        ("onnx/config.json", b"{}".to_vec()),
    ])
}

fn gated() -> Model {
    Model { gated: true, ..small() }
}

fn hub() -> FakeHub {
    FakeHub::start([(SMALL, small()), (GATED, gated()), (TOY, Model::toy())])
}

/// The files below a folder as a program reads them.
fn read_all(folder: &Path) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            let below =
                read_all(&entry.path()).into_iter().map(|(path, size)| (format!("{name}/{path}"), size));
            all.extend(below);
        } else {
            all.push((name, fs::read(entry.path()).unwrap().len()));
        }
    }
    all.sort();
    all
}

#[test]
fn hub_is_faithful_to_huggingface_hub() {
    let hub = hub();
    HubUser::new(&hub).with("HF_HUB_DISABLE_XET", "1").python("hub_client.py", &["all", SMALL, GATED, TOKEN]);
}

#[test]
fn pulled_model_is_huggingface_hubs() {
    let hub = hub();
    let user = HubUser::new(&hub);
    let done = user.pull(&["--force", SMALL]);
    let folder = done["folder"].as_str().unwrap();
    let expected = [
        ("1_Pooling/config.json", 2),
        ("config.json", 39),
        ("model-00001-of-00002.safetensors", 3_000_000),
        ("model-00002-of-00002.safetensors", 1_000_001),
        ("tokenizer.json", 10_000),
    ];
    assert_eq!(read_all(Path::new(folder)), expected.map(|(path, size)| (path.to_owned(), size)));
    // The client finds the snapshot without a hub, downloads nothing again, and its scan has no complaint.
    let sent = hub.sent();
    user.python("hub_client.py", &["read", SMALL, folder]);
    assert_eq!(hub.sent(), sent);
    assert_eq!(user.pull(&["--force", SMALL])["received"], 0);
    assert_eq!(hub.sent(), sent);
}

#[test]
fn model_of_huggingface_hub_needs_no_download() {
    let hub = hub();
    let user = HubUser::new(&hub).with("HF_HUB_DISABLE_XET", "1");
    user.python("hub_client.py", &["download", TOY]);
    assert_eq!(user.listed(), [TOY]);
    let sent = hub.sent();
    assert_eq!(user.pull(&[TOY])["received"], 0);
    // The check of the family reads config.json.
    assert!(hub.sent() - sent < 2000);
}

#[test]
fn token_goes_to_the_hub_only_and_opens_a_gated_model() {
    let hub = hub();
    let user = HubUser::new(&hub);
    let sentence = user.refused(&["pull", GATED]);
    assert!(sentence.contains("is gated: open http") && sentence.contains("HF_TOKEN"), "{sentence}");
    let wrong = HubUser::new(&hub).with("HF_TOKEN", "hf_of_another_account");
    let sentence = wrong.refused(&["pull", GATED]);
    assert!(sentence.contains("accept its conditions, then pull again"), "{sentence}");
    let user = HubUser::new(&hub).with("HF_TOKEN", TOKEN);
    assert_eq!(user.pull(&["--force", GATED])["files"], 5);
    let requests = hub.requests();
    let (foreign, own): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.host.starts_with("localhost"));
    assert!(
        !foreign.is_empty() && foreign.iter().all(|request| request.authorization.is_none()),
        "{foreign:?}"
    );
    assert!(own.iter().any(|request| request.authorization.as_deref() == Some(&format!("Bearer {TOKEN}"))));
}

#[test]
fn unknown_models_revisions_and_names_are_refused_with_the_next_step() {
    let hub = hub();
    let user = HubUser::new(&hub);
    for (name, expected) in [
        ("mlx-community/none", "mlxd search none"),
        (&format!("{SMALL}@nothing"), "no revision \"nothing\""),
        ("a/b/c", "organisation/name"),
    ] {
        let sentence = user.refused(&["pull", name]);
        assert!(sentence.contains(expected), "{name}: {sentence}");
    }
}

#[test]
fn model_that_is_not_served_is_refused_before_its_weights_come() {
    let hub = hub();
    let config = json!({"model_type": "gpt2"}).to_string().into_bytes();
    let files = [("config.json", config), ("model.safetensors", bytes(500_000))];
    hub.models(|models| drop(models.insert("org/old".into(), Model::new(files))));
    let gguf = [("README.md", Vec::new()), ("model.gguf", bytes(9))];
    hub.models(|models| drop(models.insert("org/other".into(), Model::new(gguf))));
    let user = HubUser::new(&hub);
    let sentence = user.refused(&["pull", "org/old"]);
    assert!(
        sentence.contains("\"gpt2\" models are not supported") && sentence.contains("--force"),
        "{sentence}"
    );
    assert!(hub.sent() < 1000);
    assert_eq!(user.pull(&["--force", "org/old"])["files"], 2);
    let sentence = user.refused(&["pull", "org/other"]);
    assert!(sentence.contains("no weights in safetensors (but .gguf)"), "{sentence}");
}

#[test]
fn search_says_what_is_served_here() {
    let hub = hub();
    let config = json!({"model_type": "gpt2"}).to_string().into_bytes();
    hub.models(|models| drop(models.insert("org/small-gpt2".into(), Model::new([("config.json", config)]))));
    let user = HubUser::new(&hub);
    let found: Value = serde_json::from_str(&user.done(&["search", "small", "--json"])).unwrap();
    let verdicts: Vec<_> =
        found.as_array().unwrap().iter().map(|model| (&model["id"], &model["verdict"])).collect();
    assert_eq!(verdicts, [(&json!(SMALL), &json!("fits")), (&json!("org/small-gpt2"), &json!("not_served"))]);
    assert_eq!(found[0]["weight_bytes"], 3_000_000);
    let table = user.done(&["search", "small"]);
    assert!(table.contains("\"gpt2\" models are not supported") && table.contains("3.0 MB"), "{table}");
    let none: Value = serde_json::from_str(&user.done(&["search", "nothing-like-it", "--json"])).unwrap();
    assert_eq!(none, json!([]));
    // The headers of real weights give the memory that the server then grants.
    let exact: Value = serde_json::from_str(&user.done(&["search", "toy", "--exact", "--json"])).unwrap();
    user.pull(&[TOY]);
    let listed: Value = serde_json::from_str(&user.done(&["ls", "--json"])).unwrap();
    assert_eq!(exact[0]["memory_bytes"], listed[0]["memory_bytes"]);
    // One model a page.
    let limited = user.done(&["search", "--limit", "1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&limited).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn offline_there_is_what_is_on_disk_and_a_clear_word_for_the_rest() {
    let hub = hub();
    let user = HubUser::new(&hub);
    user.pull(&[TOY]);
    let before = hub.requests().len();
    let user = user.with("HF_HUB_OFFLINE", "1");
    assert_eq!(user.pull(&[TOY])["received"], 0);
    assert_eq!(user.listed(), [TOY]);
    for arguments in [["pull", SMALL], ["search", "small"]] {
        let sentence = user.refused(&arguments);
        assert!(sentence.contains("HF_HUB_OFFLINE") && sentence.contains("mlxd ls"), "{sentence}");
    }
    assert_eq!(hub.requests().len(), before);
}

#[test]
fn removed_model_is_gone_with_its_parts_and_only_after_a_yes() {
    let hub = hub();
    let user = HubUser::new(&hub);
    user.pull(&[TOY]);
    let sentence = user.refused(&["rm", TOY]);
    assert!(sentence.contains("nothing is removed") && sentence.contains("--yes"), "{sentence}");
    assert_eq!(user.listed(), [TOY]);
    let ended = user.mlxd(&["rm", "--yes", TOY]);
    assert!(
        ended.success && ended.err.contains("25.") && ended.err.contains("MB are free again"),
        "{ended:?}"
    );
    assert!(!user.cached(TOY).exists());
    assert_eq!(user.listed(), Vec::<String>::new());
    assert!(user.refused(&["rm", "--yes", TOY]).contains("mlxd ls"));
}

/// The whole way of a new user: a request names the command, the command downloads, the server answers.
#[test]
fn request_for_a_missing_model_names_the_command_and_the_model_then_answers() {
    let hub = hub();
    let user = HubUser::new(&hub);
    let cache = user.hugging_face();
    let server = Server::builder().env("HF_HOME", cache.to_str().unwrap()).start();
    let chat = json!({"model": TOY, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4});
    let openai = server.post("/v1/chat/completions", &chat);
    assert!(openai.expect_error(404).contains(&format!("mlxd pull {TOY}")), "{}", openai.body);
    let anthropic = server.post("/v1/messages", &chat);
    assert!(
        anthropic.status == 404 && anthropic.text("/error/message").contains("mlxd pull"),
        "{anthropic:?}"
    );
    let ollama = server.post("/api/chat", &chat);
    assert!(ollama.status == 404 && ollama.text("/error").contains("mlxd pull"), "{ollama:?}");
    hub.faults(|faults| faults.slow = Some(8_000_000));
    let mut pull = user.start(&["pull", TOY]);
    let mut half = 0;
    while pull.try_wait().unwrap().is_none() {
        half += usize::from(hub.sent() > 1_000_000);
        let models = server.get("/v1/models").body.to_string();
        assert!(!models.contains(TOY) || user.cached(TOY).join("refs/main").exists(), "{models}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(half > 3, "the download was seen when it was half done");
    wait_for("the model is served", Duration::from_secs(5), || {
        server.get("/v1/models").body.to_string().contains(TOY)
    });
    let answer = server.post("/v1/chat/completions", &chat);
    assert_eq!(answer.status, 200, "{}", answer.body);
    server.mlxd(&["stop"]);
}

#[test]
fn run_starts_a_server_and_answers() {
    let hub = hub();
    let user = HubUser::new(&hub);
    fs::create_dir(user.home().join("mlxd")).unwrap();
    fs::write(user.home().join("mlxd/config.toml"), "port = 0\n").unwrap();
    user.pull(&[TOY]);
    let first = user.mlxd(&["run", "--max-tokens", "5", "--temperature", "0", TOY, "Say", "hi"]);
    assert!(first.success && first.err.contains("no server ran: one is started"), "{first:?}");
    assert!(!first.out.trim().is_empty(), "{first:?}");
    let second = user.mlxd(&["run", "--max-tokens", "5", "--temperature", "0", TOY, "Say hi"]);
    assert!(second.success && second.err.is_empty() && second.out == first.out, "{second:?}");
    let json: Value =
        serde_json::from_str(&user.done(&["run", "--json", "--max-tokens", "5", TOY, "Say hi"])).unwrap();
    assert_eq!(json["usage"]["completion_tokens"], 5);
    let unknown = user.refused(&["run", SMALL, "hi"]);
    assert!(unknown.contains(&format!("mlxd pull {SMALL}")), "{unknown}");
    assert!(user.refused(&["run", TOY]).contains("no prompt"));
    bench_measures_the_running_server(&user);
    user.done(&["stop"]);
}

fn bench_measures_the_running_server(user: &HubUser) {
    let bench = ["bench", TOY, "--contexts", "64,1000000", "--streams", "1,2", "--tokens", "4"];
    let report: Value = serde_json::from_str(&user.done(&[&bench[..], &["--json"]].concat())).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "the long prompt does not fit: {report}");
    for row in rows {
        let number = |name: &str| row[name].as_f64().unwrap();
        assert!(number("ttft_ms") > 0.0 && number("all_per_second") > 0.0, "{row}");
        assert!(number("footprint_bytes") > 1e6 && number("prompt_tokens") > 16.0, "{row}");
    }
    let file = fs::read_dir(user.home().join("mlxd/bench")).unwrap().next().unwrap().unwrap().path();
    let table = user.done(&[&bench[..], &["--compare", file.to_str().unwrap()]].concat());
    assert!(table.contains("PREFILL") && table.contains("in brackets: change since"), "{table}");
}
