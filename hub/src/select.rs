//! Selects the files of a repository that a model needs. Pure.
//!
//! Repositories also hold weights for other programs, pictures and notes: they are not downloaded unless asked for.

use crate::info::RemoteFile;

/// Endings of files that belong to a model: weights, settings, templates, tokenizers.
const ENDINGS: [&str; 6] = [".safetensors", ".json", ".jinja", ".model", ".txt", ".tiktoken"];
/// Folders with a model in another program's form, or with records of its training.
const FOREIGN_FOLDERS: [&str; 8] =
    ["onnx", "openvino", "gguf", "coreml", "original", "runs", "checkpoints", "metal"];
/// Endings of other programs' weights.
const OTHER_WEIGHTS: [&str; 7] = [".bin", ".gguf", ".onnx", ".pth", ".pt", ".h5", ".npz"];

/// The files to download, or why there are none.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// Sorted so that the small ones come first.
    Files(Vec<&'a RemoteFile>),
    /// The endings of the weights that it has instead, sorted.
    NoWeights(Vec<&'static str>),
}

/// Selects the files that a model needs, and those that match `include`, which are names with `*` for any text.
pub fn select<'a>(files: &'a [RemoteFile], include: &[String]) -> Selection<'a> {
    let wanted = |file: &&RemoteFile| {
        is_part(&file.path) || include.iter().any(|pattern| matches(pattern, &file.path))
    };
    let mut chosen: Vec<&RemoteFile> = files.iter().filter(wanted).collect();
    let has_weights = chosen.iter().any(|file| file.path.ends_with(".safetensors"));
    if !has_weights && include.is_empty() {
        let has = |ending: &&str| files.iter().any(|file| file.path.ends_with(ending));
        let mut instead: Vec<&str> = OTHER_WEIGHTS.into_iter().filter(has).collect();
        instead.sort_unstable();
        return Selection::NoWeights(instead);
    }
    let is_weights = |file: &RemoteFile| file.path.ends_with(".safetensors");
    chosen.sort_by(|a, b| (is_weights(a), &a.path).cmp(&(is_weights(b), &b.path)));
    Selection::Files(chosen)
}

fn is_part(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let mut folders = parts;
    if name.starts_with('.')
        || folders.any(|folder| folder.starts_with('.') || FOREIGN_FOLDERS.contains(&folder))
    {
        return false;
    }
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a path is one that a pattern with `*` describes.
fn matches(pattern: &str, path: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<RemoteFile> {
        let file = |path: &&str| RemoteFile {
            path: (*path).to_owned(),
            size: 1,
            git_sha1: String::new(),
            sha256: None,
            xet: None,
        };
        paths.iter().map(file).collect()
    }

    fn selected(paths: &[&str], include: &[&str]) -> Vec<String> {
        let include: Vec<String> = include.iter().map(|pattern| (*pattern).to_owned()).collect();
        match select(&files(paths), &include) {
            Selection::Files(files) => files.into_iter().map(|file| file.path.clone()).collect(),
            Selection::NoWeights(instead) => panic!("{instead:?}"),
        }
    }

    #[test]
    fn models_files_are_selected_and_others_left_out() {
        let all = [
            "model.safetensors",
            ".gitattributes",
            "README.md",
            "config.json",
            "chat_template.jinja",
            "tokenizer.json",
            "tokenizer.model",
            "merges.txt",
            "1_Pooling/config.json",
            "additional_chat_templates/rag.jinja",
            "onnx/config.json",
            "original/params.json",
            "pytorch_model.bin",
            "model-q4.gguf",
            "picture.png",
        ];
        let expected = [
            "1_Pooling/config.json",
            "additional_chat_templates/rag.jinja",
            "chat_template.jinja",
            "config.json",
            "merges.txt",
            "tokenizer.json",
            "tokenizer.model",
            "model.safetensors",
        ];
        assert_eq!(selected(&all, &[]), expected);
    }

    #[test]
    fn included_patterns_add_files() {
        let all = ["a.safetensors", "q/model-q4.gguf", "q/model-q8.gguf", "notes.md"];
        assert_eq!(selected(&all, &["*q4.gguf"]), ["q/model-q4.gguf", "a.safetensors"]);
        assert_eq!(selected(&all, &["notes.md"]).len(), 2);
        assert_eq!(selected(&all, &["q/*-q*.gguf"]).len(), 3);
    }

    #[test]
    fn repository_without_safetensors_says_what_it_has() {
        let all = files(&["config.json", "b.gguf", "a.bin"]);
        assert_eq!(select(&all, &[]), Selection::NoWeights(vec![".bin", ".gguf"]));
    }
}
