use std::fs;

use model_folder::weights::{INDEX, SINGLE};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A safetensors file.
fn file(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

fn two_tensors() -> Vec<u8> {
    let header = json!({
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [8, 12]},
        "__metadata__": {"format": "mlx"},
    });
    file(&header, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn open(files: &[(&str, &[u8])]) -> Result<Shards, String> {
    Shards::open(folder(files).path()).map_err(|e| e.to_string())
}

fn refused(files: &[(&str, &[u8])]) -> String {
    open(files).err().expect("it should not open")
}

#[test]
fn open_file_finds_tensors_with_their_bytes() {
    let shards = open(&[(SINGLE, &two_tensors())]).unwrap();
    let b = shards.get("b").unwrap();
    assert_eq!((b.dtype, &b.shape[..], shards.bytes(b)), (Dtype::BF16, &[1, 2][..], &[9, 10, 11, 12][..]));
    assert_eq!(shards.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(shards.total_bytes(), 12);
}

#[test]
fn truncated_file_is_refused() {
    let whole = two_tensors();
    for length in 0..whole.len() {
        let error = refused(&[(SINGLE, &whole[..length])]);
        assert!(error.contains(SINGLE), "{error}");
    }
}

#[test]
fn index_with_shards_opens_all_of_them() {
    let other = file(&json!({"c": {"dtype": "U32", "shape": [1], "data_offsets": [0, 4]}}), &[0; 4]);
    let index = json!({"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}}).to_string();
    let files: [(&str, &[u8]); 3] =
        [(INDEX, index.as_bytes()), ("one.safetensors", &two_tensors()), ("two.safetensors", &other)];
    let shards = open(&files).unwrap();
    assert_eq!(shards.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(refused(&files[..2]).contains("two.safetensors"));
}

#[test]
fn tensor_in_two_shards_is_that_of_the_index() {
    let header = json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}});
    let (first, second) = (file(&header, &[1; 8]), file(&header, &[2; 8]));
    for (own, bytes) in [("one.safetensors", [1; 8]), ("two.safetensors", [2; 8])] {
        let index =
            json!({"weight_map": {"a": own, "b": "one.safetensors", "c": "two.safetensors"}}).to_string();
        let shards =
            open(&[(INDEX, index.as_bytes()), ("one.safetensors", &first), ("two.safetensors", &second)])
                .unwrap();
        assert_eq!(shards.bytes(shards.get("a").unwrap()), bytes);
    }
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    assert!(refused(&[(names[0], &first), (names[1], &second)]).contains("also in another shard"));
}

/// The loader names missing tensors that a model needs. An index may list others, like the output layer of a tied model.
#[test]
fn index_may_list_tensors_that_no_shard_has() {
    let index = json!({"weight_map": {"a": "one.safetensors", "b": "lost.safetensors"}}).to_string();
    let one = two_tensors();
    let error = refused(&[(INDEX, index.as_bytes()), ("one.safetensors", &one)]);
    assert!(error.contains("lost.safetensors: is missing"), "{error}");
    let index =
        json!({"weight_map": {"a": "one.safetensors", "lm_head.weight": "one.safetensors"}}).to_string();
    let shards = open(&[(INDEX, index.as_bytes()), ("one.safetensors", &one)]).unwrap();
    assert_eq!(shards.names().collect::<Vec<_>>(), ["a", "b"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// If the file opens, every tensor lies within it.
    #[test]
    fn damaged_file_does_not_panic(at in 0usize..200, with in any::<[u8; 3]>(), cut in 0usize..200) {
        let mut bytes = two_tensors();
        let at = at % (bytes.len() - 3);
        bytes[at..at + 3].copy_from_slice(&with);
        bytes.truncate(bytes.len() - cut % 3);
        if let Ok(shards) = open(&[(SINGLE, &bytes)]) {
            for name in shards.names() {
                let entry = shards.get(name).unwrap();
                prop_assert!(shards.bytes(entry).len() <= 12);
            }
        }
    }

    #[test]
    fn arbitrary_header_does_not_panic(
        start in any::<u64>(), end in any::<u64>(), shape in proptest::collection::vec(any::<u64>(), 0..4),
    ) {
        let header = json!({"a": {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}});
        let _ = open(&[(SINGLE, &file(&header, &[0; 16]))]);
    }
}
