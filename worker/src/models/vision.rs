//! Vision towers: from the pixels of an image to the features that stand for its tokens.

use image_input::Prepared;
use mlx_rs::Array;

use crate::layers::Result;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

mod clip;
mod gemma3;
mod idefics3;
mod llava;
pub mod names;
mod patch_grid;
mod pixtral;
mod qwen2_vl;
mod qwen3_vl;
mod siglip;

/// The first part of the names of a tower's tensors.
const TOWER: &str = "vision_tower";

/// A vision tower and what projects its output to the language model's width D.
pub trait VisionTower: std::fmt::Debug {
    /// The features of one image.
    ///
    /// # Errors
    /// When the device fails.
    fn encode(&self, image: &Prepared) -> Result<Features>;
}

/// The features of one image of N tokens.
#[derive(Debug, Clone)]
pub struct Features {
    /// In the place of the tokens' embeddings, `[N, D]`.
    pub rows: Array,
    /// Added to the hidden states after the first layers, one for each layer, `[N, D]` each. Most towers have none.
    pub deep: Vec<Array>,
}

/// Builds a tower from its weights. With a checking loader it only checks them.
pub type BuildTower = fn(&Loader) -> Result<Box<dyn VisionTower>, LoadError>;

/// Every `model_type` whose images are read.
const TOWERS: [(&str, BuildTower); 11] = [
    ("gemma3", |loader| Ok(Box::new(gemma3::Gemma3::load(loader)?))),
    ("idefics3", |loader| Ok(Box::new(idefics3::Idefics3::load(loader)?))),
    ("llava", |loader| Ok(Box::new(llava::Llava::load(loader)?))),
    ("mistral3", |loader| Ok(Box::new(pixtral::Mistral3::load(loader)?))),
    ("qwen2_5_vl", |loader| Ok(Box::new(qwen2_vl::Qwen2Vl::load_2_5(loader)?))),
    ("qwen2_vl", |loader| Ok(Box::new(qwen2_vl::Qwen2Vl::load(loader)?))),
    ("qwen3_5", |loader| Ok(Box::new(qwen3_vl::Qwen3Vl::load(loader)?))),
    ("qwen3_5_moe", |loader| Ok(Box::new(qwen3_vl::Qwen3Vl::load(loader)?))),
    ("qwen3_vl", |loader| Ok(Box::new(qwen3_vl::Qwen3Vl::load(loader)?))),
    ("qwen3_vl_moe", |loader| Ok(Box::new(qwen3_vl::Qwen3Vl::load(loader)?))),
    ("smolvlm", |loader| Ok(Box::new(idefics3::Idefics3::load(loader)?))),
];

/// The builder of the tower of `model_type`; `None` if only its text is read.
pub fn find(model_type: &str) -> Option<BuildTower> {
    TOWERS.iter().find(|(name, _)| *name == model_type).map(|(_, build)| *build)
}

/// The pixels of an image as an array of its shape.
fn pixels(image: &Prepared) -> Array {
    let shape: Vec<i32> = image.shape.iter().map(|size| *size as i32).collect();
    Array::from_slice(&image.pixels, &shape)
}

/// After how many of `layers` layers a tower is read, by `vision_feature_layer`: an index of the states before and after each layer, from
/// the end if it is negative.
fn feature_layers(index: i64, layers: usize) -> Result<usize, String> {
    let states = layers as i64 + 1;
    let at = if index < 0 { states.saturating_add(index) } else { index };
    let found = usize::try_from(at).ok().filter(|at| *at <= layers);
    found.ok_or_else(|| format!("vision_feature_layer is {index}, but the tower has {layers} layers"))
}

#[cfg(test)]
mod tests {
    use ipc_proto::families;

    use super::*;

    #[test]
    fn towers_are_read_after_a_layer() {
        assert_eq!([-1, -2, 0, 3].map(|index| feature_layers(index, 24)), [Ok(24), Ok(23), Ok(0), Ok(3)]);
        assert!(feature_layers(25, 24).is_err() && feature_layers(-26, 24).is_err());
    }

    #[test]
    fn towers_match_the_families_in_ipc_proto() {
        assert_eq!(TOWERS.map(|(name, _)| name), families::SEEING);
    }
}
