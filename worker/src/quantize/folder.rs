//! The folder of a converted model: hidden until it is whole.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use model_folder::{files, weights};

use super::QuantizeError;

/// Files that are copied, by the ends of their names: what mlx-lm downloads beside the weights.
const COPIED: [&str; 7] = [".json", ".jsonl", ".jinja", ".txt", ".model", ".tiktoken", ".py"];
/// Files that are copied, by the starts of their names.
const TERMS: [&str; 3] = ["LICENSE", "LICENCE", "NOTICE"];
/// Files that the conversion writes itself, or that describe what is not copied.
const OWN: [&str; 2] = ["config.json", "SOURCE.json"];
/// The end of an index of weights in any format.
const INDEX_END: &str = ".index.json";
/// A folder whose files are copied too.
const TEMPLATES: &str = "additional_chat_templates";
/// The file that a running conversion locks.
const LOCK: &str = ".lock";
/// Bytes that stay free on the disk.
const RESERVE: u64 = 64 << 20;

/// Whether a file of a model's folder belongs to its conversion.
pub fn is_copied(name: &str) -> bool {
    let is_own = OWN.contains(&name) || name.ends_with(INDEX_END) || name == weights::INDEX;
    let fits =
        COPIED.iter().any(|end| name.ends_with(end)) || TERMS.iter().any(|start| name.starts_with(start));
    fits && !is_own && !name.starts_with('.')
}

