//! Models derived from SmolLM2: its first layers and tokenizer with another chat template or configuration.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::places;

/// Links the shallow SmolLM2's files into `folder` as the model `name`. Returns the model's folder.
///
/// # Panics
/// When the links cannot be made.
pub fn link(folder: &Path, name: &str) -> PathBuf {
    link_to(places::SHALLOW, folder, name)
}

fn link_to(of: &str, folder: &Path, name: &str) -> PathBuf {
    let (from, to) = (places::models().join(of), folder.join(name));
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
    with_template(link(folder, name), template)
}

/// As [`write()`], with all layers of SmolLM2: it imitates what it reads.
///
/// # Panics
/// When the files cannot be written.
pub fn write_whole(folder: &Path, name: &str, template: &str) -> PathBuf {
    with_template(link_to(places::SMOLLM2, folder, name), template)
}

fn with_template(model: PathBuf, template: &str) -> PathBuf {
    // This file takes precedence over the template in tokenizer_config.json.
    std::fs::write(model.join("chat_template.jinja"), template).unwrap();
    model
}

/// Links the shallow SmolLM2 as the model `name` with these values in its config.json. Returns the model's folder.
///
/// # Panics
/// When the files cannot be written.
pub fn with_config(folder: &Path, name: &str, changes: &Value) -> PathBuf {
    let model = link(folder, name);
    let path = model.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, config.to_string()).unwrap();
    model
}
