//! Selects the weight files of a folder, and names missing ones.
//!
//! mlx-lm 0.32.2 reads every `model*.safetensors` and ignores the index. Transformers 5.24 reads `model.safetensors` or else
//! the index. Published folders have indexes of another conversion, shards without an index, and stray copies. The rules here
//! accept what either library loads, and refuse cut downloads by the name of the missing file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::{files, json};

/// The file of weights that are not split.
pub const SINGLE: &str = "model.safetensors";
/// The index of split weights.
pub const INDEX: &str = "model.safetensors.index.json";
/// Bytes. No supported model has a larger index.
const MAX_INDEX: u64 = 256 << 20;

/// The weight files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightFiles {
    /// Paths, sorted.
    pub files: Vec<PathBuf>,
    /// The file name for each tensor of the index, if the files are those of the index. Where several files have a tensor of
    /// that name, this one counts.
    pub index: BTreeMap<String, String>,
}

/// The reason why a folder has no usable weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The missing or wrong file.
    pub file: PathBuf,
    /// A sentence without the file name.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.file_name().unwrap_or_default().to_string_lossy(), self.text)
    }
}

/// Describes the beginning of a file that is no safetensors file, if it is a known one.
pub fn describe_other_content(start: &[u8]) -> Option<&'static str> {
    let html = ["<!", "<html", "<HTML"];
    if start.starts_with(b"version https://git-lfs") {
        return Some("is a pointer of Git LFS, not the file itself: run `git lfs pull`");
    }
    html.iter()
        .any(|tag| start.starts_with(tag.as_bytes()))
        .then_some("is a page in HTML, no safetensors file: download it again")
}

/// `prefix-00001-of-00002.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    prefix: String,
    /// The number of shards, as written.
    count: String,
}

impl Series {
    /// The series of a file name, and the number in it.
    fn parse(name: &str) -> Option<(Self, u64)> {
        let (rest, count) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (is_number(number) && is_number(count)).then_some(())?;
        Some((Self { prefix: prefix.to_owned(), count: count.to_owned() }, number.parse().ok()?))
    }

    /// File names of all shards. Lazy: the number in a name may be huge.
    fn names(&self) -> impl Iterator<Item = String> + '_ {
        let (count, width) = (self.count.parse::<u64>().unwrap_or(0), self.count.len());
        (1..=count).map(move |n| format!("{}-{n:0width$}-of-{}.safetensors", self.prefix, self.count))
    }
}

/// The files of a folder, by name.
struct Listing<'a> {
    folder: &'a Path,
    /// Names that end in `.safetensors`. Hidden files, like the `._` files of macOS, are left out.
    present: BTreeSet<String>,
    /// Symbolic links that lead nowhere: Hugging Face's cache has them after a download that was interrupted.
    dangling: BTreeSet<String>,
}

/// Selects the weight files of `folder`.
///
/// # Errors
/// If there are none, or files are missing.
pub fn find(folder: &Path) -> Result<WeightFiles, Problem> {
    let listing = Listing::read(folder)?;
    let index = read_index(folder);
    if let Ok(Some(index)) = &index
        && let Some(files) = listing.indexed(index)?
    {
        return Ok(files);
    }
    let files = listing.unindexed();
    match (index, files) {
        (_, Ok(files)) => Ok(files),
        // The index is the better explanation.
        (Err(problem), Err(_)) => Err(problem),
        (Ok(Some(index)), Err(problem)) => {
            Err(index.values().min().map_or(problem, |name| listing.missing(name)))
        }
        (Ok(None), Err(problem)) => Err(problem),
    }
}

impl<'a> Listing<'a> {
    fn read(folder: &'a Path) -> Result<Self, Problem> {
        let unreadable =
            |e: std::io::Error| Problem { file: folder.to_owned(), text: format!("cannot be read: {e}") };
        let mut listing = Self { folder, present: BTreeSet::new(), dangling: BTreeSet::new() };
        for entry in fs::read_dir(folder).map_err(unreadable)?.filter_map(Result::ok) {
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if name.starts_with('.') || !name.ends_with(".safetensors") {
                continue;
            }
            match fs::metadata(entry.path()) {
                Err(e) if e.kind() == ErrorKind::NotFound => drop(listing.dangling.insert(name)),
                _ => drop(listing.present.insert(name)),
            }
        }
        Ok(listing)
    }

