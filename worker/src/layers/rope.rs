//! Rotary position embedding for tokens at any positions.
//!
//! Su et al. 2021 (<https://arxiv.org/abs/2104.09864>), in the half-split layout of Hugging Face checkpoints. Cosines and
//! sines are computed once per step and used by every layer.

use mlx_rs::ops::indexing::{IntoStrideBy, TryIndexOp};
use mlx_rs::{Array, ops};
use serde::Deserialize;

use super::Result;
use crate::kernels;

/// `rope_scaling` of config.json; since Transformers 5, `rope_parameters`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct RopeScaling {
    rope_type: Option<String>,
    /// The older name of `rope_type`; some files have both.
    r#type: Option<String>,
    /// Base; newer files keep it beside the scaling.
    pub rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    /// Tokens of the contexts before they were extended.
    pub original_max_position_embeddings: Option<f32>,
    beta_fast: Option<f32>,
    beta_slow: Option<f32>,
    mscale: Option<f32>,
    mscale_all_dim: Option<f32>,
    /// Overrides the factor that follows from the two before.
    attention_factor: Option<f32>,
    /// Whether the ends of YaRN's ramp are rounded to whole wave indices; default true.
    truncate: Option<bool>,
    /// Factor of each wavelength in `longrope`, in contexts up to the original length.
    short_factor: Option<Vec<f32>>,
    /// The same in longer contexts.
    long_factor: Option<Vec<f32>>,
    /// The fraction of a head that is rotated.
    pub partial_rotary_factor: Option<f32>,
    /// Hunyuan: the base grows with it.
    pub alpha: Option<f32>,
    /// Ministral 3: growth of the queries beyond the original context.
    pub llama_4_scaling_beta: Option<f32>,
    /// Qwen's vision-language models: how many waves turn with a token's time, row and column.
    mrope_section: Option<Vec<usize>>,
    /// Whether these waves alternate instead of following each other.
    #[serde(default)]
    mrope_interleaved: bool,
    /// If layer types differ: the settings of layers with full attention. The fields above are unset then.
    full_attention: Option<Box<RopeScaling>>,
    /// The settings of layers with a sliding window.
    sliding_attention: Option<Box<RopeScaling>>,
}

/// Lengths in tokens, which config.json has beside the scaling.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContextLengths {
    /// `max_position_embeddings`.
    pub maximum: Option<f32>,
    /// `original_max_position_embeddings`.
    pub original: Option<f32>,
}

impl RopeScaling {
    /// Gemma 4's, for this fraction of a head.
    pub fn proportional(part: f32) -> Self {
        let (rope_type, partial_rotary_factor) = (Some("proportional".to_owned()), Some(part));
        Self { rope_type, partial_rotary_factor, ..Self::default() }
    }

    /// Fills missing fields from `lengths`, and prefers their `original` length, like `standardize_rope_params` of Transformers.
    pub fn with_lengths(&self, lengths: ContextLengths) -> Self {
        let stated = lengths.original.or(self.original_max_position_embeddings);
        let ratio = || Some(lengths.maximum? / stated?);
        let factor = match self.kind() {
            "yarn" | "longrope" | "su" => self.factor.or_else(ratio),
            _ => self.factor,
        };
        Self { original_max_position_embeddings: stated.or(lengths.maximum), factor, ..self.clone() }
    }

