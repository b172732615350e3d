//! Models that see: features of the tower, logits and greedy text beside those of Transformers.
//! `xtask/scripts/goldens_vision.py` makes the toys.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image_input::Prepared;
use ipc_proto::families;
use serde::Deserialize;
use worker::engine::images::{PromptImage, PromptImages};
use worker::engine::runner::{Batch, Row, RowSampling, RowState};
use worker::kv::BLOCK_SIZE;
use worker::mlx::MlxRunner;
use worker::models::vision::{self, Features, names};
use worker::weights::config::Config;
use worker::weights::loader::{Loader, Precision};
use worker::weights::safetensors::Shards;

use crate::driver::{device, distance, goldens, load};

/// The toys. Each name begins with that of its family.
const TOYS: [&str; 10] = [
    "idefics3",
    "smolvlm",
    "qwen2_vl",
    "qwen2_vl-nested",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen3_5",
    "llava",
    "mistral3",
];

/// What Transformers computes.
#[derive(Debug, Deserialize)]
struct Reference {
    seed: u64,
    shape: Vec<usize>,
    grid: [u32; 3],
    prompt: Vec<u32>,
    image_token: u32,
    features: Vec<f32>,
    deep: Vec<Vec<f32>>,
    /// Of the last tokens of the prompt.
    logits: Vec<Vec<f32>>,
    greedy: Vec<u32>,
    leads: Vec<f32>,
}

impl Reference {
    fn read(toy: &str) -> Self {
        serde_json::from_str(&fs::read_to_string(folder(toy).join("reference.json")).unwrap()).unwrap()
    }

    /// The image, or another of the same size.
    fn image(&self, seed: u64) -> Prepared {
        Prepared {
            pixels: pixels(seed, self.shape.iter().product()),
            shape: self.shape.clone(),
            grid: self.grid,
            features: self.image_tokens().len() as u32,
            text: String::new(),
            digest: [seed as u8; 32],
        }
    }

    fn image_tokens(&self) -> Vec<u32> {
        let is_image = |(_, token): &(u32, &u32)| **token == self.image_token;
        (0..).zip(&self.prompt).filter(is_image).map(|(at, _)| at).collect()
    }

    /// The prompt with the image, or with another.
    fn text(&self, toy: &str, seed: u64, blocks: [u32; 3]) -> Text {
        let image = PromptImage { image: Arc::new(self.image(seed)), tokens: self.image_tokens().into() };
        let images = if toy.starts_with("qwen") {
            PromptImages::with_axes(vec![image])
        } else {
            PromptImages::new(vec![image])
        };
        Text { tokens: self.prompt.clone(), images, computed: 0, blocks, state: None }
    }
}

/// A text with its images and KV blocks.
#[derive(Debug, Clone)]
struct Text {
    tokens: Vec<u32>,
    images: PromptImages,
    computed: usize,
    blocks: [u32; 3],
    state: Option<u64>,
}

fn folder(toy: &str) -> PathBuf {
    goldens().join("vision").join(toy)
}

