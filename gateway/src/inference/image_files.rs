//! The files of a request's images, for workers. They are deleted with the request, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ipc_proto::generate::ImageSource;

/// A file that is deleted when its owner goes.
#[derive(Debug)]
pub struct ImageFile(PathBuf);

impl ImageFile {
    /// The owner of the file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ImageFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(%error, "the file of an image was not there to delete");
        }
    }
}

/// The files of the images of one request.
#[derive(Debug, Default)]
pub struct ImageFiles(Mutex<Vec<(ImageSource, ImageFile)>>);

impl ImageFiles {
    /// The file of an image that an earlier attempt has written.
    pub fn find(&self, source: &ImageSource) -> Option<PathBuf> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().find(|(known, _)| known == source).map(|(_, file)| file.path().to_owned())
    }

    /// Keeps the file of an image until the request ends. Returns its path.
    pub fn keep(&self, source: ImageSource, file: ImageFile) -> PathBuf {
        let path = file.path().to_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((source, file));
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_with_their_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "x").unwrap();
        let files = ImageFiles::default();
        let source = ImageSource::Url("https://a.example/".into());
        assert_eq!(files.find(&source), None);
        assert_eq!(files.keep(source.clone(), ImageFile::new(path.clone())), path);
        assert_eq!(files.find(&source).as_deref(), Some(&*path));
        drop(files);
        assert!(!path.exists());
    }
}