    /// `rope_type`; `default` if not given.
    pub fn kind(&self) -> &str {
        self.rope_type.as_deref().or(self.r#type.as_deref()).unwrap_or("default")
    }

    /// DeepSeek's factor of queries and keys, which YaRN's own does not include.
    pub fn score_growth(&self) -> f32 {
        let (by, factor) = (self.mscale_all_dim.unwrap_or(0.0), self.factor.unwrap_or(1.0));
        if by == 0.0 { 1.0 } else { yarn_growth(factor, by) }
    }

    /// The axis of each of `waves` waves: 0 for time, 1 for rows, 2 for columns. `None` if all turn with the position. (Reference:
    /// `apply_multimodal_rotary_pos_emb` of `modeling_qwen2_vl.py`, and `apply_interleaved_mrope` of `modeling_qwen3_vl.py` in
    /// Transformers 5.24.)
    fn wave_axes(&self, waves: usize) -> Option<Vec<u32>> {
        let [time, rows, columns] = self.mrope_section.as_deref()? else { return None };
        let axis = |wave: usize| match (self.mrope_interleaved, wave % 3) {
            (true, 1) if wave < 3 * rows => 1,
            (true, 2) if wave < 3 * columns => 2,
            (false, _) if wave >= time + rows => 2,
            (false, _) if wave >= *time => 1,
            _ => 0,
        };
        Some((0..waves).map(axis).collect())
    }

    /// Settings of layers with full attention.
    pub fn full(&self) -> &Self {
        self.full_attention.as_deref().unwrap_or(self)
    }

    /// Settings of layers with a sliding window, if they differ.
    pub fn sliding(&self) -> Option<&Self> {
        self.sliding_attention.as_deref()
    }
}

/// Frequencies of a rotary embedding.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Radians per position, `[1, d/2]`.
    frequencies: Array,
    /// The same for tokens of texts beyond the original context, if they differ.
    extended: Option<Extended>,
    /// Factor of the rotated coordinates.
    scale: f32,
    query_growth: Option<QueryGrowth>,
    /// The axis of each wave, `[d/2]`, uint32, for images in models with [`RopeScaling::wave_axes`].
    axes: Option<Array>,
}

/// Queries grow with the logarithm of their position: at position p by 1 + β ln(1 + ⌊p / original context⌋). Without it,
/// attention blurs in long contexts. Reference: `ministral3.py` of mlx-lm 0.32.2.
#[derive(Debug, Clone, Copy)]
struct QueryGrowth {
    beta: f32,
    /// Tokens.
    original_context: f32,
}

/// Frequencies of texts that are longer than the original context.
#[derive(Debug, Clone)]
struct Extended {
    /// Radians per position, `[1, d/2]`.
    frequencies: Array,
    /// The longest text, in tokens, to which the frequencies do not apply.
    original_context: u32,
}

/// The positions of a step's tokens.
#[derive(Debug, Clone)]
pub struct Positions {
    /// Position of each token in its text, `[T]`, float32.
    values: Array,
    /// Time, row and column of each token, `[T, 3]`, float32. `None` if they are all its position.
    axes: Option<Array>,
    /// The largest position.
    last: f32,
    /// `[T, 1]`: whether the token's text is longer than the original context. `None` if none is.
    extended: Option<Array>,
}

impl Positions {
    /// Positions `[T]` in texts within the original context.
    pub fn new(values: &[f32]) -> Self {
        let last = values.iter().copied().fold(0.0, f32::max);
        Self { values: Array::from_slice(values, &[values.len() as i32]), axes: None, last, extended: None }
    }

    /// Gives each token a time, a row and a column, `[T]`. Models that know only positions ignore them.
    pub fn with_axes(self, axes: &[[u32; 3]]) -> Self {
        let values: Vec<f32> = axes.iter().flatten().map(|value| *value as f32).collect();
        Self { axes: Some(Array::from_slice(&values, &[axes.len() as i32, 3])), ..self }
    }

    /// Marks the tokens whose text is longer than the original context; one flag per token.
    pub fn with_extended(self, flags: &[bool]) -> Self {
        Self { extended: Some(Array::from_slice(flags, &[flags.len() as i32, 1])), ..self }
    }
}

/// Cosines and sines of a step.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// `[T, 1, 1, d/2]`.
    cos: Array,
    /// `[T, 1, 2, d/2]`: minus the sine for the first half, the sine for the second.
    sin: Array,
    /// Factors of the queries, `[T, 1]`; `None` if all are one.
    query_factors: Option<Array>,
}

/// Checks the number of a head's coordinates that are rotated: it comes from a file.
///
/// # Errors
/// A sentence, if it is not an even number of the head's coordinates.
pub fn check_width(width: i32, head_dim: i32) -> Result<i32, String> {
    if (2..=head_dim).contains(&width) && width % 2 == 0 {
        return Ok(width);
    }
    Err(format!("{width} of the {head_dim} coordinates of a head (partial_rotary_factor) cannot be rotated"))
}

/// The order in which rows of a projection turn pairs of neighbours into halves: heads of width `head_dim` that rotate
/// coordinates 2i and 2i + 1 of the first `width` together become heads that rotate i and i + `width` / 2.
///
/// Scores do not change if the coordinates of queries and keys are reordered alike.
pub fn halves_order(heads: i32, head_dim: i32, width: i32) -> Vec<i32> {
    let place = |at: i32| match at {
        at if at >= width => at,
        at if at < width / 2 => 2 * at,
        at => 2 * (at - width / 2) + 1,
    };
    (0..heads).flat_map(|head| (0..head_dim).map(move |at| head * head_dim + place(at))).collect()
}

