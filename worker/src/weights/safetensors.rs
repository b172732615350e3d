//! Maps safetensors files and finds tensors in them, without trusting their headers.
//!
//! Format: <https://huggingface.co/docs/safetensors>. The `safetensors` crate checks the header against the file
//! (offsets in range and without gaps, sizes that match shapes). This module adds shards and error messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use model_folder::{complete, files, weights};
pub use safetensors::Dtype;
use safetensors::SafeTensors;

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

impl Shards {
    /// Maps the weight files of `folder`, as [`complete::weight_files`] selects them.
    ///
    /// # Errors
    /// If files are missing, cut off or contradict their headers.
    pub fn open(folder: &Path) -> Result<Self, LoadError> {
        let problem =
            |problem: weights::Problem| LoadError::File { path: problem.file, problem: problem.text };
        let found = complete::weight_files(folder).map_err(problem)?;
        let mut shards = Self { files: Vec::new(), tensors: BTreeMap::new() };
        for path in found.files {
            shards.map(path, &found.index)?;
        }
        Ok(shards)
    }

    /// Maps one file.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn single(path: PathBuf) -> Result<Self, LoadError> {
        let mut shards = Self { files: Vec::new(), tensors: BTreeMap::new() };
        shards.map(path, &BTreeMap::new())?;
        Ok(shards)
    }

    /// Maps one more file. If several files have a tensor, the one in `index` counts.
    fn map(&mut self, path: PathBuf, index: &BTreeMap<String, String>) -> Result<(), LoadError> {
        let opened = files::open_regular(&path).and_then(|file| super::mapping::map(&file));
        let data = opened.map_err(|cause| LoadError::Io { path: path.clone(), cause })?;
        let file = self.files.len();
        let problem = |problem: String| LoadError::File { path: path.clone(), problem };
        let (header, meta) = SafeTensors::read_metadata(&data).map_err(|e| {
            let known = weights::describe_other_content(&data).map(str::to_owned);
            problem(known.unwrap_or_else(|| format!("is no whole safetensors file: {e}")))
        })?;
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
            let Some(other) = self.tensors.get(&name) else {
                self.tensors.insert(name.clone(), entry);
                continue;
            };
            let is_indexed = |path: &Path| index.get(&name).is_some_and(|own| path.ends_with(own));
            if is_indexed(&path) {
                self.tensors.insert(name.clone(), entry);
            } else if !is_indexed(&self.files[other.file].0) {
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
