//! Writes the weights of a conversion, a few rows at a time: memory does not grow with the model.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mlx_rs::Array;
use safetensors::Dtype;

use super::folder::at;
use super::layout::{Layout, Location, Tensor};
use super::plan::{Item, Plan};
use super::{QuantizeError, pack};
use crate::weights::LoadError;
use crate::weights::config::{Packing, PackingMode};
use crate::weights::loader::as_stored;
use crate::weights::safetensors::Shards;

/// Weights that are packed at once.
const WEIGHTS_AT_ONCE: usize = 4 << 20;
/// The same for MXFP4, for which MLX compares each weight with sixteen numbers on a CPU.
const MXFP4_AT_ONCE: usize = 256 << 10;

/// Reads weights and writes them.
pub(super) struct Writer<'a> {
    shards: &'a Shards,
    files: Vec<(PathBuf, File)>,
    /// True when the conversion has to end early.
    stop: &'a AtomicBool,
    /// Called with the bytes read so far.
    progress: &'a mut dyn FnMut(u64),
    read: u64,
}

impl<'a> Writer<'a> {
    /// Makes the files in `folder`, with their headers and final sizes.
    pub(super) fn new(
        shards: &'a Shards,
        layout: &Layout,
        folder: &Path,
        stop: &'a AtomicBool,
        progress: &'a mut dyn FnMut(u64),
    ) -> Result<Self, QuantizeError> {
        let make = |file: &super::layout::File| -> Result<_, QuantizeError> {
            let path = folder.join(&file.name);
            let made = File::create(&path).map_err(at(&path))?;
            made.set_len(file.bytes).and_then(|()| made.write_all_at(&file.header, 0)).map_err(at(&path))?;
            Ok((path, made))
        };
        let files = layout.files.iter().map(make).collect::<Result<_, _>>()?;
        Ok(Self { shards, files, stop, progress, read: 0 })
    }

    /// Writes every tensor, and waits until the disk has them.
    pub(super) fn run(mut self, plan: &Plan, layout: &Layout) -> Result<(), QuantizeError> {
        let mut locations = layout.locations.iter();
        for item in &plan.items {
            let tensors = item.tensors();
            let own: Vec<Location> = locations.by_ref().take(tensors.len()).copied().collect();
            self.write(item, &tensors, &own)?;
        }
        for (path, file) in &self.files {
            self.check_stop()?;
            file.sync_all().map_err(at(path))?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        item: &Item,
        tensors: &[Tensor],
        locations: &[Location],
    ) -> Result<(), QuantizeError> {
        let mut offsets: Vec<u64> = locations.iter().map(|location| location.offset).collect();
        let row = if item.packing.is_some() { item.shape.last().copied().unwrap_or(1) } else { 1 };
        let rows = (at_once(item.packing) / row.max(1)).max(1);
        let shards = self.shards;
        for source in &item.sources {
            let entry = shards.get(&source.tensor);
            let missing = || LoadError::Tensors(vec![format!("{} is missing", source.tensor)]);
            let entry = entry.ok_or_else(missing)?;
            let stride = (rows * row * entry.dtype.bitsize() / 8).max(1);
            for bytes in source.select(shards.bytes(entry)).flat_map(|block| block.chunks(stride)) {
                self.check_stop()?;
                let parts = converted(bytes, entry.dtype, item, row)?;
                shards.release(entry);
                for (at, part) in parts.iter().enumerate().take(tensors.len()) {
                    self.write_at(locations[at].file, offsets[at], part)?;
                    offsets[at] += part.len() as u64;
                }
                self.read += bytes.len() as u64;
                (self.progress)(self.read);
            }
        }
        check_ends(tensors, locations, &offsets)
    }

    fn write_at(&self, file: usize, offset: u64, bytes: &[u8]) -> Result<(), QuantizeError> {
        let (path, file) = &self.files[file];
        file.write_all_at(bytes, offset).map_err(at(path))
    }

    fn check_stop(&self) -> Result<(), QuantizeError> {
        if self.stop.load(Ordering::Relaxed) { Err(QuantizeError::Stopped) } else { Ok(()) }
    }
}

fn at_once(packing: Option<Packing>) -> usize {
    match packing {
        Some(Packing { mode: PackingMode::Mxfp4, .. }) => MXFP4_AT_ONCE,
        _ => WEIGHTS_AT_ONCE,
    }
}

/// The bytes of each tensor that these rows become.
fn converted(bytes: &[u8], stored: Dtype, item: &Item, row: usize) -> mlx_rs::error::Result<Vec<Vec<u8>>> {
    if item.packing.is_none() && stored == item.dtype && !item.plus_one {
        return Ok(vec![bytes.to_vec()]);
    }
    let count = bytes.len() / (stored.bitsize() / 8).max(1);
    let mut numbers = as_stored(bytes, stored, &[(count / row.max(1)) as i32, row as i32]);
    if item.plus_one {
        numbers = numbers.add(Array::from_f32(1.0).as_dtype(numbers.dtype())?)?;
    }
    let numbers = numbers.as_dtype(match item.dtype {
        Dtype::BF16 => mlx_rs::Dtype::Bfloat16,
        Dtype::F16 => mlx_rs::Dtype::Float16,
        _ => mlx_rs::Dtype::Float32,
    })?;
    match item.packing {
        None => Ok(vec![pack::bytes(&numbers)?]),
        Some(packing) => pack::pack(&numbers, packing)?.iter().map(pack::bytes).collect(),
    }
}

/// Each tensor must be written to its end: a part less would shift nothing and be noticed by nobody.
fn check_ends(tensors: &[Tensor], locations: &[Location], offsets: &[u64]) -> Result<(), QuantizeError> {
    for ((tensor, location), end) in tensors.iter().zip(locations).zip(offsets) {
        let expected = location.offset + tensor.bytes();
        if *end != expected {
            let text =
                format!("{} has {} bytes, expected {}", tensor.name, end - location.offset, tensor.bytes());
            return Err(QuantizeError::Io {
                path: PathBuf::from(&tensor.name),
                cause: io::Error::other(text),
            });
        }
    }
    Ok(())
}
