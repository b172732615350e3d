use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::write(folder.path().join(file), "x").unwrap();
    }
    folder
}

/// Writes an index that maps the tensor `t0` to the first name, and so on.
fn write_index(folder: &TempDir, names: &[&str]) {
    let entries: Vec<String> =
        names.iter().enumerate().map(|(n, name)| format!("\"t{n}\": \"{name}\"")).collect();
    fs::write(folder.path().join(INDEX), format!("{{\"weight_map\": {{{}}}}}", entries.join(", "))).unwrap();
}

/// The names of the selected files, or the problem.
fn select(folder: &TempDir) -> Result<Vec<String>, String> {
    let found = find(folder.path()).map_err(|problem| problem.to_string())?;
    Ok(found.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect())
}

const ONE: &str = "model-00001-of-00002.safetensors";
const TWO: &str = "model-00002-of-00002.safetensors";

#[test]
fn single_file_and_indexed_shards_are_found() {
    assert_eq!(select(&folder(&[SINGLE])).unwrap(), [SINGLE]);
    let indexed = folder(&["a.safetensors", "b.safetensors", "c.safetensors"]);
    write_index(&indexed, &["b.safetensors", "a.safetensors"]);
    assert_eq!(select(&indexed).unwrap(), ["a.safetensors", "b.safetensors"]);
}

/// Several folders of mlx-community have an index of the model that was converted.
#[test]
fn index_of_another_conversion_is_ignored() {
    for files in [vec![SINGLE], vec!["model-00001-of-00001.safetensors"], vec!["model.fp16.safetensors"]] {
        let folder = folder(&files);
        write_index(&folder, &[ONE, TWO]);
        assert_eq!(select(&folder).unwrap(), files);
    }
    let leftover = folder(&[SINGLE, ONE]);
    write_index(&leftover, &[ONE, TWO]);
    assert_eq!(select(&leftover).unwrap(), [SINGLE]);
    let cut = folder(&[SINGLE]);
    fs::write(cut.path().join(INDEX), "{\"weight_map\": {").unwrap();
    assert_eq!(select(&cut).unwrap(), [SINGLE]);
}

#[test]
fn shards_without_index_are_found() {
    assert_eq!(select(&folder(&[ONE, TWO])).unwrap(), [ONE, TWO]);
    let other = "model-00001-of-00003.safetensors";
    assert_eq!(select(&folder(&[ONE, TWO, other])).unwrap(), [ONE, TWO]);
    assert_eq!(
        select(&folder(&["model-a.safetensors", "model-b.safetensors", "adapters.safetensors"])).unwrap(),
        ["model-a.safetensors", "model-b.safetensors"]
    );
}

#[test]
fn index_that_omits_a_shard_is_completed() {
    let folder = folder(&[ONE, TWO, "model-old.safetensors"]);
    write_index(&folder, &[ONE]);
    assert_eq!(select(&folder).unwrap(), [ONE, TWO]);
}

#[test]
fn stray_and_hidden_files_are_ignored() {
    let stray = folder(&[ONE, TWO, "model-old.safetensors", "._model-00001-of-00002.safetensors"]);
    write_index(&stray, &[ONE, TWO]);
    assert_eq!(select(&stray).unwrap(), [ONE, TWO]);
    // macOS writes such files on foreign file systems.
    let hidden = folder(&[SINGLE, "._model.safetensors", "consolidated.safetensors"]);
    assert_eq!(select(&hidden).unwrap(), [SINGLE]);
    assert!(select(&folder(&["._model.safetensors"])).unwrap_err().contains("no weights"));
}

#[test]
fn missing_shard_is_named() {
    let with_index = folder(&[ONE]);
    write_index(&with_index, &[ONE, TWO]);
    let without_index = folder(&[ONE]);
    let only_index = folder(&[]);
    write_index(&only_index, &[TWO, TWO]);
    for folder in [with_index, without_index, only_index] {
        assert_eq!(select(&folder).unwrap_err(), format!("{TWO}: is missing: the download is incomplete"));
    }
}

/// huggingface_hub writes the links of a snapshot when their blobs are complete, but blobs can be deleted.
#[test]
fn link_to_nowhere_is_named() {
    for name in [SINGLE, TWO, "model.fp16.safetensors"] {
        let folder = folder(&[]);
        if name == TWO {
            fs::write(folder.path().join(ONE), "x").unwrap();
            write_index(&folder, &[ONE, TWO]);
        }
        symlink("../../blobs/feed", folder.path().join(name)).unwrap();
        let problem = select(&folder).unwrap_err();
        assert!(problem.starts_with(name) && problem.contains("leads nowhere"), "{problem}");
    }
}

#[test]
fn folder_without_model_files_says_what_it_has() {
    let problem = select(&folder(&[])).unwrap_err();
    assert!(problem.starts_with(SINGLE) && problem.contains("no weights"), "{problem}");
    assert!(select(&folder(&["consolidated.safetensors"])).unwrap_err().contains("like consolidated"));
}

#[test]
fn index_outside_the_folder_is_refused() {
    for target in ["../one.safetensors", "/etc/passwd", ""] {
        let folder = folder(&["one.safetensors"]);
        write_index(&folder, &["one.safetensors", target]);
        assert!(select(&folder).unwrap_err().contains("outside"), "{target}");
    }
    let no_map = folder(&["one.safetensors"]);
    fs::write(no_map.path().join(INDEX), "[]").unwrap();
    assert!(select(&no_map).unwrap_err().contains("weight_map"));
}