impl Rope {
    /// For heads of `width`, with base `theta` and the scaling of config.json.
    ///
    /// # Errors
    /// A sentence, if the scaling's type is not supported or a field is missing.
    pub fn new(width: i32, theta: f32, scaling: Option<&RopeScaling>) -> Result<Self, String> {
        let plain = Self::plain(width, theta);
        let Some(scaling) = scaling else { return Ok(plain) };
        let waves = plain.frequencies.as_slice::<f32>();
        if scaling.full_attention.is_some() || scaling.sliding_attention.is_some() {
            return Err("rope_parameters for each kind of layer are not supported for this model".into());
        }
        match scaling.kind() {
            "default" | "mrope" => {
                let axes = scaling.wave_axes(waves.len());
                Ok(Self { axes: axes.map(|axes| Array::from_slice(&axes, &[axes.len() as i32])), ..plain })
            }
            "linear" => {
                let factor = scaling.factor.ok_or("rope_scaling: factor is missing")?;
                plain.stretched(&vec![factor; waves.len()], 1.0)
            }
            "llama3" => {
                let llama3 = Llama3::new(scaling).ok_or("rope_scaling: llama3 lacks a field")?;
                Ok(Self::from_frequencies(&waves.iter().map(|wave| llama3.scale(*wave)).collect::<Vec<_>>()))
            }
            "yarn" => {
                let yarn = Yarn::new(width, theta, scaling)?;
                plain.stretched(&yarn.factors(), yarn.scale)
            }
            "proportional" => Self::proportional(width, theta, scaling),
            kind => Err(format!("rope_scaling of type \"{kind}\" is not supported")),
        }
    }

