use std::fs;

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
    let twice = [files[0], files[1], ("two.safetensors", files[1].1)];
    assert!(refused(&twice).contains("also in another shard"));
}

#[test]
fn index_with_wrong_shards_is_refused() {
    let one = two_tensors();
    for (target, expected) in [
        ("../one.safetensors", "outside"),
        ("/etc/passwd", "outside"),
        ("", "one.safetensors"),
        ("one.safetensors", "lost"),
    ] {
        let index = json!({"weight_map": {"a": "one.safetensors", "lost": target}}).to_string();
        let error = refused(&[(INDEX, index.as_bytes()), ("one.safetensors", &one)]);
        assert!(error.contains(expected) || target.is_empty(), "{target}: {error}");
    }
    assert!(refused(&[(INDEX, b"[]"), ("one.safetensors", &one)]).contains(INDEX));
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
