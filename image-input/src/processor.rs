//! Which family a model's images belong to, and what all families share.

use serde_json::Value;

use crate::error::ImageError;
use crate::families::{gemma3, gemma4, idefics3, internvl, llava, paligemma, pixtral, qwen};
use crate::fields::{Files, plain};
use crate::picture::Picture;
use crate::prepared::Prepared;
use crate::resample::Filter;

/// How much of a picture the client wants to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// As the model's processor decides.
    #[default]
    Auto,
    /// At most 512 pixels a side before the processor sees it.
    Low,
    /// As the model's processor decides, too: it takes as much as the model can.
    High,
}

/// Makes what a model's vision tower takes.
#[derive(Debug, Clone)]
pub struct Processor {
    family: Family,
    placeholder: String,
    image_token: String,
}

/// Families differ in how they cut a picture and in the text they write.
#[derive(Debug, Clone)]
enum Family {
    Idefics3(idefics3::Idefics3),
    Qwen(qwen::Qwen),
    Gemma3(gemma3::Gemma3),
    Llava(llava::Llava),
    Pixtral(pixtral::Pixtral),
    InternVl(internvl::InternVl),
    PaliGemma(paligemma::PaliGemma),
    Gemma4(gemma4::Gemma4),
}

impl Processor {
    /// Reads a model folder's settings.
    ///
    /// - `config`: `config.json`.
    /// - `preprocessor`: `preprocessor_config.json`, or the part `image_processor` of `processor_config.json`.
    /// - `processor`: `processor_config.json`. Its part `image_processor`, if any, is taken instead of `preprocessor`, as in Transformers.
    ///
    /// `None` if `model_type` is no vision model that is known. Fields that are missing have Transformers' defaults, or follow
    /// `config.json` where the model's own numbers decide.
    ///
    /// # Errors
    ///
    /// A sentence that names the field that is not supported.
    pub fn new(
        config: &Value,
        preprocessor: Option<&Value>,
        processor: Option<&Value>,
    ) -> Result<Option<Self>, String> {
        let files = Files::new(config, preprocessor, processor);
        let class = files.image.text("image_processor_type").map(plain);
        let family = match files.model.text("model_type").unwrap_or_default() {
            "idefics3" | "smolvlm" => Family::Idefics3(idefics3::Idefics3::new(files)?),
            "qwen2_vl" | "qwen2_5_vl" | "qwen3_vl" | "qwen3_vl_moe" | "qwen3_5" | "qwen3_5_moe" => {
                Family::Qwen(qwen::Qwen::new(files)?)
            }
            "gemma3" => Family::Gemma3(gemma3::Gemma3::new(files)?),
            // Pixtral's first files call the whole model `llava`.
            "llava" if class != Some("Pixtral") => Family::Llava(llava::Llava::new(files)?),
            "llava" | "mistral3" | "pixtral" => Family::Pixtral(pixtral::Pixtral::new(files)?),
            "internvl" => Family::InternVl(internvl::InternVl::new(files)?),
            "paligemma" => Family::PaliGemma(paligemma::PaliGemma::new(files)?),
            "gemma4" => Family::Gemma4(gemma4::Gemma4::new(files)?),
            _ => return Ok(None),
        };
        let (placeholder, image_token) = family.tokens(files);
        Ok(Some(Self { family, placeholder, image_token }))
    }

    /// Prepares one picture.
    ///
    /// # Errors
    ///
    /// If the model cannot take a picture of this shape.
    pub fn prepare(&self, picture: &Picture, detail: Detail) -> Result<Prepared, ImageError> {
        let small = match detail {
            Detail::Low => shrunk(picture)?,
            Detail::Auto | Detail::High => None,
        };
        let picture = small.as_ref().unwrap_or(picture);
        if picture.width == 0 || picture.height == 0 {
            return Err(ImageError::Empty);
        }
        let token = &self.image_token;
        match &self.family {
            Family::Idefics3(family) => family.prepare(picture, token),
            Family::Qwen(family) => family.prepare(picture, token),
            Family::Gemma3(family) => family.prepare(picture, token),
            Family::Llava(family) => family.prepare(picture, token),
            Family::Pixtral(family) => family.prepare(picture, token),
            Family::InternVl(family) => family.prepare(picture, token),
            Family::PaliGemma(family) => family.prepare(picture, token),
            Family::Gemma4(family) => family.prepare(picture, token),
        }
    }

    /// What chat templates write for one image; [`Prepared::text`] replaces it.
    ///
    /// The replacement may hold the placeholder itself, so replace each occurrence once, from the left.
    pub fn placeholder(&self) -> &str {
        &self.placeholder
    }

    /// The token, as text, that stands for one feature row in [`Prepared::text`].
    pub fn image_token(&self) -> &str {
        &self.image_token
    }
}

impl Family {
    /// The placeholder and the image token. Where a processor's files name the token, that name counts.
    fn tokens(&self, files: Files<'_>) -> (String, String) {
        let (placeholder, token) = match self {
            Self::Idefics3(_) | Self::PaliGemma(_) => ("<image>", "<image>"),
            Self::Qwen(_) => ("<|image_pad|>", "<|image_pad|>"),
            Self::Gemma3(_) => ("<start_of_image>", "<image_soft_token>"),
            Self::InternVl(_) => ("<IMG_CONTEXT>", "<IMG_CONTEXT>"),
            Self::Gemma4(_) => ("<|image|>", "<|image|>"),
            Self::Llava(_) => return named(files, "<image>"),
            Self::Pixtral(_) => return named(files, "[IMG]"),
        };
        (placeholder.into(), token.into())
    }
}

fn named(files: Files<'_>, default: &str) -> (String, String) {
    let token = files.processor.text("image_token").unwrap_or(default);
    (token.into(), token.into())
}

/// Most pixels a side at low detail.
const LOW: u32 = 512;

/// The picture with its longer side at [`LOW`], if it is longer.
fn shrunk(picture: &Picture) -> Result<Option<Picture>, ImageError> {
    let longer = picture.width.max(picture.height);
    if longer <= LOW {
        return Ok(None);
    }
    let side = |side: u32| (f64::from(side) * f64::from(LOW) / f64::from(longer)).round().max(1.0) as u32;
    picture.resized(side(picture.width), side(picture.height), Filter::Bicubic).map(Some)
}

#[cfg(test)]
mod tests;
