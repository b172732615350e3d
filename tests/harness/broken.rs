//! Model folders that cannot be served, each in its own way.

use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use safetensors::{SafeTensors, serialize_to_file, tensor::TensorView};

use crate::places;

/// Writes a folder whose weights are a pipe without a writer, as a file on a disk that sleeps.
///
/// # Panics
/// When the files cannot be made.
pub fn hanging(folder: &Path, name: &str) {
    let model = folder.join(name);
    std::fs::create_dir_all(&model).unwrap();
    let toy = places::models().join(places::TOY_QWEN2);
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(toy.join(file), model.join(file)).unwrap();
    }
    mkfifo(&model.join("model.safetensors"), Mode::from_bits_truncate(0o600)).unwrap();
}

/// Writes a toy model whose last norm is not a number, so that no logit is.
///
/// # Panics
/// When the files cannot be made.
pub fn without_numbers(folder: &Path, name: &str) {
    let model = folder.join(name);
    std::fs::create_dir_all(&model).unwrap();
    let toy = places::models().join(places::TOY_QWEN2);
    for file in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(toy.join(file), model.join(file)).unwrap();
    }
    break_tensor(&toy, &model, "model.norm.weight");
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
    break_tensor(&from, &model, "encoder.layer.0.output.LayerNorm.weight");
}

/// Copies the weights in `from` to `model`, with one tensor that holds no numbers.
fn break_tensor(from: &Path, model: &Path, tensor: &str) {
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut data: Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            (name.to_owned(), tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
        })
        .collect();
    let broken = data.iter_mut().find(|(name, ..)| name.ends_with(tensor)).unwrap();
    // All bits set are a NaN in every float format.
    broken.3.fill(0xff);
    let views = data.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &model.join("model.safetensors")).unwrap();
}
