//! Model folders that cannot be served, each in its own way.

use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use safetensors::{SafeTensors, serialize_to_file, tensor::TensorView};

use crate::places;

/// Writes a folder whose weights are a pipe without a writer, as a file on a disk that sleeps.
///
/// # Panics
/// When the files cannot be made.
pub fn hanging(folder: &Path, name: &str) {
    let (_, model) = copy_toy(folder, name);
    mkfifo(&model.join("model.safetensors"), Mode::from_bits_truncate(0o600)).unwrap();
}

/// Writes a toy model whose last norm is not a number, so that no logit is.
///
/// # Panics
/// When the files cannot be made.
pub fn without_numbers(folder: &Path, name: &str) {
    write_toy(folder, name, fill_with_nan);
}

/// Writes a toy model whose last norm leaves one infinite value, so that each logit is infinite and none is a NaN.
///
/// # Panics
/// When the files cannot be made.
pub fn with_infinite_logits(folder: &Path, name: &str) {
    write_toy(folder, name, |norm| {
        norm.fill(0);
        // Infinity as a bfloat16.
        norm[..2].copy_from_slice(&0x7f80_u16.to_le_bytes());
    });
}

fn write_toy(folder: &Path, name: &str, change_norm: impl FnOnce(&mut [u8])) {
    let (toy, model) = copy_toy(folder, name);
    change_tensor(&toy, &model, "model.norm.weight", change_norm);
}

/// Copies all files of the toy but its weights. Returns the toy's folder and the copy.
fn copy_toy(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let model = folder.join(name);
    std::fs::create_dir_all(&model).unwrap();
    let toy = places::models().join(places::TOY_QWEN2);
    for file in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(toy.join(file), model.join(file)).unwrap();
    }
    (toy, model)
}

/// Writes MiniLM with a norm that is not a number, so that no vector has numbers.
///
/// # Panics
/// When the files cannot be made.
pub fn encoder_without_numbers(folder: &Path, name: &str) {
    let (from, model) = (places::models().join(places::MINILM), folder.join(name));
    std::fs::create_dir_all(&model).unwrap();
    for file in std::fs::read_dir(&from).unwrap().map(Result::unwrap) {
        if file.file_name() != "model.safetensors" {
            std::os::unix::fs::symlink(file.path(), model.join(file.file_name())).unwrap();
        }
    }
    change_tensor(&from, &model, "encoder.layer.0.output.LayerNorm.weight", fill_with_nan);
}

/// All bits set are a NaN in every float format.
fn fill_with_nan(bytes: &mut [u8]) {
    bytes.fill(0xff);
}

/// Copies the weights in `from` to `model` with other bytes in one tensor.
fn change_tensor(from: &Path, model: &Path, tensor: &str, change: impl FnOnce(&mut [u8])) {
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut data: Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            (name.to_owned(), tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
        })
        .collect();
    let broken = data.iter_mut().find(|(name, ..)| name.ends_with(tensor)).unwrap();
    change(&mut broken.3);
    let views = data.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &model.join("model.safetensors")).unwrap();
}
