//! Images on their way to a worker. A model that reads text only gets none. For others each image becomes a file of the run folder,
//! which crosses the process where frames are too small.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::body::Bytes;
use ipc_proto::gateway::{IMAGES, ImageUrls};
use ipc_proto::generate::{ImageSource, Prompt};
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};

use super::LocalBackend;
use crate::access::Tenant;
use crate::inference::course::Course;
use crate::inference::image_files::ImageFile;
use crate::inference::images::{FORMATS, leave_out, media_type, user_sends_one};
use crate::store::instance::GatewayInstance;

mod addresses;
mod fetch;

use fetch::Fetcher;

/// The most bytes of all images of one prompt, those of addresses included.
const MAX_PROMPT_IMAGE_BYTES: usize = 256 << 20;

/// The folder of this gateway's images.
pub(super) struct ImageFolder {
    /// The folder of all gateways' images.
    all: PathBuf,
    /// Says which gateways are alive.
    instance: Arc<GatewayInstance>,
    fetcher: Fetcher,
}

impl ImageFolder {
    /// A folder in the run folder. Nothing is made before the first image.
    pub(super) fn new(run: &Path) -> Self {
        let all = run.join(IMAGES);
        let instance = Arc::new(GatewayInstance::new(&all));
        Self { all, instance, fetcher: Fetcher::new(ImageUrls::default()) }
    }

    /// The same folder, for images that may come from these addresses.
    pub(super) fn with_urls(self, urls: ImageUrls) -> Self {
        Self { fetcher: Fetcher::new(urls), ..self }
    }

    /// Deletes the images of gateways that are no more. A gateway that drains keeps its own.
    pub(super) fn delete_left(&self) {
        let Ok(entries) = fs::read_dir(&self.all) else { return };
        for entry in entries.filter_map(io::Result::ok) {
            let name = entry.file_name();
            // A gateway is locked before it makes its folder.
            let is_folder = name.to_str().is_some_and(|name| name != GatewayInstance::FOLDER);
            if is_folder && !name.to_str().is_some_and(|name| self.instance.is_alive(name)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Writes an image for a worker.
    async fn write(&self, data: Bytes) -> Result<ImageFile> {
        let (instance, folder) = (Arc::clone(&self.instance), self.all.join(self.instance.name()));
        // The task's result owns the file, so it is deleted even if nobody waits any more.
        let written = tokio::task::spawn_blocking(move || write(&instance, &folder, &data)).await;
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| {
            tracing::error!(%error, "an image could not be written for its worker");
            Error::new(ErrorKind::Internal, Origin::Gateway, "the image could not be written for the model")
        })
    }
}

fn write(instance: &GatewayInstance, folder: &Path, data: &[u8]) -> io::Result<ImageFile> {
    instance.acquire_lock()?;
    DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
    let path = folder.join(uuid::Uuid::new_v4().simple().to_string());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let owner = ImageFile::new(path);
    file.write_all(data)?;
    Ok(owner)
}

impl LocalBackend {
    /// Makes the images of a prompt what the model's worker takes: files, or texts that stand for them.
    ///
    /// # Errors
    /// The model reads text only and the user's newest turn has an image; an image cannot be fetched.
    pub(super) async fn prepare_images(
        &self,
        (model, sender, course): (&str, &Tenant, &Course),
        prompt: &mut Prompt,
    ) -> Result<()> {
        let Prompt::Chat(chat) = prompt else { return Ok(()) };
        if !self.fleet.model(model).await?.details.capabilities.vision {
            if user_sends_one(&chat.messages) {
                return Err(self.refuse_images(model, sender).await);
            }
            leave_out(&mut chat.messages);
            return Ok(());
        }
        let mut bytes = 0;
        for image in chat.messages.iter_mut().flat_map(|message| message.content.images_mut()) {
            let path = match course.image_files().find(&image.source) {
                Some(path) => path,
                None => {
                    let data = self.load(&image.source).await?;
                    bytes += data.len();
                    if bytes > MAX_PROMPT_IMAGE_BYTES {
                        let most = MAX_PROMPT_IMAGE_BYTES >> 20;
                        let text = format!("the images of a request have at most {most} MiB together");
                        return Err(Error::invalid(Field::Messages, text));
                    }
                    let file = self.images.write(data).await?;
                    course.image_files().keep(image.source.clone(), file)
                }
            };
            image.source = ImageSource::File(path);
        }
        Ok(())
    }

    async fn load(&self, source: &ImageSource) -> Result<Bytes> {
        let data = match source {
            ImageSource::Data(data) => data.clone(),
            ImageSource::Url(url) => self.images.fetcher.fetch(url).await?,
            // No protocol has it.
            ImageSource::File(_) => return Err(Error::invalid(Field::Messages, "files are not read")),
        };
        if media_type(&data).is_none() {
            return Err(Error::invalid(Field::Messages, format!("the image is no {FORMATS}")));
        }
        Ok(data)
    }

    /// The refusal of images by a model that reads text only. It names a model that the sender may use instead.
    async fn refuse_images(&self, model: &str, sender: &Tenant) -> Error {
        let models = self.fleet.models().await.unwrap_or_default();
        let other = models.into_iter().find(|entry| {
            let details = &entry.details;
            let sees = details.capabilities.vision && !details.unserved && details.problem.is_none();
            sees && sender.check_model(&entry.id).is_ok()
        });
        let text = match other {
            Some(other) => format!("the model \"{model}\" reads text only; \"{}\" reads images", other.id),
            None => format!("the model \"{model}\" reads text only, and the newest turn has an image"),
        };
        Error::invalid(Field::Messages, text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn images_are_private_files_that_go_with_their_owner() {
        let run = tempfile::tempdir().unwrap();
        let folder = ImageFolder::new(run.path());
        let (first, second) =
            (folder.write("a".into()).await.unwrap(), folder.write("b".into()).await.unwrap());
        assert_ne!(first.path(), second.path());
        assert_eq!(fs::read(first.path()).unwrap(), b"a");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(first.path()), mode(first.path().parent().unwrap())), (0o600, 0o700));
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && second.path().exists());
    }

    #[tokio::test]
    async fn only_images_of_dead_gateways_are_left() {
        let run = tempfile::tempdir().unwrap();
        let (dead, alive) = (ImageFolder::new(run.path()), ImageFolder::new(run.path()));
        let (left, kept) = (dead.write("a".into()).await.unwrap(), alive.write("b".into()).await.unwrap());
        let path = left.path().to_owned();
        std::mem::forget(left);
        drop(dead);
        assert!(path.exists(), "a killed gateway deletes nothing");
        ImageFolder::new(run.path()).delete_left();
        assert!(!path.exists() && kept.path().exists());
    }
}
