//! Maps safetensors files and finds tensors in them, without trusting their headers.
//!
//! Format: <https://huggingface.co/docs/safetensors>. The `safetensors` crate checks the header against the file
//! (offsets in range and without gaps, sizes that match shapes). This module adds shards and error messages.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use memmap2::Mmap;
pub use safetensors::Dtype;
use safetensors::SafeTensors;
use serde::Deserialize;

use super::LoadError;

/// The weight files of one model, mapped.
pub struct Shards {
    files: Vec<(PathBuf, Mmap)>,
    tensors: BTreeMap<String, Entry>,
}

/// Location and type of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    file: usize,
    start: usize,
    end: usize,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

impl Shards {
    /// Maps the weight files of `folder`: `model.safetensors`, or the shards in the index.
    ///
    /// # Errors
    /// If files are missing, cut off or contradict their headers, or a tensor is not in the shard that the index names.
    pub fn open(folder: &Path) -> Result<Self, LoadError> {
        let index = folder.join(INDEX);
        if !index.exists() {
            return Self::single(folder.join(SINGLE));
        }
        let mut shards = Self { files: Vec::new(), tensors: BTreeMap::new() };
        let text =
            std::fs::read_to_string(&index).map_err(|cause| LoadError::Io { path: index.clone(), cause })?;
        let problem = |problem: String| LoadError::File { path: index.clone(), problem };
        let weight_map = serde_json::from_str::<Index>(&text).map_err(|e| problem(e.to_string()))?.weight_map;
        let mut names: Vec<&String> = weight_map.values().collect();
        names.sort();
        names.dedup();
        for name in names {
            if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(problem(format!("shard \"{name}\" lies outside the folder")));
            }
            shards.map(folder.join(name))?;
        }
        let missing: Vec<_> = weight_map.keys().filter(|name| !shards.tensors.contains_key(*name)).collect();
        if let Some(name) = missing.first() {
            return Err(problem(format!("{name} is in none of the shards ({} such tensors)", missing.len())));
        }
        Ok(shards)
    }

    /// Maps one file.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn single(path: PathBuf) -> Result<Self, LoadError> {
        let mut shards = Self { files: Vec::new(), tensors: BTreeMap::new() };
        shards.map(path)?;
        Ok(shards)
    }

    fn map(&mut self, path: PathBuf) -> Result<(), LoadError> {
        let opened = File::open(&path).and_then(|file| super::mapping::map(&file));
        let data = opened.map_err(|cause| LoadError::Io { path: path.clone(), cause })?;
        let file = self.files.len();
        let problem = |problem: String| LoadError::File { path: path.clone(), problem };
        let (header, meta) = SafeTensors::read_metadata(&data)
            .map_err(|e| problem(format!("is no whole safetensors file: {e}")))?;
        let base = header + size_of::<u64>();
        for (name, info) in meta.tensors() {
            let (start, end) = info.data_offsets;
            let (Some(start), Some(end)) = (base.checked_add(start), base.checked_add(end)) else {
                return Err(problem(format!("{name}: offsets out of range")));
            };
            if start > end || end > data.len() {
                let text = format!("is cut off: {name} ends at byte {end}, the file at {}", data.len());
                return Err(problem(text));
            }
            let entry = Entry { file, start, end, dtype: info.dtype, shape: info.shape.clone() };
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(problem(format!("{name} is also in another shard")));
            }
        }
        self.files.push((path, data));
        Ok(())
    }

    /// Adds `prefix` to every name.
    pub fn add_prefix(&mut self, prefix: &str) {
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        self.tensors = tensors.map(|(name, entry)| (format!("{prefix}{name}"), entry)).collect();
    }

    /// Renames tensors, and drops those for which `new_name` returns `None`.
    pub fn rename(&mut self, new_name: impl Fn(&str) -> Option<String>) {
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        self.tensors = tensors.filter_map(|(name, entry)| Some((new_name(&name)?, entry))).collect();
    }

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.tensors.get(name)
    }

    /// The bytes of a tensor, little-endian.
    pub fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.files[entry.file].1[entry.start..entry.end]
    }

    /// Releases the memory that reading a tensor used. It can be read again.
    pub fn release(&self, entry: &Entry) {
        super::mapping::release(&self.files[entry.file].1, entry.start..entry.end);
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Total size of all tensors in bytes, from the headers.
    pub fn total_bytes(&self) -> u64 {
        self.tensors.values().map(|entry| (entry.end - entry.start) as u64).sum()
    }
}

#[cfg(test)]
mod tests;
