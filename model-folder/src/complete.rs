//! Names the file that an incomplete download lacks.
//!
//! huggingface_hub 2.4 keeps the list of a repository's files: `trees/<commit>.json` beside `snapshots/<commit>/` in its cache.
//! A folder may lack files on purpose, so only those count that a model needs.

use std::path::Path;

use crate::weights::{self, Problem};
use crate::{files, json};

/// Files without which a model fails, or computes something else.
const NEEDED: [&str; 5] =
    ["config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "1_Pooling/config.json"];
/// Bytes. A list has about 300 for each file.
const MAX_LIST: u64 = 64 << 20;

/// Checks that the folder has the files that its repository has, as far as a model needs them.
///
/// # Errors
/// Names the first missing file.
pub fn check(folder: &Path) -> Result<(), Problem> {
    for name in repository_files(folder).unwrap_or_default() {
        if NEEDED.contains(&name.as_str()) && !folder.join(&name).exists() {
            return Err(missing(folder, &name));
        }
    }
    Ok(())
}

/// Selects the weight files. If there are none, names one that the repository has.
///
/// # Errors
/// Those of [`weights::find`].
pub fn weight_files(folder: &Path) -> Result<weights::WeightFiles, Problem> {
    weights::find(folder).map_err(|problem| {
        let is_missing = |name: &String| {
            name.starts_with("model") && name.ends_with(".safetensors") && !folder.join(name).exists()
        };
        let names = repository_files(folder).unwrap_or_default();
        names.iter().find(|name| is_missing(name)).map_or(problem, |name| missing(folder, name))
    })
}

fn missing(folder: &Path, name: &str) -> Problem {
    Problem { file: folder.join(name), text: "is missing: the download is incomplete".into() }
}

/// The files of the repository, sorted, if the folder is a snapshot with a list.
fn repository_files(folder: &Path) -> Option<Vec<String>> {
    let (commit, snapshots) = (folder.file_name()?.to_str()?, folder.parent()?);
    if snapshots.file_name()? != "snapshots" {
        return None;
    }
    let path = snapshots.parent()?.join("trees").join(format!("{commit}.json"));
    let text = files::read_text(&path, MAX_LIST).ok()?;
    let list = json::parse(&text).ok()?;
    let mut files: Vec<String> = list.get("files")?.as_object()?.keys().cloned().collect();
    files.sort();
    Some(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The form is that of huggingface_hub 2.4.0's `_tree_cache.py`.
    #[test]
    fn file_that_the_repository_has_is_named() {
        let cache = tempfile::tempdir().unwrap();
        let snapshot = cache.path().join("snapshots/0123abcd");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir(cache.path().join("trees")).unwrap();
        let entry = r#"{"size": 1, "blob_id": "x"}"#;
        let names = [
            "README.md",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "tokenizer.json",
        ];
        let entries: Vec<String> = names.iter().map(|name| format!("\"{name}\": {entry}")).collect();
        let list = format!("{{\"format_version\": 1, \"files\": {{{}}}}}", entries.join(", "));
        fs::write(cache.path().join("trees/0123abcd.json"), list).unwrap();
        assert_eq!(
            check(&snapshot).unwrap_err().to_string(),
            "tokenizer.json: is missing: the download is incomplete"
        );
        fs::write(snapshot.join("tokenizer.json"), "{}").unwrap();
        assert_eq!(check(&snapshot), Ok(()));
        let problem = || weight_files(&snapshot).unwrap_err().to_string();
        assert!(problem().starts_with("model-00001-of-00002.safetensors: is missing"), "{}", problem());
        fs::write(snapshot.join("model-00001-of-00002.safetensors"), "x").unwrap();
        assert!(problem().starts_with("model-00002-of-00002.safetensors: is missing"), "{}", problem());
        fs::write(snapshot.join("model-00002-of-00002.safetensors"), "x").unwrap();
        assert_eq!(weight_files(&snapshot).unwrap().files.len(), 2);
    }

    #[test]
    fn folder_without_list_is_not_judged() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(check(folder.path()), Ok(()));
        assert!(weight_files(folder.path()).unwrap_err().to_string().contains("no weights"));
    }
}
