//! Vision towers, and text after images: parity with Transformers. `cargo xtask goldens` makes the folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image_input::Prepared;
use ipc_proto::families;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use tempfile::TempDir;
use worker::engine::images::{PromptImage, PromptImages};
use worker::engine::runner::Runner;
use worker::mlx::MlxRunner;
use worker::models::vision;
use worker::weights::config::Config;
use worker::weights::loader::{Loader, Precision};
use worker::weights::safetensors::Shards;

use crate::driver::{Sequence, Tensor, argmax, device, distance, goldens, load, prefill, step};

const CAUSAL: [&str; 2] = ["smolvlm", "idefics3"];
/// Tokens of an image attend to each other.
const WHOLE: [&str; 2] = ["gemma3", "gemma3-window"];
/// Unordered blocks, some adjacent.
const BLOCKS: [u32; 4] = [9, 3, 4, 1];
const OTHER_BLOCKS: [u32; 4] = [2, 8, 0, 6];
/// Largest difference of features and of logits.
const FEATURES_OFF: f32 = 1e-4;
const LOGITS_OFF: f32 = 2e-3;

/// What `goldens_image_text.py` writes.
#[derive(Debug, Deserialize)]
struct Reference {
    images: Vec<Image>,
    image_token: u32,
    prompt: Vec<u32>,
    logits: Vec<f32>,
    greedy: Vec<u32>,
}

#[derive(Debug, Deserialize)]
struct Image {
    shape: Vec<usize>,
    grid: [u32; 3],
    salt: u64,
    features: Vec<f32>,
}

impl Image {
    /// Numbers from -1 to 1 that follow from the salt, as in `goldens_image_text.py`.
    fn prepared(&self, salt: u64, features: usize) -> Prepared {
        let count = self.shape.iter().product::<usize>() as u64;
        let number = |i: u64| (((i * 7919 + salt * 104_729) % 2003) as f64 / 1001.5 - 1.0) as f32;
        Prepared {
            pixels: (0..count).map(number).collect(),
            shape: self.shape.clone(),
            grid: self.grid,
            features: features as u32,
            text: String::new(),
            digest: [salt as u8; 32],
        }
    }
}

impl Reference {
    fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("reference.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The width of the language model.
    fn width(&self) -> usize {
        let tokens = self.prompt.iter().filter(|token| **token == self.image_token).count();
        self.images.iter().map(|image| image.features.len()).sum::<usize>() / tokens
    }

    /// The images with their tokens. Those of salts above the reference's are other pictures.
    fn images(&self, more_salt: u64) -> PromptImages {
        let mut tokens = (0..self.prompt.len() as u32)
            .filter(|index| self.prompt[*index as usize] == self.image_token)
            .collect::<Vec<_>>()
            .into_iter();
        let images = self.images.iter().map(|image| {
            let count = image.features.len() / self.width();
            PromptImage {
                image: Arc::new(image.prepared(image.salt + more_salt, count)),
                tokens: tokens.by_ref().take(count).collect(),
            }
        });
        PromptImages::new(images.collect())
    }

    fn sequence(&self, more_salt: u64) -> Sequence {
        Sequence::new(&self.prompt, &BLOCKS).with_images(self.images(more_salt))
    }

    /// Asserts that the logits of the prompt are the reference's, and that the text that follows is.
    fn check(&self, runner: &mut MlxRunner, mut sequence: Sequence, logits: Vec<f32>, what: &str) -> f32 {
        let off = distance(&logits, &self.logits);
        assert!(off <= LOGITS_OFF, "{what}: logits are off by {off}");
        let (mut logits, mut tokens) = (logits, Vec::new());
        while tokens.len() < self.greedy.len() {
            tokens.push(argmax(&logits));
            sequence.push(tokens[tokens.len() - 1]);
            logits = step(runner, &mut [&mut sequence], 1).remove(0);
        }
        assert_eq!(tokens, self.greedy, "{what}");
        off
    }
}

/// A copy of a toy with tensors under other names; `mlx`: the patches' filters have their channels last, as in MLX's files.
fn rewritten(name: &str, rename: fn(&str) -> String, mlx: bool) -> TempDir {
    let (from, to) = (folder(name), tempfile::tempdir().unwrap());
    fs::copy(from.join("config.json"), to.path().join("config.json")).unwrap();
    let bytes = fs::read(from.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let tensors = tensors.iter().map(|(name, tensor)| {
        let (mut shape, mut data) = (tensor.shape().to_vec(), tensor.data().to_vec());
        if mlx && name.contains("patch_embedding.weight") {
            // bfloat16, [D, 3, patch, patch] to [D, patch, patch, 3].
            let (channels, area) = (shape[1], shape[2] * shape[3]);
            let filters = tensor.data().chunks_exact(2 * channels * area);
            let at = |filter: &[u8], pixel: usize, channel: usize| {
                [0, 1].map(|byte| filter[2 * (channel * area + pixel) + byte])
            };
            let moved = filters.flat_map(|filter| {
                (0..area).flat_map(move |pixel| (0..channels).flat_map(move |c| at(filter, pixel, c)))
            });
            data = moved.collect();
            shape[1..].rotate_left(1);
        }
        (rename(name), tensor.dtype(), shape, data)
    });
    let tensors: Vec<Tensor> = tensors.collect();
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, &to.path().join("model.safetensors")).unwrap();
    to
}

fn folder(name: &str) -> PathBuf {
    goldens().join("images").join(name)
}

fn all() -> impl Iterator<Item = &'static str> {
    CAUSAL.into_iter().chain(WHOLE)
}