/// Numbers between -1 and 1 by SplitMix64.
fn pixels(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The tower's features of an image.
fn features(folder: &Path, image: &Prepared) -> Features {
    let config = Config::read(folder).unwrap();
    features_of(folder, vision::find(&config.model_type).unwrap(), Precision::Float32, image)
}

fn features_of(folder: &Path, build: vision::BuildTower, precision: Precision, image: &Prepared) -> Features {
    let config = Config::read(folder).unwrap();
    let mut shards = Shards::open(folder).unwrap();
    shards.rename(|name| families::vision_tensor(name).map(names::canonical));
    let mut progress = |_, _| ();
    let loader = Loader::loading(&shards, &config, precision, &mut progress);
    build(&loader).unwrap().encode(image).unwrap()
}

/// Computes up to `max_tokens` tokens of every text in one step. Returns the logits of each text's last token.
fn step(runner: &mut MlxRunner, texts: &mut [&mut Text], max_tokens: usize) -> Vec<Vec<f32>> {
    let mut batch = Batch::default();
    for text in texts.iter_mut() {
        let start = batch.tokens.len();
        let range = text.computed..text.tokens.len().min(text.computed + max_tokens);
        for position in range.clone() {
            batch.tokens.push(text.tokens[position]);
            batch.positions.push(position as u32);
            batch.axes.push(text.images.axes(position));
            let at = position as u32;
            batch.slots.push(text.blocks[position / BLOCK_SIZE as usize] * BLOCK_SIZE + at % BLOCK_SIZE);
        }
        let after = u64::from(text.blocks[0]) * 1000 + range.end as u64;
        batch.rows.push(Row {
            tokens: start..batch.tokens.len(),
            blocks: text.blocks.to_vec(),
            samples: vec![RowSampling::GREEDY],
            images: text.images.in_row(&range, start),
            state: Some(RowState { before: text.state, after, keep: true }),
            ..Row::default()
        });
        text.state = Some(after);
        text.computed = range.end;
    }
    if texts.iter().all(|text| !text.images.has_axes()) {
        batch.axes.clear();
    }
    let logits = runner.logits(&batch).unwrap();
    logits.as_slice::<f32>().chunks_exact(logits.dim(-1) as usize).map(<[f32]>::to_vec).collect()
}

/// Prefills in chunks, then decodes. Returns the logits of the prompt's last token and the greedy tokens.
fn generate(runner: &mut MlxRunner, text: &mut Text, chunk: usize, golden: &Reference) -> Vec<f32> {
    let mut logits = Vec::new();
    while text.computed < text.tokens.len() {
        logits = step(runner, &mut [text], chunk).remove(0);
    }
    let first = logits.clone();
    for (at, (token, lead)) in golden.greedy.iter().zip(&golden.leads).enumerate() {
        let best = best(&logits, golden);
        assert!(best == *token || *lead < 0.01, "token {at}: {best} for {token}, lead {lead}");
        text.tokens.push(*token);
        logits = step(runner, &mut [text], 1).remove(0);
    }
    first
}

/// The most likely token that stands for no image.
fn best(logits: &[f32], golden: &Reference) -> u32 {
    let texts = &logits[..golden.image_token as usize];
    let best = texts.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.unwrap().0 as u32
}

#[test]
fn features_match_transformers() {
    let _device = device();
    for toy in TOYS {
        let golden = Reference::read(toy);
        let Features { rows, deep } = features(&folder(toy), &golden.image(golden.seed));
        assert_eq!(rows.dim(0), golden.image_tokens().len() as i32, "{toy}");
        let off = distance(rows.as_slice::<f32>(), &golden.features);
        println!("{toy}: features are off by {off}");
        assert!(off <= 1e-4, "{toy}: features are off by {off}");
        assert_eq!(deep.len(), golden.deep.len(), "{toy}");
        for (ours, theirs) in deep.iter().zip(&golden.deep) {
            let off = distance(ours.as_slice::<f32>(), theirs);
            assert!(off <= 1e-4, "{toy}: deep features are off by {off}");
        }
    }
}

/// The weights of the toys are in bf16, which has 8 bits of precision. Features range over about ±4.
#[test]
fn features_in_native_precision_are_near() {
    let _device = device();
    for toy in TOYS {
        let golden = Reference::read(toy);
        let build = vision::find(toy.split('-').next().unwrap()).unwrap();
        let image = golden.image(golden.seed);
        let Features { rows, .. } = features_of(&folder(toy), build, Precision::Native, &image);
        assert_eq!(rows.dtype(), mlx_rs::Dtype::Bfloat16, "{toy}");
        let rows = rows.as_dtype(mlx_rs::Dtype::Float32).unwrap();
        let off = distance(rows.as_slice::<f32>(), &golden.features);
        println!("{toy} in bf16: features are off by {off}");
        assert!(off <= 0.3, "{toy}: features are off by {off}");
    }
}

#[test]
fn logits_and_greedy_text_match_transformers_in_chunks_of_any_length() {
    let _device = device();
    for toy in TOYS {
        let golden = Reference::read(toy);
        let mut runner = load(&folder(toy), Precision::Float32);
        for chunk in [usize::MAX, 1, 2, 7, 16, 23, 39] {
            let mut text = golden.text(toy, golden.seed, [5, 2, 7]);
            let logits = generate(&mut runner, &mut text, chunk, &golden);
            let off = distance(&logits, &golden.logits[golden.logits.len() - 1]);
            println!("{toy} in chunks of {chunk}: logits are off by {off}");
            assert!(off <= 2e-3, "{toy} in chunks of {chunk}: logits are off by {off}");
        }
    }
}

/// A text without images, and one with another image, share all steps.
#[test]
fn row_with_an_image_does_not_depend_on_other_rows() {
    let _device = device();
    for toy in TOYS {
        let golden = Reference::read(toy);
        let mut runner = load(&folder(toy), Precision::Float32);
        let plain = Text {
            tokens: (3..30).collect(),
            images: PromptImages::default(),
            computed: 0,
            blocks: [1, 3, 4],
            state: None,
        };
        let mut alone = plain.clone();
        let expected = step(&mut runner, &mut [&mut alone], usize::MAX).remove(0);
        let mut text = golden.text(toy, golden.seed, [5, 2, 7]);
        let mut other = golden.text(toy, golden.seed + 1, [6, 8, 9]);
        let mut beside = Text { blocks: [10, 11, 12], ..plain };
        let logits = step(&mut runner, &mut [&mut beside, &mut text, &mut other], usize::MAX);
        let off = distance(&logits[0], &expected);
        assert!(off <= 1e-4, "{toy}: the text without an image is off by {off}");
        let off = distance(&logits[1], &golden.logits[golden.logits.len() - 1]);
        assert!(off <= 2e-3, "{toy}: the text with an image is off by {off}");
        let moved = distance(&logits[1], &logits[2]);
        assert!(moved > 0.01, "{toy}: another image moves the logits by {moved} only");
        let mut own = logits[1].clone();
        for (token, lead) in golden.greedy.iter().zip(&golden.leads) {
            let next = best(&own, &golden);
            assert!(next == *token || *lead < 0.01, "{toy}: {next} for {token}, lead {lead}");
            text.tokens.push(*token);
            other.tokens.push(7);
            beside.tokens.push(9);
            own = step(&mut runner, &mut [&mut beside, &mut text, &mut other], 1).remove(1);
        }
    }
}

/// mlx-vlm's files have other names, and filters with the colours last.
#[test]
fn files_of_mlx_vlm_give_the_same_features() {
    let _device = device();
    for toy in TOYS {
        let golden = Reference::read(toy);
        let copy = converted(toy);
        let image = golden.image(golden.seed);
        let off = distance(features(copy.path(), &image).rows.as_slice::<f32>(), &golden.features);
        assert!(off <= 1e-4, "{toy}: features are off by {off}");
        let mut runner = load(copy.path(), Precision::Float32);
        let logits =
            step(&mut runner, &mut [&mut golden.text(toy, golden.seed, [5, 2, 7])], usize::MAX).remove(0);
        let off = distance(&logits, &golden.logits[golden.logits.len() - 1]);
        assert!(off <= 2e-3, "{toy}: logits are off by {off}");
    }
}

/// A copy of a toy as mlx-vlm writes it.
fn converted(toy: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(folder(toy).join("config.json"), copy.path().join("config.json")).unwrap();
    let bytes = fs::read(folder(toy).join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let all: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let (shape, data) = colours_last(tensor.shape(), tensor.data());
            (mlx_vlm_name(toy, name), shape, data)
        })
        .collect();
    let views = all.iter().map(|(name, shape, data)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, shape.clone(), data);
        (name.as_str(), view.unwrap())
    });
    safetensors::serialize_to_file(views, None, &copy.path().join("model.safetensors")).unwrap();
    copy
}

