//! Fields of a model folder's JSON files, with the defaults of the processor's class.

use serde_json::{Map, Value};

use crate::levels::Levels;
use crate::resample::Filter;

/// The three files that describe a model's images. A missing file is an empty one.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    /// `config.json`.
    pub(crate) model: Fields<'a>,
    /// `vision_config` in it.
    pub(crate) vision: Fields<'a>,
    /// The image processor's own settings.
    pub(crate) image: Fields<'a>,
    /// `processor_config.json`: how images stand in the text.
    pub(crate) processor: Fields<'a>,
}

impl<'a> Files<'a> {
    /// A part `image_processor` of `processor_config.json` comes before `preprocessor_config.json`, as in Transformers.
    pub(crate) fn new(
        config: &'a Value,
        preprocessor: Option<&'a Value>,
        processor: Option<&'a Value>,
    ) -> Self {
        let nested = |value: &'a Value| value.get("image_processor").filter(|part| part.is_object());
        let image =
            processor.and_then(nested).or_else(|| preprocessor.map(|value| nested(value).unwrap_or(value)));
        Self {
            model: Fields::of(Some(config)),
            vision: Fields::of(config.get("vision_config")),
            image: Fields::of(image),
            processor: Fields::of(processor),
        }
    }
}

/// One JSON object. `null` counts as missing, as in Transformers.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    pub(crate) fn of(value: Option<&'a Value>) -> Self {
        Self(value.and_then(Value::as_object))
    }

    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn part(self, name: &str) -> Self {
        Self::of(self.get(name))
    }

    pub(crate) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub(crate) fn flag(self, name: &str, default: bool) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    /// A length or count from 1 to 2^14, so that products of two fit; of a list of equal ones, the first.
    pub(crate) fn count(self, name: &str) -> Result<Option<u32>, String> {
        self.whole(name, 1 << 14)
    }

    /// A number of pixels from 1 to 2^30.
    pub(crate) fn area(self, name: &str) -> Result<Option<u32>, String> {
        self.whole(name, 1 << 30)
    }

    fn whole(self, name: &str, most: u32) -> Result<Option<u32>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let one = match value {
            Value::Array(values) if values.windows(2).all(|pair| pair[0] == pair[1]) => values.first(),
            value => Some(value),
        };
        let whole = one.and_then(|one| {
            one.as_u64().or_else(|| one.as_f64().filter(|x| x.fract() == 0.0).map(|x| x as u64))
        });
        match whole.map(u32::try_from) {
            Some(Ok(count)) if (1..=most).contains(&count) => Ok(Some(count)),
            _ => Err(format!("{name} is {value}, which is no number that can be used")),
        }
    }

    fn number(self, name: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number.is_finite() && number != 0.0 => Ok(Some(number)),
            _ => Err(format!("{name} is {value}, which is no number that can be used")),
        }
    }

    /// One number for each channel, or one for all.
    pub(crate) fn channels(self, name: &str) -> Result<Option<[f64; 3]>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let numbers: Option<Vec<f64>> = match value {
            Value::Array(values) => values.iter().map(Value::as_f64).collect(),
            value => value.as_f64().map(|number| vec![number; 3]),
        };
        match numbers.as_deref() {
            Some(&[r, g, b]) => Ok(Some([r, g, b])),
            Some(&[one]) => Ok(Some([one; 3])),
            _ => Err(format!("{name} is {value}; three numbers are expected")),
        }
    }

    /// Rows and columns: `{"height", "width"}`, one number for both, or two in that order.
    pub(crate) fn sides(self, name: &str) -> Result<Option<(u32, u32)>, String> {
        match self.get(name) {
            Some(Value::Object(_)) => {
                let part = self.part(name);
                Ok(part.count("height")?.zip(part.count("width")?))
            }
            Some(Value::Array(values)) if values.len() == 2 => {
                let side = |value: &Value| {
                    value
                        .as_u64()
                        .and_then(|side| u32::try_from(side).ok())
                        .filter(|side| (1..=1 << 14).contains(side))
                };
                Ok(side(&values[0]).zip(side(&values[1])))
            }
            Some(_) => Ok(self.count(name)?.map(|side| (side, side))),
            None => Ok(None),
        }
    }

    /// The filter, if pictures are resized at all: towers here take no others.
    pub(crate) fn filter(self, default: Filter) -> Result<Filter, String> {
        if !self.flag("do_resize", true) {
            return Err("do_resize is false, which is not supported".into());
        }
        let Some(value) = self.get("resample") else { return Ok(default) };
        value.as_u64().and_then(Filter::numbered).ok_or_else(|| {
            format!("resample is {value}; 1 (Lanczos), 2 (bilinear) and 3 (bicubic) are supported")
        })
    }

    /// Scale, mean and deviation.
    pub(crate) fn levels(self, norm: Norm) -> Result<Levels, String> {
        let scale = self.number("rescale_factor")?.unwrap_or(1.0 / 255.0);
        let mean = self.channels("image_mean")?.unwrap_or(norm.mean);
        let deviation = self.channels("image_std")?.unwrap_or(norm.deviation);
        if deviation.contains(&0.0) {
            return Err("image_std holds a zero".into());
        }
        let norm = self.flag("do_normalize", norm.on).then_some((mean, deviation));
        Ok(Levels::new(self.flag("do_rescale", true).then_some(scale), norm))
    }

    /// Refuses an image processor that is none of a family's.
    pub(crate) fn class(self, known: &[&str]) -> Result<(), String> {
        let Some(class) = self.text("image_processor_type").or_else(|| self.text("feature_extractor_type"))
        else {
            return Ok(());
        };
        if known.contains(&plain(class)) {
            return Ok(());
        }
        Err(format!("image_processor_type is {class}, which is not supported for this model"))
    }
}

/// A class's name without its backend's.
pub(crate) fn plain(class: &str) -> &str {
    let class = class.strip_suffix("Fast").or_else(|| class.strip_suffix("Pil")).unwrap_or(class);
    class.strip_suffix("ImageProcessor").or_else(|| class.strip_suffix("FeatureExtractor")).unwrap_or(class)
}

/// A class's default means and deviations, and whether they are used.
#[derive(Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) mean: [f64; 3],
    deviation: [f64; 3],
    on: bool,
}

/// CLIP's colours.
pub(crate) const CLIP: Norm = Norm {
    mean: [0.48145466, 0.4578275, 0.40821073],
    deviation: [0.26862954, 0.26130258, 0.27577711],
    on: true,
};
/// From -1 to 1.
pub(crate) const HALVES: Norm = Norm { mean: [0.5; 3], deviation: [0.5; 3], on: true };
/// From 0 to 1.
pub(crate) const PLAIN: Norm = Norm { mean: [0.0; 3], deviation: [1.0; 3], on: false };