#[test]
fn features_are_those_of_transformers() {
    let _device = device();
    for name in all() {
        let folder = folder(name);
        let reference = Reference::read(&folder);
        let config = Config::read(&folder).unwrap();
        let mut shards = Shards::open(&folder).unwrap();
        shards.rename(|name| families::vision_tensor(name).map(vision::names::canonical));
        let mut progress = |_, _| ();
        let loader = Loader::loading(&shards, &config, Precision::Float32, &mut progress);
        let tower = vision::find(&config.model_type).unwrap()(&loader).unwrap();
        for image in &reference.images {
            let count = image.features.len() / reference.width();
            let ours = tower.encode(&image.prepared(image.salt, count)).unwrap();
            assert_eq!(ours.rows.shape(), [count as i32, reference.width() as i32], "{name}");
            assert!(ours.deep.is_empty(), "{name}");
            ours.rows.eval().unwrap();
            let off = distance(ours.rows.as_slice::<f32>(), &image.features);
            println!("{name}: features of image {} are off by {off:e}", image.salt);
            assert!(off <= FEATURES_OFF, "{name}: features are off by {off}");
        }
    }
}

#[test]
fn text_after_images_is_that_of_transformers() {
    let _device = device();
    for name in all() {
        let folder = folder(name);
        let (reference, mut runner) = (Reference::read(&folder), load(&folder, Precision::Float32));
        let mut sequence = reference.sequence(0);
        let logits = prefill(&mut runner, &mut sequence, usize::MAX);
        let off = reference.check(&mut runner, sequence, logits, name);
        println!("{name}: logits are off by {off:e}");
    }
}

/// Transformers 5 saves other names; MLX's files have another order of a convolution, and no `model.` before the parts.
#[test]
fn files_in_other_forms_give_the_same_text() {
    let _device = device();
    let newer = |name: &str| {
        let name = name.replace("vision_tower.vision_model.", "vision_tower.");
        format!("model.{}", name.replace("language_model.model.", "language_model."))
    };
    let bare = |name: &str| match name.strip_prefix("model.text_model.") {
        Some(rest) => format!("language_model.{rest}"),
        None if name == "lm_head.weight" => "language_model.lm_head.weight".to_owned(),
        None => name.strip_prefix("model.").unwrap_or(name).to_owned(),
    };
    type Rename = fn(&str) -> String;
    let forms: [(&str, Rename, bool); 4] = [
        ("gemma3", newer, false),
        ("gemma3", str::to_owned, true),
        ("smolvlm", bare, true),
        ("idefics3", bare, true),
    ];
    for (name, rename, mlx) in forms {
        let (reference, other) = (Reference::read(&folder(name)), rewritten(name, rename, mlx));
        let mut runner = load(other.path(), Precision::Float32);
        let mut sequence = reference.sequence(0);
        let logits = prefill(&mut runner, &mut sequence, usize::MAX);
        reference.check(&mut runner, sequence, logits, name);
    }
}