    /// Phi's `longrope`. `scaling` is that of [`RopeScaling::with_lengths`].
    ///
    /// A text has the short factors up to the original context, and the long ones beyond it. As in Transformers, all of its keys
    /// have the same factors: a text that grows longer is computed anew.
    ///
    /// # Errors
    /// A sentence, if a field is missing or there is not one factor per wave.
    pub fn long(width: i32, theta: f32, scaling: &RopeScaling) -> Result<Self, String> {
        let original = scaling.original_max_position_embeddings.unwrap_or(4096.0);
        let stretch = scaling.factor.unwrap_or(1.0);
        // Longer contexts blur attention; this factor sharpens it again.
        let scale = if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / original.ln()).sqrt() };
        let scale = scaling.attention_factor.unwrap_or(scale);
        let rope = |name: &str, factors: &Option<Vec<f32>>| {
            let factors = factors.as_ref().ok_or_else(|| format!("rope_scaling: {name} is missing"))?;
            Self::plain(width, theta).stretched(factors, scale)
        };
        let long = rope("long_factor", &scaling.long_factor)?;
        let extended = Extended { frequencies: long.frequencies, original_context: original as u32 };
        Ok(Self { extended: Some(extended), ..rope("short_factor", &scaling.short_factor)? })
    }

    /// Gemma 4's: waves are as short as if the whole head of `width` were rotated, and only the first ones rotate.
    /// (Reference: `rope_utils.ProportionalRoPE` of mlx-lm.)
    fn proportional(width: i32, theta: f32, scaling: &RopeScaling) -> Result<Self, String> {
        let part = scaling.partial_rotary_factor.unwrap_or(1.0);
        let rotated = check_width((width as f32 * part) as i32, width)?;
        let factor = scaling.factor.unwrap_or(1.0);
        let wave =
            |i: i32| if i < rotated / 2 { theta.powf(-2.0 * i as f32 / width as f32) / factor } else { 0.0 };
        Ok(Self::from_frequencies(&(0..width / 2).map(wave).collect::<Vec<_>>()))
    }

    /// Lets queries grow by the logarithm of their position in units of `original_context` tokens, times `beta`.
    pub fn with_query_growth(self, beta: f32, original_context: f32) -> Self {
        Self { query_growth: Some(QueryGrowth { beta, original_context }), ..self }
    }

    /// The longest text, in tokens, that is not extended; `None` if the length makes no difference.
    pub fn original_context(&self) -> Option<u32> {
        self.extended.as_ref().map(|extended| extended.original_context)
    }

    /// Without scaling. Coordinates of a head beyond `width` are not rotated.
    pub fn plain(width: i32, theta: f32) -> Self {
        let waves: Vec<f32> = (0..width / 2).map(|i| theta.powf(-2.0 * i as f32 / width as f32)).collect();
        Self::from_frequencies(&waves)
    }

    /// Multiplies the wavelengths by `factors`, and rotated coordinates by `scale`.
    ///
    /// # Errors
    /// A sentence, if there is not one factor per wave.
    pub fn stretched(&self, factors: &[f32], scale: f32) -> Result<Self, String> {
        let waves = self.frequencies.as_slice::<f32>();
        if factors.len() != waves.len() {
            return Err(format!("rope_scaling has {} factors for {} waves", factors.len(), waves.len()));
        }
        let stretched: Vec<f32> = waves.iter().zip(factors).map(|(wave, factor)| wave / factor).collect();
        Ok(Self { scale, ..Self::from_frequencies(&stretched) })
    }

    /// For patches of an image: these waves turn with the row, then those with the column, and none with the position.
    pub fn on_grid(rows: &[f32], columns: &[f32]) -> Self {
        let axes = [vec![1u32; rows.len()], vec![2; columns.len()]].concat();
        let axes = Array::from_slice(&axes, &[axes.len() as i32]);
        Self { axes: Some(axes), ..Self::from_frequencies(&[rows, columns].concat()) }
    }

    fn from_frequencies(frequencies: &[f32]) -> Self {
        let frequencies = Array::from_slice(frequencies, &[1, frequencies.len() as i32]);
        Self { frequencies, extended: None, scale: 1.0, query_growth: None, axes: None }
    }

    /// For tokens at `positions`. Cosines and sines have the type of `like`.
    pub fn rotation(&self, positions: &Positions, like: &Array) -> Result<Rotation> {
        let values = match (&self.axes, &positions.axes) {
            (Some(axes), Some(positions)) => positions.take_axis(axes, 1)?,
            _ => positions.values.reshape(&[-1, 1])?,
        };
        let angles = match (&self.extended, &positions.extended) {
            (Some(long), Some(extended)) => {
                values.multiply(ops::select(extended, &long.frequencies, &self.frequencies)?)?
            }
            _ => values.multiply(&self.frequencies)?,
        };
        let half = self.frequencies.dim(1);
        let scaled =
            |x: Array| if self.scale == 1.0 { Ok(x) } else { x.multiply(Array::from_f32(self.scale)) };
        let cos = scaled(angles.cos()?)?.reshape(&[-1, 1, 1, half])?.as_dtype(like.dtype())?;
        let sin = scaled(angles.sin()?)?.reshape(&[-1, 1, 1, half])?.as_dtype(like.dtype())?;
        let sin = ops::concatenate(&[&sin.negative()?, &sin], 2)?;
        Ok(Rotation { cos, sin, query_factors: self.query_factors(positions, like)? })
    }

    fn query_factors(&self, positions: &Positions, like: &Array) -> Result<Option<Array>> {
        let reaches = |growth: &QueryGrowth| positions.last >= growth.original_context;
        let Some(QueryGrowth { beta, original_context }) = self.query_growth.filter(reaches) else {
            return Ok(None);
        };
        let contexts = positions.values.divide(Array::from_f32(original_context))?.floor()?;
        let growth = contexts.log1p()?.multiply(Array::from_f32(beta))?;
        let factors = growth.add(Array::from_f32(1.0))?.reshape(&[-1, 1])?;
        factors.as_dtype(like.dtype()).map(Some)
    }
}

impl Rotation {
    /// Cosines `[T, 1, 1, d/2]` and sines `[T, 1, 2, d/2]`.
    pub(crate) fn cos_sin(&self) -> [&Array; 2] {
        [&self.cos, &self.sin]
    }

    /// Factors of the queries, `[T, 1]`; `None` if all are one.
    pub(crate) fn query_factors(&self) -> Option<&Array> {
        self.query_factors.as_ref()
    }

