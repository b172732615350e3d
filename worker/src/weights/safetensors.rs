//! Maps safetensors files and finds tensors in them, without trusting their headers.
//!
//! Format: <https://huggingface.co/docs/safetensors>. The `safetensors` crate checks the header against the file
//! (offsets in range and without gaps, sizes that match shapes); this file adds shards and names what is wrong.

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

/// Where a tensor lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    file: usize,
    start: usize,
    end: usize,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

impl Shards {
    /// Maps the weight files of `folder`: `model.safetensors`, or the shards that the index names.
    ///
    /// # Errors
    /// When files are missing, cut off, contradict their headers, or a tensor is not where the index says.
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
        let lost: Vec<_> = weight_map.keys().filter(|name| !shards.tensors.contains_key(*name)).collect();
        match lost.first() {
            Some(name) => {
                Err(problem(format!("{name} is in none of the shards ({} such tensors)", lost.len())))
            }
            None => Ok(shards),
        }
    }

    /// Maps one file.
    ///
    /// # Errors
    /// As [`Self::open`].
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

    /// Puts `prefix` before every name.
    pub fn put_under(&mut self, prefix: &str) {
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        self.tensors = tensors.map(|(name, entry)| (format!("{prefix}{name}"), entry)).collect();
    }

    /// Gives tensors other names, and forgets those that get none.
    pub fn rename(&mut self, name_of: impl Fn(&str) -> Option<String>) {
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        self.tensors = tensors.filter_map(|(name, entry)| Some((name_of(&name)?, entry))).collect();
    }

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.tensors.get(name)
    }

    /// The bytes of a tensor, little-endian.
    pub fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.files[entry.file].1[entry.start..entry.end]
    }

    /// Lets go of the memory that reading a tensor took; it can be read again.
    pub fn let_go(&self, entry: &Entry) {
        super::mapping::let_go(&self.files[entry.file].1, entry.start..entry.end);
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Bytes of all tensors, from the headers.
    pub fn total_bytes(&self) -> u64 {
        self.tensors.values().map(|entry| (entry.end - entry.start) as u64).sum()
    }
}

#[cfg(test)]
mod tests;