#[test]
fn other_pictures_give_other_logits() {
    let _device = device();
    for name in all() {
        let folder = folder(name);
        let (reference, mut runner) = (Reference::read(&folder), load(&folder, Precision::Float32));
        let logits = [0, 50].map(|salt| prefill(&mut runner, &mut reference.sequence(salt), usize::MAX));
        let off = distance(&logits[1], &reference.logits);
        println!("{name}: other pictures change logits by {off}");
        assert!(off > 10.0 * LOGITS_OFF && distance(&logits[0], &reference.logits) <= LOGITS_OFF, "{name}");
    }
}

#[test]
fn chunks_may_split_images_whose_tokens_attend_like_text() {
    let _device = device();
    for name in CAUSAL {
        let folder = folder(name);
        let (reference, mut runner) = (Reference::read(&folder), load(&folder, Precision::Float32));
        assert_eq!(runner.capacity().whole_images, None, "{name}");
        for max_tokens in [1, 2, 3, 5, 7, 39] {
            let mut sequence = reference.sequence(0);
            let logits = prefill(&mut runner, &mut sequence, max_tokens);
            reference.check(&mut runner, sequence, logits, &format!("{name} in chunks of {max_tokens}"));
        }
    }
}

#[test]
fn chunks_end_at_images_whose_tokens_attend_to_each_other() {
    let _device = device();
    for name in WHOLE {
        let folder = folder(name);
        let (reference, mut runner) = (Reference::read(&folder), load(&folder, Precision::Float32));
        assert_eq!(runner.capacity().whole_images, Some(4), "{name}");
        let is_image = |index: usize| reference.prompt.get(index) == Some(&reference.image_token);
        let borders = (1..=reference.prompt.len()).filter(|end| !(is_image(end - 1) && is_image(*end)));
        let borders: Vec<usize> = borders.collect();
        // Chunks as small as can be, chunks from border to border of the images, and some that have an image in their midst.
        let at_images =
            |end: &&usize| is_image(**end) != is_image(**end - 1) || **end == reference.prompt.len();
        let at_images = borders.iter().filter(at_images).copied().collect();
        let third = borders.iter().skip(2).step_by(3).copied().chain([reference.prompt.len()]).collect();
        for ends in [borders.clone(), at_images, third] {
            let (mut sequence, mut start, mut logits) = (reference.sequence(0), 0, Vec::new());
            for end in ends.iter().filter(|end| **end > 0) {
                if *end > start {
                    logits = step(&mut runner, &mut [&mut sequence], end - start);
                    start = *end;
                }
            }
            let logits = logits.remove(0);
            reference.check(&mut runner, sequence, logits, &format!("{name} in chunks to {ends:?}"));
        }
    }
}

#[test]
fn rows_beside_one_with_images_do_not_change() {
    let _device = device();
    for name in all() {
        let folder = folder(name);
        let (reference, mut runner) = (Reference::read(&folder), load(&folder, Precision::Float32));
        let text: Vec<u32> = (0..23).map(|i| (5 * i * i + i + 4) % 90).collect();
        let text = Sequence::new(&text, &OTHER_BLOCKS);
        let alone = prefill(&mut runner, &mut text.clone(), usize::MAX);
        for images_first in [true, false] {
            let (mut text, mut seeing) = (text.clone(), reference.sequence(0));
            let mut rows = if images_first { [&mut seeing, &mut text] } else { [&mut text, &mut seeing] };
            let mut logits = step(&mut runner, &mut rows, usize::MAX);
            if !images_first {
                logits.reverse();
            }
            let off = distance(&logits[1], &alone);
            assert!(off <= LOGITS_OFF, "{name}: text is off by {off}");
            let logits = logits.remove(0);
            reference.check(&mut runner, seeing, logits, &format!("{name} beside text"));
        }
    }
}