/// The files of a model's folder that are copied, as paths below it, with their sizes.
///
/// # Errors
/// The folder cannot be read.
pub fn copied_files(source: &Path) -> Result<Vec<(PathBuf, u64)>, QuantizeError> {
    let mut found = Vec::new();
    for below in [PathBuf::new(), PathBuf::from(TEMPLATES)] {
        let folder = source.join(&below);
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !below.as_os_str().is_empty() => continue,
            entries => entries.map_err(at(&folder))?,
        };
        for entry in entries {
            let name = entry.map_err(at(&folder))?.file_name();
            let path = folder.join(&name);
            // A link of an interrupted download leads nowhere.
            let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
            if let (Some(meta), true) = (meta, name.to_str().is_some_and(is_copied)) {
                found.push((below.join(&name), meta.len()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// An error about a path.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> QuantizeError + use<> {
    let path = path.to_owned();
    move |cause| QuantizeError::Io { path, cause }
}

/// A folder that is being written, beside its final place. Dropping it removes it.
#[derive(Debug)]
pub struct Partial {
    folder: PathBuf,
    target: PathBuf,
    /// Locked for as long as this process lives.
    _lock: File,
    finished: bool,
}

impl Partial {
    /// Makes the folder. What a killed conversion left is removed. `replace`: a model at `target` will be replaced.
    ///
    /// # Errors
    /// The target exists, or another conversion writes to it, or the folder cannot be made.
    pub fn begin(target: &Path, replace: bool) -> Result<Self, QuantizeError> {
        let target = std::path::absolute(target).map_err(at(target))?;
        check_target(&target, replace)?;
        let folder = beside(&target, "partial");
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let path = folder.join(LOCK);
        let lock = File::create(&path).map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(QuantizeError::Busy(target)),
            Err(TryLockError::Error(cause)) => return Err(QuantizeError::Io { path, cause }),
        }
        let partial = Self { folder, target, _lock: lock, finished: false };
        partial.clear()?;
        Ok(partial)
    }

    /// Removes everything but the lock.
    fn clear(&self) -> Result<(), QuantizeError> {
        for entry in fs::read_dir(&self.folder).map_err(at(&self.folder))? {
            let path = entry.map_err(at(&self.folder))?.path();
            if path.ends_with(LOCK) {
                continue;
            }
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(at(&path))?;
        }
        Ok(())
    }

    /// The folder to write to.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Refuses a conversion that needs more bytes than are free.
    ///
    /// # Errors
    /// Says both numbers.
    pub fn require_room(&self, needed: u64) -> Result<(), QuantizeError> {
        let stat = nix::sys::statvfs::statvfs(&self.folder);
        let stat = stat.map_err(|errno| at(&self.folder)(errno.into()))?;
        // The types differ between systems.
        let free = (stat.blocks_available() as f64 * stat.fragment_size() as f64) as u64;
        if free < needed.saturating_add(RESERVE) {
            let folder = self.target.parent().unwrap_or(&self.target).to_owned();
            return Err(QuantizeError::Room { folder, needed, free });
        }
        Ok(())
    }

    /// Copies files of `source`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn copy(&self, source: &Path, files: &[(PathBuf, u64)]) -> Result<(), QuantizeError> {
        for (name, _) in files {
            let (from, to) = (source.join(name), self.folder.join(name));
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(at(parent))?;
            }
            let mut original = files::open_regular(&from).map_err(at(&from))?;
            let mut copy = File::create(&to).map_err(at(&to))?;
            io::copy(&mut original, &mut copy).map_err(at(&to))?;
        }
        Ok(())
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), QuantizeError> {
        let path = self.folder.join(name);
        fs::write(&path, bytes).map_err(at(&path))
    }

    /// Moves the folder to its place; returns that.
    ///
    /// # Errors
    /// Those of the system. A model that was to be replaced is still there then.
    pub fn finish(mut self) -> Result<PathBuf, QuantizeError> {
        let former = beside(&self.target, "former");
        let has_former = self.target.exists();
        if has_former {
            fs::rename(&self.target, &former).map_err(at(&self.target))?;
        }
        if let Err(cause) = fs::rename(&self.folder, &self.target) {
            if has_former {
                fs::rename(&former, &self.target).map_err(at(&former))?;
            }
            return Err(at(&self.target)(cause));
        }
        self.finished = true;
        let lock = self.target.join(LOCK);
        fs::remove_file(&lock).map_err(at(&lock))?;
        if has_former {
            fs::remove_dir_all(&former).map_err(at(&former))?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.finished {
            // The next conversion to this place removes what is left.
            fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// A folder may be replaced only if it is a model's.
fn check_target(target: &Path, replace: bool) -> Result<(), QuantizeError> {
    if target.symlink_metadata().is_err() {
        return Ok(());
    }
    if !replace {
        return Err(QuantizeError::Exists(target.to_owned()));
    }
    let is_model = target.join("config.json").is_file() && !target.is_symlink();
    if is_model { Ok(()) } else { Err(QuantizeError::NoModel(target.to_owned())) }
}

/// A hidden path beside `target`. mlxd lists no hidden folder.
fn beside(target: &Path, role: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{role}"));
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn texts_are_copied_and_weights_and_own_files_are_not() {
        for name in
            ["tokenizer.json", "merges.txt", "chat_template.jinja", "tokenizer.model", "LICENSE", "NOTICE.md"]
        {
            assert!(is_copied(name), "{name}");
        }
        for name in [
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "README.md",
            ".gitattributes",
            "x.bin",
        ] {
            assert!(!is_copied(name), "{name}");
        }
    }

    #[test]
    fn folder_appears_when_it_is_whole_and_nothing_is_left_otherwise() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("m-4bit");
        let partial = Partial::begin(&target, false).unwrap();
        partial.write("config.json", b"{}").unwrap();
        assert_eq!(names(root.path()), [".m-4bit.partial"]);
        let text = Partial::begin(&target, false).unwrap_err().to_string();
        assert!(text.contains("another conversion"), "{text}");
        drop(partial);
        assert!(names(root.path()).is_empty());
        // A killed process leaves its folder, whose lock is free.
        fs::create_dir(root.path().join(".m-4bit.partial")).unwrap();
        fs::write(root.path().join(".m-4bit.partial/model.safetensors"), "half").unwrap();
        let partial = Partial::begin(&target, false).unwrap();
        partial.write("config.json", b"{}").unwrap();
        assert_eq!(partial.finish().unwrap(), target);
        assert_eq!(
            (names(root.path()), names(&target)),
            (vec!["m-4bit".into()], vec!["config.json".to_owned()])
        );
    }

    #[test]
    fn existing_model_is_replaced_only_if_asked_and_other_folders_never() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("m");
        fs::create_dir(&target).unwrap();
        let refusal = |replace| Partial::begin(&target, replace).unwrap_err().to_string();
        assert!(refusal(false).contains("--force"), "{}", refusal(false));
        assert!(refusal(true).contains("no model"), "{}", refusal(true));
        fs::write(target.join("config.json"), "old").unwrap();
        let partial = Partial::begin(&target, true).unwrap();
        partial.write("config.json", b"new").unwrap();
        assert_eq!(fs::read(target.join("config.json")).unwrap(), b"old", "until the end");
        partial.finish().unwrap();
        assert_eq!(fs::read(target.join("config.json")).unwrap(), b"new");
        assert_eq!(names(root.path()), ["m"]);
    }

    #[test]
    fn room_is_required_with_both_numbers() {
        let root = tempfile::tempdir().unwrap();
        let partial = Partial::begin(&root.path().join("m"), false).unwrap();
        partial.require_room(1).unwrap();
        let text = partial.require_room(1 << 60).unwrap_err().to_string();
        assert!(text.contains("1152921504606846976 bytes"), "{text}");
    }

    #[test]
    fn copied_files_include_additional_templates() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("source");
        fs::create_dir_all(source.join(TEMPLATES)).unwrap();
        for (name, text) in
            [("tokenizer.json", "{}"), ("config.json", "{}"), ("additional_chat_templates/rag.jinja", "abc")]
        {
            fs::write(source.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", source.join("merges.txt")).unwrap();
        let files = copied_files(&source).unwrap();
        assert_eq!(
            files,
            [("additional_chat_templates/rag.jinja".into(), 3), (PathBuf::from("tokenizer.json"), 2)]
        );
        let partial = Partial::begin(&root.path().join("m"), false).unwrap();
        partial.copy(&source, &files).unwrap();
        assert_eq!(fs::read(partial.path().join("additional_chat_templates/rag.jinja")).unwrap(), b"abc");
    }
}