fn mlx_vlm_name(toy: &str, name: &str) -> String {
    let inner = name.strip_prefix("model.").unwrap_or(name);
    if toy.starts_with("idefics3") || toy.starts_with("smolvlm") {
        return match inner.strip_prefix("text_model.") {
            Some(rest) => format!("language_model.{rest}"),
            None if name == "lm_head.weight" => "language_model.lm_head.weight".to_owned(),
            None => inner.to_owned(),
        };
    }
    if let Some(rest) = inner.strip_prefix("visual.") {
        return format!("vision_tower.{rest}");
    }
    if let Some(rest) = name.strip_prefix("model.language_model.") {
        return format!("language_model.model.{rest}");
    }
    if name.starts_with("model.layers.") || name.starts_with("model.embed") || name.starts_with("model.norm")
    {
        return format!("language_model.{name}");
    }
    if name == "lm_head.weight" { "language_model.lm_head.weight".to_owned() } else { inner.to_owned() }
}

/// Filters `[out, colours, ..]` → `[out, .., colours]`, of numbers of two bytes; other tensors as they are.
fn colours_last(shape: &[usize], data: &[u8]) -> (Vec<usize>, Vec<u8>) {
    let [out, colours, rest @ ..] = shape else { return (shape.to_vec(), data.to_vec()) };
    if rest.len() < 2 {
        return (shape.to_vec(), data.to_vec());
    }
    let inner: usize = rest.iter().product();
    let mut moved = Vec::with_capacity(data.len());
    for filter in 0..*out {
        for at in 0..inner {
            for colour in 0..*colours {
                let from = 2 * ((filter * colours + colour) * inner + at);
                moved.extend(&data[from..from + 2]);
            }
        }
    }
    ([&[*out], rest, &[*colours]].concat(), moved)
}
