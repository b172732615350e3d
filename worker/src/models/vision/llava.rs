//! The vision part of LLaVA: CLIP's or Pixtral's tower, read before its end, and two linear layers.
//!
//! Liu et al. 2023 (<https://arxiv.org/abs/2304.08485>); reference: `modeling_llava.py` of Transformers 5.24.

use image_input::Prepared;
use mlx_rs::Array;
use serde::Deserialize;

use super::clip::Clip;
use super::pixtral::Pixtral;
use super::{Features, VisionTower, feature_layers, pixels, siglip};
use crate::layers::Result;
use crate::layers::tower_block::{PlainMlp, TowerActivation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The names of the two layers after the tower.
pub(super) const PROJECTOR: [&str; 2] = ["multi_modal_projector.linear_1", "multi_modal_projector.linear_2"];

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Args {
    pub(super) hidden_size: i32,
    pub(super) vision_feature_layer: Option<i64>,
    #[serde(default = "default_strategy")]
    pub(super) vision_feature_select_strategy: String,
    #[serde(default = "default_activation")]
    pub(super) projector_hidden_act: String,
    pub(super) multimodal_projector_bias: Option<bool>,
}

fn default_strategy() -> String {
    "default".into()
}

fn default_activation() -> String {
    "gelu".into()
}

/// Which tower a file has.
#[derive(Debug, Clone, Deserialize)]
struct Kind {
    vision_config: KindFields,
}

/// The fields of `vision_config` that tell.
#[derive(Debug, Clone, Deserialize)]
struct KindFields {
    model_type: Option<String>,
}

/// config.json with CLIP's tower.
#[derive(Debug, Clone, Deserialize)]
struct ClipArgs {
    vision_config: ClipFields,
}

/// The fields whose defaults are not those of SigLIP.
#[derive(Debug, Clone, Deserialize)]
struct ClipFields {
    #[serde(flatten)]
    shared: siglip::Args,
    layer_norm_eps: Option<f32>,
    hidden_act: Option<String>,
}

impl ClipFields {
    fn with_defaults(self) -> siglip::Args {
        let hidden_act = self.hidden_act.unwrap_or_else(|| "quick_gelu".into());
        self.shared.with(self.layer_norm_eps.unwrap_or(1e-5), hidden_act)
    }
}

/// The vision part.
#[derive(Debug)]
pub(super) struct Llava {
    tower: Tower,
    projector: PlainMlp,
}

#[derive(Debug)]
enum Tower {
    /// CLIP's; whether its first token is kept.
    Clip(Clip, bool),
    Pixtral(Pixtral),
}

impl Args {
    /// Loads the two layers that follow a tower of width `size`.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn projector(&self, loader: &Loader, size: i32) -> Result<PlainMlp, LoadError> {
        let activation = TowerActivation::from_name(&self.projector_hidden_act)
            .map_err(|problem| loader.config().problem(problem))?;
        let bias = loader.has(&format!("{}.bias", PROJECTOR[0]));
        let biased = self.multimodal_projector_bias.unwrap_or(bias);
        let sizes = [size, self.hidden_size, self.hidden_size];
        PlainMlp::load(loader, PROJECTOR, sizes, biased, activation)
    }
}

impl Llava {
    /// Loads it.
    ///
    /// # Errors
    /// Those of the loader, and if the tower is of another family.
    pub(super) fn load(loader: &Loader) -> Result<Self, LoadError> {
        let args: Args = loader.config().args()?;
        let problem = |problem: String| loader.config().problem(problem);
        let feature_layer = args.vision_feature_layer.unwrap_or(-2);
        let Kind { vision_config: KindFields { model_type } } = loader.config().args()?;
        let (tower, size) = match model_type.as_deref() {
            None | Some("clip_vision_model") => {
                let ClipArgs { vision_config } = loader.config().args()?;
                let clip = vision_config.with_defaults();
                let layers = feature_layers(feature_layer, clip.num_hidden_layers);
                let layers = layers.map_err(problem)?;
                let whole = args.vision_feature_select_strategy == "full";
                (Tower::Clip(Clip::load(loader, &clip, layers)?, whole), clip.hidden_size)
            }
            Some("pixtral") => {
                let tower = Pixtral::load(loader, feature_layer)?;
                let size = tower.size();
                (Tower::Pixtral(tower), size)
            }
            Some(other) => {
                return Err(problem(format!("its tower is a \"{other}\", which is not supported")));
            }
        };
        Ok(Self { tower, projector: args.projector(loader, size)? })
    }
}

impl VisionTower for Llava {
    fn encode(&self, image: &Prepared) -> Result<Features> {
        let x: Array = match &self.tower {
            Tower::Clip(clip, whole) => clip.forward(&pixels(image), *whole)?,
            Tower::Pixtral(pixtral) => pixtral.forward(image)?,
        };
        Ok(Features { rows: self.projector.forward(&x)?, deep: Vec::new() })
    }
}
