//! What the headers of models said, in a file of the home: a list of hundreds of models need not read them again.
//!
//! A summary counts while the sizes and times of all files are those that it was made from, and for the program that wrote it:
//! another one may support more families. Whoever deletes the file loses nothing but time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipc_proto::supervisor::Details;
use serde::{Deserialize, Serialize};

use super::scan::file_stamp;
use super::{Folder, Model};

/// The file's name in the home folder.
const FILE_NAME: &str = "summaries.json";
/// A file that is younger may change again without another time: that of FAT has steps of two seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// The summaries of a home. They are read at the first use.
#[derive(Debug)]
pub(crate) struct Summaries {
    home: PathBuf,
    known: OnceLock<BTreeMap<String, Summary>>,
}

#[derive(Serialize, Deserialize)]
struct File {
    /// The program that wrote it.
    program: String,
    /// By folder.
    models: BTreeMap<String, Summary>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Summary {
    stamp: Vec<(u64, u64)>,
    details: Details,
}

impl Summaries {
    pub(crate) fn of(home: &Path) -> Self {
        Self { home: home.to_owned(), known: OnceLock::new() }
    }

    /// The details of a model whose files are as they were.
    pub(super) fn details(&self, folder: &Folder) -> Option<&Details> {
        let summary = self.known().get(folder.path.to_str()?)?;
        (summary.stamp == folder.stamp).then_some(&summary.details)
    }

    /// Replaces the summaries by those of these models, of a scan that began at `began`. Without a home nothing is written.
    pub(super) fn update<'a>(&self, models: impl Iterator<Item = &'a Arc<Model>>, began: SystemTime) {
        let Some(program) = program() else { return };
        let models: BTreeMap<String, Summary> = models.filter_map(|model| summary(model, began)).collect();
        if &models != self.known() && self.home.is_dir() {
            // A list without summaries is slower, not wrong.
            let _ = write(&self.home, &File { program, models });
        }
    }

    fn known(&self) -> &BTreeMap<String, Summary> {
        self.known.get_or_init(|| read(&self.home).unwrap_or_default())
    }
}

/// A model's folder and summary. `None` if the next scan has to read it again.
fn summary(model: &Arc<Model>, began: SystemTime) -> Option<(String, Summary)> {
    let Model { folder, details, silent } = &**model;
    // What is missing may come in a file that no stamp has.
    let is_final = details.problem.is_none() || details.unserved;
    let latest = began.duration_since(UNIX_EPOCH).ok()?.checked_sub(SETTLED)?;
    let is_settled = folder.stamp.iter().all(|(_, time)| Duration::from_nanos(*time) < latest);
    let path = folder.path.to_str().filter(|_| is_final && is_settled && !silent)?;
    Some((path.to_owned(), Summary { stamp: folder.stamp.clone(), details: details.clone() }))
}

/// Names this build.
fn program() -> Option<String> {
    let (bytes, time) = file_stamp(&fs::metadata(std::env::current_exe().ok()?).ok()?);
    Some(format!("{} {bytes} {time}", env!("CARGO_PKG_VERSION")))
}

fn read(home: &Path) -> Option<BTreeMap<String, Summary>> {
    let bytes = fs::read(home.join(FILE_NAME)).ok()?;
    let file: File = serde_json::from_slice(&bytes).ok()?;
    (Some(file.program) == program()).then_some(file.models)
}

/// Replaces the file. Two commands may do so at once.
fn write(home: &Path, file: &File) -> std::io::Result<()> {
    let draft = home.join(format!("{FILE_NAME}.{}", std::process::id()));
    let text = serde_json::to_vec(file)?;
    let mut options = fs::OpenOptions::new();
    let created = options.write(true).create(true).truncate(true).mode(0o600).open(&draft);
    let placed = created
        .and_then(|mut target| target.write_all(&text))
        .and_then(|()| fs::rename(&draft, home.join(FILE_NAME)));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::super::stores::Store;
    use super::super::{Catalogue, scan_at_once};
    use super::*;

    const OLD: SystemTime = UNIX_EPOCH;

    /// A home and a store with the model "m", whose files are old.
    struct Stage(tempfile::TempDir);

    impl Stage {
        fn new() -> Self {
            let stage = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(stage.0.path().join("home")).unwrap();
            fs::create_dir_all(stage.0.path().join("store/m")).unwrap();
            stage.write("config.json", r#"{"model_type": "llama", "max_position_embeddings": 1000}"#, OLD);
            stage.write("tokenizer.json", "{}", OLD);
            let header = r#"{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#;
            let weights = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
            stage.write("model.safetensors", weights, OLD);
            stage
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>, modified: SystemTime) {
            let path = self.0.path().join("store/m").join(name);
            fs::write(&path, content).unwrap();
            fs::File::options().append(true).open(path).unwrap().set_modified(modified).unwrap();
        }

        fn home(&self) -> PathBuf {
            self.0.path().join("home")
        }

        fn scan(&self) -> Catalogue {
            let stores = vec![Store::Folder(self.0.path().join("store"))];
            scan_at_once(stores, &self.home()).remove(0).1
        }

        fn context(&self) -> Option<u32> {
            self.scan()["m"].details.context
        }

        /// Writes a config.json of the same size and time with another context.
        fn exchange_config(&self, modified: SystemTime) {
            self.write(
                "config.json",
                r#"{"model_type": "llama", "max_position_embeddings": 2000}"#,
                modified,
            );
        }
    }

    #[test]
    fn unchanged_files_are_not_read_again_and_changed_ones_are() {
        let stage = Stage::new();
        let (first, created) = (stage.context(), stage.scan()["m"].folder.created);
        stage.exchange_config(OLD);
        assert_eq!((first, stage.context()), (Some(1000), Some(1000)));
        assert_eq!(stage.scan()["m"].folder.created, created);
        stage.exchange_config(OLD + Duration::from_nanos(1000));
        assert_eq!(stage.context(), Some(2000));
        assert_eq!(fs::read_dir(stage.home()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn young_files_and_models_with_a_problem_have_no_summary() {
        let stage = Stage::new();
        stage.exchange_config(SystemTime::now());
        stage.scan();
        stage.exchange_config(SystemTime::now());
        let text = || fs::read_to_string(stage.home().join(FILE_NAME)).unwrap_or_default();
        assert!(!text().contains("llama"), "{}", text());
        stage.exchange_config(OLD);
        fs::remove_file(stage.0.path().join("store/m/tokenizer.json")).unwrap();
        assert!(stage.scan()["m"].details.problem.is_some());
        assert!(!text().contains("llama"), "{}", text());
        stage.write("config.json", r#"{"model_type": "gpt2"}"#, OLD);
        assert!(stage.scan()["m"].details.unserved);
        assert!(text().contains("gpt2"), "more files serve no other family: {}", text());
    }

    #[test]
    fn file_of_another_program_and_a_damaged_one_count_for_nothing() {
        let stage = Stage::new();
        assert_eq!(stage.context(), Some(1000));
        let path = stage.home().join(FILE_NAME);
        let text = fs::read_to_string(&path).unwrap();
        let program = program().unwrap();
        let cut = text.replace("architecture", "else");
        for other in [text.replace(&program, "another"), "{".to_owned(), cut] {
            stage.exchange_config(OLD);
            fs::write(&path, other).unwrap();
            assert_eq!(stage.context(), Some(2000));
        }
        fs::remove_dir_all(stage.home()).unwrap();
        assert_eq!(stage.context(), Some(2000));
        assert!(!stage.home().exists(), "no home is made");
    }
}
