//! The models in another program's folder: which of them are MLX's, and which are GGUF files.

use std::fs;
use std::path::Path;

/// Levels of folders: LM Studio and oMLX have `organisation/model`.
const DEPTH: usize = 2;

/// Models below a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Paths below the folder of those with config.json and safetensors, sorted.
    pub(super) mlx: Vec<String>,
    /// Names of GGUF files, sorted. The further parts of a split one are left out.
    pub(super) gguf: Vec<String>,
}

/// Looks into a folder. One that cannot be read has no models.
pub(super) fn find(root: &Path) -> Found {
    let mut found = Found::default();
    visit(root, "", DEPTH, &mut found);
    found.mlx.sort();
    found.gguf.sort();
    found
}

fn visit(folder: &Path, id: &str, depth: usize, found: &mut Found) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let entries = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let entries: Vec<_> = entries.filter(|(name, _)| !name.starts_with('.')).collect();
    let has = |test: &dyn Fn(&str) -> bool| entries.iter().any(|(name, _)| test(name));
    if !id.is_empty() && has(&|name| name == "config.json") && has(&|name| name.ends_with(".safetensors")) {
        found.mlx.push(id.to_owned());
        return;
    }
    for (name, path) in entries {
        if name.ends_with(".gguf") {
            if is_first(&name) && !name.starts_with("mmproj") {
                found.gguf.push(name);
            }
        } else if depth > 0 && path.is_dir() {
            let separator = if id.is_empty() { "" } else { "/" };
            visit(&path, &format!("{id}{separator}{name}"), depth - 1, found);
        }
    }
}

/// Whether a file is not a further part, such as `m-00002-of-00003.gguf`.
fn is_first(name: &str) -> bool {
    let part = name.split_once("-of-").and_then(|(before, _)| before.rsplit_once('-'));
    part.is_none_or(|(_, number)| number.parse::<u32>().is_ok_and(|number| number <= 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_both_formats_are_found() {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "org/mlx/config.json",
            "org/mlx/model.safetensors",
            "single/config.json",
            "single/model.safetensors",
            "org/half/config.json",
            "org/gguf/m-00001-of-00002.gguf",
            "org/gguf/m-00002-of-00002.gguf",
            "org/gguf/mmproj-m.gguf",
            ".hidden/x.gguf",
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = find(root.path());
        assert_eq!(
            (found.mlx, found.gguf),
            (vec!["org/mlx".to_owned(), "single".to_owned()], vec!["m-00001-of-00002.gguf".to_owned()],)
        );
        assert_eq!(find(&root.path().join("nowhere")), Found::default());
    }
}
