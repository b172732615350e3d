//! Where each tensor lies in the files of a conversion. Pure.
//!
//! The headers of safetensors files (<https://huggingface.co/docs/safetensors>) come before the bytes, so tensors can be written in
//! parts and in any order.

use std::collections::BTreeMap;

use model_folder::weights::SINGLE;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

/// Bytes of tensors in a file at most, as `make_shards` of mlx-lm 0.32.2 has it.
pub const MAX_FILE_BYTES: u64 = 5 << 30;
/// The bytes of tensors begin at a multiple of this.
const ALIGNMENT: usize = 8;

/// A tensor that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its numbers.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * (self.dtype.bitsize() / 8) as u64
    }
}

/// A file of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Everything before the tensors.
    pub header: Vec<u8>,
    /// Its size.
    pub bytes: u64,
}

/// Where a tensor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Index of the file.
    pub file: usize,
    /// Bytes before it in the file.
    pub offset: u64,
}

/// The files, and the location of each tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The files.
    pub files: Vec<File>,
    /// In the order of the tensors.
    pub locations: Vec<Location>,
}

impl Layout {
    /// Lays out `tensors` in order, in files of at most `limit` bytes of tensors. A larger tensor has a file of its own.
    pub fn new(tensors: &[Tensor], limit: u64) -> Self {
        let mut groups: Vec<Vec<&Tensor>> = vec![Vec::new()];
        let mut size = 0;
        for tensor in tensors {
            let bytes = tensor.bytes();
            if size + bytes > limit && size > 0 {
                groups.push(Vec::new());
                size = 0;
            }
            size += bytes;
            if let Some(group) = groups.last_mut() {
                group.push(tensor);
            }
        }
        let count = groups.len();
        let mut layout = Self { files: Vec::new(), locations: Vec::new() };
        for (file, group) in groups.iter().enumerate() {
            let header = header(group);
            let mut offset = header.len() as u64;
            for tensor in group {
                layout.locations.push(Location { file, offset });
                offset += tensor.bytes();
            }
            layout.files.push(File { name: file_name(file, count), header, bytes: offset });
        }
        layout
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// `model.safetensors.index.json`, as mlx-lm writes it.
    pub fn index(&self, tensors: &[Tensor], parameters: u64) -> Value {
        let map: BTreeMap<&str, &str> = tensors
            .iter()
            .zip(&self.locations)
            .map(|(tensor, location)| (tensor.name.as_str(), self.files[location.file].name.as_str()))
            .collect();
        let size: u64 = tensors.iter().map(Tensor::bytes).sum();
        json!({"metadata": {"total_size": size, "total_parameters": parameters}, "weight_map": map})
    }
}

fn file_name(at: usize, count: usize) -> String {
    if count == 1 { SINGLE.into() } else { format!("model-{:05}-of-{count:05}.safetensors", at + 1) }
}

/// Length, description and padding.
fn header(tensors: &[&Tensor]) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), json!({"format": "mlx"}));
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.bytes();
        let entry = json!({
            "dtype": tensor.dtype.to_string(), "shape": tensor.shape, "data_offsets": [start, end],
        });
        entries.insert(tensor.name.clone(), entry);
        start = end;
    }
    let mut text = Value::from(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');
    [&(text.len() as u64).to_le_bytes(), text.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    fn tensor(name: &str, dtype: Dtype, shape: &[usize]) -> Tensor {
        Tensor { name: name.into(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn library_reads_a_file_with_this_header() {
        let tensors = [
            tensor("a", Dtype::BF16, &[3]),
            tensor("b.weight", Dtype::U32, &[2, 4]),
            tensor("c", Dtype::U8, &[5]),
        ];
        let layout = Layout::new(&tensors, MAX_FILE_BYTES);
        let [file] = layout.files.as_slice() else { panic!("{:?}", layout.files) };
        assert_eq!((file.name.as_str(), file.bytes), ("model.safetensors", file.header.len() as u64 + 43));
        let mut bytes = file.header.clone();
        bytes.resize(file.bytes as usize, 0);
        for (tensor, location) in tensors.iter().zip(&layout.locations) {
            bytes[location.offset as usize] = tensor.name.as_bytes()[0];
        }
        let read = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.len(), 3);
        for tensor in &tensors {
            let view = read.tensor(&tensor.name).unwrap();
            assert_eq!((view.dtype(), view.shape()), (tensor.dtype, tensor.shape.as_slice()));
            assert_eq!(view.data()[0], tensor.name.as_bytes()[0]);
        }
        let (_, meta) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(meta.metadata().as_ref().unwrap()["format"], "mlx");
    }

    #[test]
    fn files_are_split_before_a_tensor_that_exceeds_the_limit() {
        let of = |name: &str, bytes: usize| tensor(name, Dtype::U8, &[bytes]);
        let tensors = [of("a", 20), of("b", 4), of("c", 7), of("d", 1), of("e", 1)];
        let layout = Layout::new(&tensors, 12);
        let names: Vec<&str> = layout.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, [1, 2, 3].map(|n| format!("model-0000{n}-of-00003.safetensors")));
        assert_eq!(
            layout.locations.iter().map(|location| location.file).collect::<Vec<_>>(),
            [0, 1, 1, 1, 2]
        );
        let index = layout.index(&tensors, 33);
        assert_eq!(index["metadata"], json!({"total_size": 33, "total_parameters": 33}));
        assert_eq!(index["weight_map"]["e"], "model-00003-of-00003.safetensors");
        assert_eq!(
            layout.bytes(),
            layout.files.iter().map(|file| file.header.len() as u64).sum::<u64>() + 33
        );
    }
}
