//! Toy models of two kinds: folders beside the golden files, and folders made here. The weights of the latter follow from the
//! names of their tensors, so no file holds them. `xtask/scripts/goldens_families.py` makes the same weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use serde_json::{Map, Value};
use tempfile::TempDir;
use worker::quantize::{self, Job};
use worker::weights::config::{Packing, PackingMode};

/// The toys that are made.
pub(crate) const MADE: [&str; 22] = [
    "glm4",
    "granite",
    "olmo2",
    "olmo3",
    "cohere2",
    "seed_oss",
    "ernie4_5",
    "ministral3",
    "mistral3-ministral3",
    "hunyuan_v1_dense",
    "exaone4",
    "exaone4-global",
    "glm4_moe",
    "minimax_m2",
    "qwen3_5_moe",
    "qwen3_next",
    "lfm2_moe",
    "gemma4",
    "gemma4_text-experts",
    "deepseek_v2",
    "deepseek_v3",
    "glm4_moe_lite",
];

/// A folder with config.json, weights and golden.json.
#[derive(Debug)]
pub(crate) struct Toy {
    folder: PathBuf,
    /// Removed when dropped.
    _made: Option<TempDir>,
}

/// What the file of a made toy says.
#[derive(Debug, Deserialize)]
pub(crate) struct Description {
    seed: String,
    config: Value,
    /// Shapes.
    tensors: BTreeMap<String, Vec<usize>>,
    prompt: Value,
    /// Results in each form.
    pub(crate) forms: BTreeMap<String, Map<String, Value>>,
}

impl Toy {
    /// Opens or makes a toy in one of its forms, such as `glm4-4bit`.
    pub(crate) fn open(name: &str) -> Self {
        match name.rsplit_once('-').filter(|(family, _)| MADE.contains(family)) {
            Some((family, form)) => Self::make(family, form),
            None => Self { folder: goldens().join(name), _made: None },
        }
    }

    fn make(family: &str, form: &str) -> Self {
        let description = Description::read(family);
        let made = tempfile::tempdir().unwrap();
        let folder = made.path().join(form);
        match form {
            "fp32" | "bf16" => description.write(&folder, form == "bf16"),
            _ => pack(Self::make(family, "fp32").path(), &folder, form),
        }
        let mut golden = description.forms[form].clone();
        golden.insert("prompt".into(), description.prompt);
        fs::write(folder.join("golden.json"), Value::from(golden).to_string()).unwrap();
        Self { folder, _made: Some(made) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Packs as the form says: `4bit` or `8bit`.
fn pack(model: &Path, output: &Path, form: &str) {
    let bits = form.trim_end_matches("bit").parse().unwrap();
    let packing = Packing { group_size: 32, bits, mode: PackingMode::Affine };
    let job = Job { model: model.to_owned(), output: output.to_owned(), packing, replace: false };
    quantize::run(&job, &AtomicBool::new(false), &mut |_| ()).unwrap();
}

impl Description {
    pub(crate) fn read(family: &str) -> Self {
        let text = fs::read_to_string(goldens().join("families").join(format!("{family}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn write(&self, folder: &Path, half: bool) {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        let bytes = |(name, shape): (&String, &Vec<usize>)| -> Vec<u8> {
            let numbers = numbers(&self.seed, name, shape.iter().product());
            if half {
                numbers.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect()
            } else {
                numbers.flat_map(f32::to_le_bytes).collect()
            }
        };
        let data: Vec<Vec<u8>> = self.tensors.iter().map(bytes).collect();
        let dtype = if half { Dtype::BF16 } else { Dtype::F32 };
        let tensors = self.tensors.iter().zip(&data);
        let tensors = tensors
            .map(|((name, shape), bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
        safetensors::serialize_to_file(tensors, None, &folder.join("model.safetensors")).unwrap();
    }
}

/// Numbers that follow from seed and name by SplitMix64: norms near one, others between -7/16 and 7/16.
fn numbers(seed: &str, name: &str, count: usize) -> impl Iterator<Item = f32> {
    let fnv = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut state = format!("{seed}/{name}").bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    let is_norm = name.contains("norm");
    (0..count).map(move |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let centred = ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
        if is_norm { 1.0 + centred * 0.1875 } else { centred * 0.4375 }
    })
}