    /// The files of an index. `None` if the index is of another conversion, which is to be ignored.
    fn indexed(&self, index: &BTreeMap<String, String>) -> Result<Option<WeightFiles>, Problem> {
        let mut names: BTreeSet<String> = index.values().cloned().collect();
        // A shard may lie in a folder below.
        let exists = |name: &String| self.present.contains(name) || self.folder.join(name).exists();
        let missing: Vec<&String> = names.iter().filter(|name| !exists(name)).collect();
        if names.is_empty() || missing.len() == names.len() {
            return Ok(None);
        }
        if let Some(name) = missing.first() {
            // Unsplit weights need no index.
            if self.present.contains(SINGLE) && !names.contains(SINGLE) {
                return Ok(None);
            }
            return Err(self.missing(name));
        }
        // An index that was cut by hand may omit shards of the same series.
        let series: BTreeSet<Series> = names.iter().filter_map(|name| Some(Series::parse(name)?.0)).collect();
        for series in series {
            names.extend(self.present.iter().filter(|name| is_in_series(name, &series)).cloned());
        }
        Ok(Some(WeightFiles { files: self.paths(&names), index: index.clone() }))
    }

    /// The files of a folder without a usable index.
    fn unindexed(&self) -> Result<WeightFiles, Problem> {
        if self.present.contains(SINGLE) {
            return Ok(self.without_index([SINGLE.to_owned()]));
        }
        if self.dangling.contains(SINGLE) {
            return Err(self.missing(SINGLE));
        }
        let is_model = |name: &&String| name.starts_with("model");
        let all = self.present.iter().chain(&self.dangling).filter(is_model);
        let series: BTreeSet<Series> = all.filter_map(|name| Some(Series::parse(name)?.0)).collect();
        let mut problem = None;
        for series in &series {
            match series.names().find(|name| !self.present.contains(name)) {
                None if series.names().next().is_some() => {
                    return Ok(self.without_index(series.names()));
                }
                None => {}
                Some(name) => drop(problem.get_or_insert_with(|| self.missing(&name))),
            }
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        if let Some(name) = self.dangling.iter().find(is_model) {
            return Err(self.missing(name));
        }
        let models: Vec<String> = self.present.iter().filter(is_model).cloned().collect();
        if !models.is_empty() {
            return Ok(self.without_index(models));
        }
        Err(Problem { file: self.folder.join(SINGLE), text: self.nothing() })
    }

    fn nothing(&self) -> String {
        let others: Vec<&str> = self.present.iter().chain(&self.dangling).map(String::as_str).collect();
        match others.as_slice() {
            [] => "there are no weights: the folder has no safetensors files".into(),
            [first, ..] => {
                format!(
                    "there are no weights: of {} safetensors files, like {first}, none has a name that begins with \"model\"",
                    others.len()
                )
            }
        }
    }

    fn without_index(&self, names: impl IntoIterator<Item = String>) -> WeightFiles {
        WeightFiles { files: self.paths(&names.into_iter().collect()), index: BTreeMap::new() }
    }

    fn paths(&self, names: &BTreeSet<String>) -> Vec<PathBuf> {
        names.iter().map(|name| self.folder.join(name)).collect()
    }

    fn missing(&self, name: &str) -> Problem {
        let text = if self.dangling.contains(name) {
            "is missing, its link leads nowhere: the download is incomplete"
        } else {
            "is missing: the download is incomplete"
        };
        Problem { file: self.folder.join(name), text: text.into() }
    }
}

fn is_in_series(name: &str, series: &Series) -> bool {
    Series::parse(name).is_some_and(|(own, _)| own == *series)
}

/// The `weight_map` of the index: file names by tensor. `None` without an index.
fn read_index(folder: &Path) -> Result<Option<BTreeMap<String, String>>, Problem> {
    let path = folder.join(INDEX);
    let problem = |text: String| Problem { file: path.clone(), text };
    let text = match files::read_text(&path, MAX_INDEX) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(problem(format!("cannot be read: {e}"))),
    };
    let value = json::parse(&text).map_err(|e| problem(e.to_string()))?;
    let map = value.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| problem("\"weight_map\" is missing".into()))?;
    let mut index = BTreeMap::new();
    for (tensor, name) in map {
        let name = name.as_str().unwrap_or_default();
        let mut parts = Path::new(name).components();
        if name.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(problem(format!("shard \"{name}\" lies outside the folder")));
        }
        index.insert(tensor.clone(), name.to_owned());
    }
    Ok(Some(index))
}

#[cfg(test)]
mod tests;
