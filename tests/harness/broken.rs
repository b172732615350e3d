//! Model folders that cannot be served, each in its own way.

use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use safetensors::{SafeTensors, serialize_to_file, tensor::TensorView};

use crate::places;

/// Writes a folder whose weights are a pipe that nobody writes to, as a file on a disk that sleeps.
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
    let (toy, model) = (places::models().join(places::TOY_QWEN2), folder.join(name));
    std::fs::create_dir_all(&model).unwrap();
    for file in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(toy.join(file), model.join(file)).unwrap();
    }
    let bytes = std::fs::read(toy.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut data: Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            (name.to_owned(), tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
        })
        .collect();
    let norm = data.iter_mut().find(|(name, ..)| name == "model.norm.weight").unwrap();
    // All bits set are a NaN in every float format.
    norm.3.fill(0xff);
    let views = data.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &model.join("model.safetensors")).unwrap();
}