    /// Rotates heads `[T, H, d]` by each token's angles.
    pub fn apply(&self, x: &Array) -> Result<Array> {
        let (tokens, heads, width) = (x.dim(0), x.dim(1), 2 * self.cos.dim(3));
        if width < x.dim(2) {
            let (part, rest) = (x.try_index((.., .., ..width))?, x.try_index((.., .., width..))?);
            return ops::concatenate(&[self.apply(&part)?, rest], 2);
        }
        if let Some(rotated) = kernels::rotate(x, &self.cos, &self.sin) {
            return rotated;
        }
        let halves = x.reshape(&[tokens, heads, 2, width / 2])?;
        // (a, b) → (a cos − b sin, b cos + a sin): the swapped halves are a view with a negative stride.
        let swapped = halves.try_index((.., .., (..).stride_by(-1), ..))?;
        let rotated = halves.multiply(&self.cos)?.add(swapped.multiply(&self.sin)?)?;
        rotated.reshape(&[tokens, heads, width])
    }
}

/// Llama 3.1's scaling: stretches long waves, keeps short ones and interpolates between them.
/// (Reference: `rope_utils.Llama3RoPE` of mlx-lm.)
struct Llama3 {
    factor: f32,
    low: f32,
    high: f32,
    original: f32,
}

impl Llama3 {
    fn new(scaling: &RopeScaling) -> Option<Self> {
        Some(Self {
            factor: scaling.factor?,
            low: scaling.low_freq_factor.unwrap_or(1.0),
            high: scaling.high_freq_factor.unwrap_or(4.0),
            original: scaling.original_max_position_embeddings.unwrap_or(8192.0),
        })
    }

    fn scale(&self, frequency: f32) -> f32 {
        let wave = 2.0 * std::f32::consts::PI / frequency;
        if wave > self.original / self.low {
            return frequency / self.factor;
        }
        if wave < self.original / self.high {
            return frequency;
        }
        let smooth = (self.original / wave - self.low) / (self.high - self.low);
        frequency * ((1.0 - smooth) / self.factor + smooth)
    }
}

/// YaRN: stretches waves with few rotations in the original context and keeps those with many, with a ramp in between. The
/// rotated coordinates grow a little, which sharpens attention.
///
/// Peng et al. 2023 (<https://arxiv.org/abs/2309.00071>); reference: `modeling_rope_utils.py` of Transformers 5.24.
///
/// mlx-lm 0.32.2 ignores `attention_factor` and `truncate`, applies `mscale` alone, and takes 4096 tokens for a missing original
/// length.
struct Yarn {
    waves: i32,
    factor: f32,
    /// Wave indices: the first that is stretched in part, and the first that is stretched fully.
    ramp: (f32, f32),
    scale: f32,
}

fn yarn_growth(factor: f32, by: f32) -> f32 {
    if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 }
}

impl Yarn {
    fn new(width: i32, theta: f32, scaling: &RopeScaling) -> Result<Self, String> {
        let factor = scaling.factor.ok_or("rope_scaling: factor is missing")?;
        let original = scaling.original_max_position_embeddings.unwrap_or(4096.0);
        if !(factor > 0.0 && original > 0.0 && theta > 1.0) {
            return Err(format!("rope_scaling: yarn by {factor} from {original} tokens with base {theta}"));
        }
        // The index of the wave with this number of rotations in the original context.
        let wave_index = |rotations: f32| {
            width as f32 * (original / (rotations * 2.0 * std::f32::consts::PI)).ln() / (2.0 * theta.ln())
        };
        let mut low = wave_index(scaling.beta_fast.unwrap_or(32.0));
        let mut high = wave_index(scaling.beta_slow.unwrap_or(1.0));
        if scaling.truncate.unwrap_or(true) {
            (low, high) = (low.floor(), high.ceil());
        }
        low = low.max(0.0);
        high = high.min(width as f32 - 1.0);
        if low == high {
            // An empty ramp would divide by zero.
            high += 0.001;
        }
        let growth = |by: f32| yarn_growth(factor, by);
        let is_set = |by: &f32| *by != 0.0;
        let scale = match (scaling.mscale.filter(is_set), scaling.mscale_all_dim.filter(is_set)) {
            (Some(own), Some(all)) => growth(own) / growth(all),
            _ => growth(1.0),
        };
        let scale = scaling.attention_factor.unwrap_or(scale);
        Ok(Self { waves: width / 2, factor, ramp: (low, high), scale })
    }

    /// Factor of each wavelength.
    fn factors(&self) -> Vec<f32> {
        let (low, high) = self.ramp;
        let stretched = (0..self.waves).map(|wave| ((wave as f32 - low) / (high - low)).clamp(0.0, 1.0));
        stretched.map(|part| 1.0 / (part / self.factor + 1.0 - part)).collect()
    }
}

#[cfg(test)]
mod tests;
