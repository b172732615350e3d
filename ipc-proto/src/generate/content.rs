//! The content of a turn: text and images.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The content of a turn: parts in order. Consecutive text is one part, and no text is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Content(Vec<ContentPart>);

/// One part of a turn's [`Content`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentPart {
    /// Text.
    Text(String),
    /// An image.
    Image(Image),
}

impl ContentPart {
    /// The text of a text part.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The image of an image part.
    pub fn as_image(&self) -> Option<&Image> {
        if let Self::Image(image) = self { Some(image) } else { None }
    }
}

impl Content {
    /// The parts in order.
    pub fn parts(&self) -> &[ContentPart] {
        &self.0
    }

    /// Whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All text parts, joined.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0[..] {
            [ContentPart::Text(text)] => Cow::Borrowed(text),
            _ => self.texts().collect(),
        }
    }

    /// The text parts.
    pub fn texts(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().filter_map(ContentPart::as_text)
    }

    /// The images.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.0.iter().filter_map(ContentPart::as_image)
    }

    /// The images, for changes in place.
    pub fn images_mut(&mut self) -> impl Iterator<Item = &mut Image> {
        self.0
            .iter_mut()
            .filter_map(|part| if let ContentPart::Image(image) = part { Some(image) } else { None })
    }

    /// The text parts, for changes in place. A text must not become empty.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.0
            .iter_mut()
            .filter_map(|part| if let ContentPart::Text(text) = part { Some(text) } else { None })
    }

    /// Inserts text at the beginning.
    pub fn prepend_text(&mut self, text: &str) {
        match self.0.first_mut() {
            Some(ContentPart::Text(first)) => first.insert_str(0, text),
            _ if text.is_empty() => {}
            _ => self.0.insert(0, ContentPart::Text(text.to_owned())),
        }
    }

    /// Appends text.
    pub fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(ContentPart::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push(ContentPart::Text(text.to_owned())),
        }
    }

    /// Appends an image.
    pub fn push_image(&mut self, image: Image) {
        self.0.push(ContentPart::Image(image));
    }

    /// Appends the parts of `other`.
    pub fn append(&mut self, other: &Self) {
        for part in &other.0 {
            match part {
                ContentPart::Text(text) => self.push_text(text),
                ContentPart::Image(image) => self.push_image(image.clone()),
            }
        }
    }

    /// Puts `text` in the place of each image.
    #[must_use]
    pub fn with_images_as(&self, text: &str) -> Self {
        let mut content = Self::default();
        for part in &self.0 {
            content.push_text(part.as_text().unwrap_or(text));
        }
        content
    }
}

/// An image of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Where its bytes are.
    pub source: ImageSource,
    /// The resolution that the client wants.
    pub detail: ImageDetail,
}

/// Where the bytes of an image are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageSource {
    /// Here: the content of a file, in a format that its bytes show.
    Data(Bytes),
    /// At an address of http or https, which only the gateway may fetch.
    Url(String),
    /// In a file of the run directory, so that frames stay small. The gateway deletes it when the request ends.
    File(PathBuf),
}

impl fmt::Debug for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(bytes) => write!(f, "Data({} bytes)", bytes.len()),
            Self::Url(url) => write!(f, "Url({} bytes)", url.len()),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The resolution in which a model sees an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ImageDetail {
    /// As the model's processor decides.
    #[default]
    Auto,
    /// At most 512 pixels wide and high.
    Low,
    /// As much as the processor allows.
    High,
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::default() } else { Self(vec![ContentPart::Text(text)]) }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Image> for Content {
    fn from(image: Image) -> Self {
        Self(vec![ContentPart::Image(image)])
    }
}
