//! Models derived from SmolLM2: its weights and tokenizer behind another chat template.

use std::path::{Path, PathBuf};

use crate::places;

/// Links SmolLM2's files into `folder` as the model `name`. Returns the model's folder.
///
/// # Panics
/// When the links cannot be made.
pub fn link(folder: &Path, name: &str) -> PathBuf {
    let (from, to) = (places::models().join(places::SMOLLM2), folder.join(name));
    std::fs::create_dir_all(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::os::unix::fs::symlink(file.path(), to.join(file.file_name())).unwrap();
    }
    to
}

/// Writes the model `name` with another chat template into `folder`. Returns the model's folder.
///
/// # Panics
/// When the files cannot be written.
pub fn write(folder: &Path, name: &str, template: &str) -> PathBuf {
    let model = link(folder, name);
    // This file takes precedence over the template in tokenizer_config.json.
    std::fs::write(model.join("chat_template.jinja"), template).unwrap();
    model
}
