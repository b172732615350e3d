//! The images of conversations: from a file's bytes to what the vision tower takes, and to their places in a prompt.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use image_input::{Detail, Limits, Prepared, Processor};
use ipc_proto::generate::{ChatPrompt, Image, ImageDetail, ImageSource};
use ipc_proto::{Error, ErrorKind, Field, Origin, Result, families};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::engine::images::{PromptImage, PromptImages};
use crate::text::model_files;
use crate::text::tokenizer::Tokenizer;
use crate::weights::safetensors::Shards;

mod places;

pub use places::{Text, filled};

/// Most bytes of pixel values that are kept: a conversation sends its images again with each turn.
const KEPT_BYTES: usize = 128 << 20;

/// Prepares images for one model.
#[derive(Debug)]
pub struct ImageReader {
    processor: Processor,
    /// The id of the token that stands for a feature.
    token: u32,
    /// Whether the model numbers tokens by time, row and column.
    has_axes: bool,
    kept: Mutex<Kept>,
}

/// The last images; the last one used is last.
type Kept = Vec<(Key, Arc<Prepared>)>;

/// SHA-256 of an image's bytes, and what the client wants to see of it.
type Key = ([u8; 32], ImageDetail);

impl ImageReader {
    /// Reads how the model in `folder` takes images.
    ///
    /// # Errors
    /// A sentence: the reason why it takes none.
    pub fn read(folder: &Path, config: &Value, tokenizer: &Tokenizer) -> Result<Self, String> {
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let blind = || "this model reads text only".to_owned();
        let is_described = config.get("vision_config").is_some_and(Value::is_object);
        if !families::sees(model_type) || !is_described || !has_tower(folder) {
            return Err(blind());
        }
        let [preprocessor, processor] =
            ["preprocessor_config.json", "processor_config.json"].map(|name| model_files::json(folder, name));
        let [preprocessor, processor] = [preprocessor?, processor?];
        let given = |value: &Value| !value.is_null();
        let processor = Processor::new(
            config,
            Some(&preprocessor).filter(|value| given(value)),
            Some(&processor).filter(|value| given(value)),
        )?;
        let processor = processor.ok_or_else(blind)?;
        let token = processor.image_token();
        let token = tokenizer.id(token).ok_or_else(|| format!("the tokenizer has no token {token}"))?;
        Ok(Self { processor, token, has_axes: has_axes(config), kept: Mutex::default() })
    }

    /// Prepares all images of a conversation, in order.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn prepare_all(&self, chat: &ChatPrompt) -> Result<Vec<Arc<Prepared>>> {
        let images = chat.messages.iter().flat_map(|message| message.content.images());
        images.map(|image| self.prepare(image)).collect()
    }

    fn prepare(&self, image: &Image) -> Result<Arc<Prepared>> {
        let bytes = bytes(&image.source)?;
        let key = (Sha256::digest(&bytes).into(), image.detail);
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = find(&mut kept(), &key) {
            return Ok(found);
        }
        let picture = image_input::decode(&bytes, Limits::default());
        let prepared = picture.and_then(|picture| self.processor.prepare(&picture, detail(image.detail)));
        let prepared = prepared.map_err(|error| Error::invalid(Field::Messages, error.to_string()))?;
        let prepared = Arc::new(prepared);
        let mut kept = kept();
        kept.push((key, Arc::clone(&prepared)));
        forget_oldest(&mut kept);
        Ok(prepared)
    }

    /// The prompt with the text of each image in its place.
    ///
    /// # Errors
    /// When the template has not exactly one place for each image.
    pub fn fill(&self, text: Text, images: &[Arc<Prepared>]) -> Result<Text> {
        let texts: Vec<&str> = images.iter().map(|image| image.text.as_str()).collect();
        filled(text, self.processor.placeholder(), &texts).map_err(|found| {
            let text = format!(
                "the chat template makes {found} places for {} images; is \"{}\" in a text?",
                images.len(),
                self.processor.placeholder()
            );
            Error::invalid(Field::Messages, text)
        })
    }

    /// Which tokens of the prompt stand for which image.
    ///
    /// # Errors
    /// When there are more or fewer of them than the images have.
    pub fn locate(&self, tokens: &[u32], images: Vec<Arc<Prepared>>) -> Result<PromptImages> {
        let mut indices = (0u32..).zip(tokens).filter(|(_, token)| **token == self.token).map(|(at, _)| at);
        let mut own = |image: Arc<Prepared>| {
            let tokens: Arc<[u32]> = indices.by_ref().take(image.features as usize).collect();
            (tokens.len() == image.features as usize).then_some(PromptImage { image, tokens })
        };
        let located: Option<Vec<_>> = images.into_iter().map(&mut own).collect();
        match located {
            Some(located) if indices.next().is_none() => {
                Ok(if self.has_axes { PromptImages::with_axes(located) } else { PromptImages::new(located) })
            }
            _ => {
                let text = format!(
                    "the tokens of the images are not all in the prompt; is \"{}\" in a text?",
                    self.processor.image_token()
                );
                Err(Error::invalid(Field::Messages, text))
            }
        }
    }
}

/// Whether the folder has the weights of a vision tower. Many conversions leave them out.
fn has_tower(folder: &Path) -> bool {
    Shards::open(folder).is_ok_and(|shards| shards.names().any(families::is_vision_tensor))
}

/// Whether the language model's rotary embedding turns by time, row and column.
fn has_axes(config: &Value) -> bool {
    let text = config.get("text_config").unwrap_or(config);
    let fields = ["rope_scaling", "rope_parameters"];
    [config, text].iter().any(|config| {
        fields.iter().any(|field| config.get(field).is_some_and(|rope| rope.get("mrope_section").is_some()))
    })
}

fn bytes(source: &ImageSource) -> Result<Vec<u8>> {
    match source {
        ImageSource::Data(bytes) => Ok(bytes.to_vec()),
        ImageSource::File(path) => std::fs::read(path).map_err(|error| {
            Error::new(ErrorKind::Internal, Origin::Worker, format!("{}: {error}", path.display()))
        }),
        ImageSource::Url(_) => {
            Err(Error::new(ErrorKind::Internal, Origin::Worker, "a worker fetches no images"))
        }
    }
}

fn detail(detail: ImageDetail) -> Detail {
    match detail {
        ImageDetail::Auto => Detail::Auto,
        ImageDetail::Low => Detail::Low,
        ImageDetail::High => Detail::High,
    }
}

fn find(kept: &mut Kept, key: &Key) -> Option<Arc<Prepared>> {
    let at = kept.iter().position(|(known, _)| known == key)?;
    kept[at..].rotate_left(1);
    kept.last().map(|(_, prepared)| Arc::clone(prepared))
}

/// Drops what was not used for longest, except the last.
fn forget_oldest(kept: &mut Kept) {
    let bytes = |(_, prepared): &(Key, Arc<Prepared>)| size_of_val(prepared.pixels.as_slice());
    let mut total: usize = kept.iter().map(bytes).sum();
    while total > KEPT_BYTES && kept.len() > 1 {
        total -= bytes(&kept.remove(0));
    }
}

#[cfg(test)]
mod tests;
