//! A file on its way: its data, and a log of the ranges that are there.
//!
//! The log has a line for each piece, written after the data, so a killed process leaves no line for bytes that are missing. A loss
//! of power may; the digest finds that out. The names differ from huggingface_hub's `DIGEST.incomplete`: its older versions take
//! such a file for whole once it is as long as the content, gaps or not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::ranges::Ranges;
use crate::cache::Repository;

/// A file on its way.
#[derive(Debug)]
pub(super) struct Partial {
    data: File,
    log: Mutex<File>,
    paths: Paths,
}

#[derive(Debug)]
struct Paths {
    data: PathBuf,
    log: PathBuf,
}

impl Paths {
    fn new(repository: &Repository, etag: &str) -> Self {
        let blobs = repository.blobs();
        Self {
            data: blobs.join(format!("{etag}.mlxd.incomplete")),
            log: blobs.join(format!("{etag}.mlxd.ranges")),
        }
    }

    /// The ranges that an earlier process has downloaded. None if one of the two files is missing or is for another size.
    fn read(&self, size: u64) -> Ranges {
        let length = fs::metadata(&self.data).map_or(0, |meta| meta.len());
        match fs::read_to_string(&self.log) {
            Ok(text) if length == size => parse(&text, size),
            _ => Ranges::default(),
        }
    }
}

/// The ranges of a log. The last line may be cut off.
fn parse(text: &str, size: u64) -> Ranges {
    let mut ranges = Ranges::default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let bounds =
            line.split_once(' ').and_then(|(begin, end)| Some(begin.parse().ok()?..end.parse().ok()?));
        if let Some(range) = bounds.filter(|range: &Range<u64>| range.end <= size) {
            ranges.insert(range);
        }
    }
    ranges
}

fn line(range: &Range<u64>) -> String {
    format!("{} {}\n", range.start, range.end)
}

impl Partial {
    /// Bytes that an earlier process has left.
    pub(super) fn present(repository: &Repository, etag: &str, size: u64) -> u64 {
        Paths::new(repository, etag).read(size).total()
    }

    /// Opens or creates a file of `size` bytes. Returns the ranges that are there.
    pub(super) fn open(repository: &Repository, etag: &str, size: u64) -> io::Result<(Self, Ranges)> {
        let paths = Paths::new(repository, etag);
        let ranges = paths.read(size);
        let data =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&paths.data)?;
        data.set_len(size)?;
        // Written anew: a line that was cut off must not run into the next, and short logs are read faster.
        let text: String = ranges.iter().map(|range| line(&range)).collect();
        let new = paths.log.with_extension("ranges.new");
        fs::write(&new, text)?;
        fs::rename(&new, &paths.log)?;
        let log = Mutex::new(OpenOptions::new().append(true).open(&paths.log)?);
        Ok((Self { data, log, paths }, ranges))
    }

    /// The path of the data.
    pub(super) fn path(&self) -> &Path {
        &self.paths.data
    }

    /// Writes bytes, then their line.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.data.write_all_at(bytes, at)?;
        let line = line(&(at..at + bytes.len() as u64));
        let mut log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        log.write_all(line.as_bytes())
    }

    /// Reads bytes that have been written.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.data.read_exact_at(buffer, at)
    }

    /// Makes the complete file the blob.
    pub(super) fn complete(&self, blob: &Path) -> io::Result<()> {
        self.data.sync_all()?;
        fs::rename(&self.paths.data, blob)?;
        fs::remove_file(&self.paths.log)
    }

    /// Removes the file.
    pub(super) fn discard(&self) -> io::Result<()> {
        for path in [&self.paths.log, &self.paths.data] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;

    fn repository(folder: &Path) -> Repository {
        let repository = Cache::new(folder).repository("o/m");
        repository.prepare().unwrap();
        repository
    }

    #[test]
    fn second_process_finds_what_the_first_has_written() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let (partial, ranges) = Partial::open(&repository, "e", 10).unwrap();
        assert_eq!(ranges.total(), 0);
        partial.write(4, b"ef").unwrap();
        partial.write(0, b"ab").unwrap();
        drop(partial);
        assert_eq!(Partial::present(&repository, "e", 10), 4);
        let (partial, ranges) = Partial::open(&repository, "e", 10).unwrap();
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [0..2, 4..6]);
        partial.write(2, b"cd").unwrap();
        let mut bytes = [0; 6];
        partial.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"abcdef");
        partial.complete(&repository.blob("e")).unwrap();
        assert_eq!(fs::read_dir(repository.blobs()).unwrap().count(), 1);
    }

    #[test]
    fn log_without_its_data_or_for_another_size_counts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        Partial::open(&repository, "e", 10).unwrap().0.write(0, b"abc").unwrap();
        assert_eq!(Partial::present(&repository, "e", 11), 0);
        fs::remove_file(repository.blobs().join("e.mlxd.incomplete")).unwrap();
        assert_eq!(Partial::present(&repository, "e", 10), 0);
        let (partial, ranges) = Partial::open(&repository, "e", 10).unwrap();
        assert_eq!(ranges.total(), 0);
        partial.discard().unwrap();
        assert_eq!(fs::read_dir(repository.blobs()).unwrap().count(), 0);
    }

    #[test]
    fn cut_and_strange_lines_are_left_out() {
        assert_eq!(parse("0 5\nx y\n7 99\n8 9\n5 1", 10).iter().collect::<Vec<_>>(), [0..5, 8..9]);
    }
}
