//! `mlxd ls` with hundreds of models: how long it takes.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

const MODELS: usize = 500;
const LAYERS: usize = 28;
/// Lists after the first one.
const ROUNDS: usize = 9;
/// Ten times what a quiet machine takes, which `docs/src/performance.md` has.
const LIMIT: Duration = Duration::from_millis(500);
/// The tensors of a layer. Each is a packed matrix with scales and biases.
const MATRICES: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// The files of a 4-bit model with as many tensors as one of 0.6 billion weights. The weights themselves are a hole in the file.
struct Toy {
    config: String,
    tokenizer_config: String,
    header: Vec<u8>,
    weights: u64,
}

impl Toy {
    fn new() -> Self {
        let mut tensors = Vec::new();
        let mut weights = 0;
        let mut push = |name: String, kind: &str, shape: [u64; 2], bytes: u64| {
            let end = weights + bytes;
            tensors.push(format!(
                r#""{name}":{{"dtype":"{kind}","shape":[{},{}],"data_offsets":[{weights},{end}]}}"#,
                shape[0], shape[1]
            ));
            weights = end;
        };
        for layer in 0..LAYERS {
            for matrix in MATRICES {
                let name = format!("model.layers.{layer}.{matrix}");
                push(format!("{name}.weight"), "U32", [16, 128], 16 * 128 * 4);
                push(format!("{name}.scales"), "BF16", [16, 16], 16 * 16 * 2);
                push(format!("{name}.biases"), "BF16", [16, 16], 16 * 16 * 2);
            }
        }
        let text = format!("{{{}}}", tensors.join(","));
        let header = [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        let config = format!(
            r#"{{"model_type": "qwen3", "num_hidden_layers": {LAYERS}, "num_attention_heads": 16, "num_key_value_heads": 8,
            "head_dim": 128, "hidden_size": 1024, "intermediate_size": 3072, "vocab_size": 151936,
            "max_position_embeddings": 40960, "quantization": {{"group_size": 64, "bits": 4}}}}"#
        );
        let turn = "{%- if message.role == 'user' %}{{ message.content }}{%- endif %}\\n".repeat(60);
        let template = format!("{{%- for message in messages %}}{turn}{{%- endfor %}}");
        let tokenizer_config = format!(r#"{{"eos_token": "<|im_end|>", "chat_template": "{template}"}}"#);
        Self { config, tokenizer_config, header, weights }
    }

    /// Writes the files as if they had been there for an hour.
    fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let files: [(&str, &[u8], u64); 4] = [
            ("config.json", self.config.as_bytes(), 0),
            ("tokenizer_config.json", self.tokenizer_config.as_bytes(), 0),
            ("tokenizer.json", b"{}", 0),
            ("model.safetensors", &self.header, self.weights),
        ];
        for (name, content, hole) in files {
            fs::write(folder.join(name), content).unwrap();
            let file = File::options().append(true).open(folder.join(name)).unwrap();
            file.set_len(content.len() as u64 + hole).unwrap();
            file.set_modified(hour_ago).unwrap();
        }
    }
}

#[test]
fn hundreds_of_models_are_listed_at_once() {
    let home = tempfile::tempdir().unwrap();
    let toy = Toy::new();
    for number in 0..MODELS {
        toy.write(&home.path().join(format!(".mlxd/models/org/toy-{number:03}")));
    }
    let list = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlxd"));
        command.env_clear().env("HOME", home.path()).env("MLXD_MEMORY", "8GiB").arg("ls");
        let start = Instant::now();
        let output = command.output().unwrap();
        let time = start.elapsed();
        assert!(output.status.success(), "{output:?}");
        (time, String::from_utf8(output.stdout).unwrap())
    };
    let (first, text) = list();
    let served = text.lines().filter(|line| line.starts_with("org/toy-") && line.ends_with("yes")).count();
    assert_eq!(served, MODELS, "{text}");
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let (time, again) = list();
            assert!(again == text, "a list from summaries differs");
            time
        })
        .collect();
    times.sort();
    let median = times[ROUNDS / 2];
    eprintln!(
        "mlxd ls of {MODELS} models: {first:?} at first, then {median:?} ({:?} to {:?})",
        times[0],
        times[ROUNDS - 1]
    );
    assert!(median < LIMIT, "{median:?}");
}
