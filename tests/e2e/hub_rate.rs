//! Figures of downloads and lists: measured, printed (`--nocapture`) and held to loose bounds, since other processes may use the
//! machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use e2e::fake_hub::{FakeHub, Model, bytes};
use e2e::hub_user::HubUser;
use e2e::{figures, places};
use serde_json::json;

const BIG: &str = "mlx-community/big";
const MODELS: usize = 500;

/// Wall and processor time of a command, in seconds.
fn measure(command: &Command) -> (f64, f64) {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "\"$0\" \"$@\" >/dev/null 2>&1 && times"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let start = Instant::now();
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let wall = start.elapsed().as_secs_f64();
    assert!(output.status.success(), "{command:?}");
    // The last line is that of the children: user and system time, such as 0m1.250s.
    let text = String::from_utf8(output.stdout).unwrap();
    let seconds = |time: &str| {
        let (minutes, rest) = time.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + rest.parse::<f64>().unwrap()
    };
    (wall, text.lines().last().unwrap().split_whitespace().map(seconds).sum())
}

/// The same model over loopback: by huggingface_hub without its own protocol for chunks, which the hub of the tests has not, and by
/// mlxd. What Python needs to start and import is measured by a model of a few bytes and taken off.
#[test]
fn download_is_as_fast_as_huggingface_hubs_and_takes_less_processor_time() {
    let size = 150_000_000;
    let config = json!({"model_type": "llama"}).to_string().into_bytes();
    let tiny = Model::new([("config.json", config.clone()), ("model.safetensors", vec![1])]);
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut big = Model::new([("config.json", config), (names[0], bytes(size))]);
    big.files.extend([(names[1].to_owned(), e2e::fake_hub::Content::new(bytes(size + 1)))]);
    let hub = FakeHub::start([(BIG, big), ("mlx-community/tiny", tiny)]);
    let script = places::repository().join("tests/sdk/hub_client.py");
    let (mut own, mut theirs) = ([f64::MAX; 2], [f64::MAX; 2]);
    for _ in 0..3 {
        let user = HubUser::new(&hub).with("HF_HUB_DISABLE_XET", "1").with("PYTHONDONTWRITEBYTECODE", "1");
        let python = |model: &str| {
            let mut command = user.command(&places::python());
            command.arg(&script).args(["download", model]);
            measure(&command)
        };
        let (start, big) = (python("mlx-community/tiny"), python(BIG));
        theirs = [theirs[0].min(big.0 - start.0), theirs[1].min(big.1 - start.1)];
        let user = HubUser::new(&hub);
        let mut command = user.command(&places::binary("mlxd"));
        command.args(["pull", BIG]);
        let big = measure(&command);
        own = [own[0].min(big.0), own[1].min(big.1)];
    }
    figures::print("pull_300mb_s", own[0]);
    figures::print("pull_300mb_cpu_s", own[1]);
    figures::print("huggingface_hub_300mb_s", theirs[0]);
    figures::print("huggingface_hub_300mb_cpu_s", theirs[1]);
    assert!(own[1] < theirs[1], "{own:?} {theirs:?}");
}

/// A folder that looks like a small model.
fn write_model(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let config = json!({
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 128,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
    fs::write(folder.join("tokenizer_config.json"), json!({"chat_template": template}).to_string()).unwrap();
    let tensors: serde_json::Map<_, _> = (0..200u64)
        .map(|n| {
            let entry = json!({"dtype": "BF16", "shape": [1, 1], "data_offsets": [n * 2, n * 2 + 2]});
            (format!("model.layers.{n}.mlp.up_proj.weight"), entry)
        })
        .collect();
    let header = serde_json::Value::Object(tensors).to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 400]].concat();
    fs::write(folder.join("model.safetensors"), file).unwrap();
}

#[test]
fn list_of_hundreds_of_models_is_quick() {
    let hub = FakeHub::start([]);
    let user = HubUser::new(&hub);
    for number in 0..MODELS {
        write_model(&user.home().join(format!("mlxd/models/org/model-{number}")));
    }
    assert_eq!(user.listed().len(), MODELS);
    let list = || {
        let start = Instant::now();
        user.done(&["ls"]);
        start.elapsed().as_secs_f64() * 1e3
    };
    let best = (0..7).map(|_| list()).fold(f64::MAX, f64::min);
    figures::print("ls_500_models_ms", best);
    assert!(best < 500.0, "{best} ms");
}
