//! From eight-bit levels to the numbers that a vision tower takes.

use crate::picture::Picture;

/// What each of the 256 levels becomes, in each channel.
#[derive(Clone)]
pub(crate) struct Levels([[f32; 256]; 3]);

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ends = self.0.map(|channel| [channel[0], channel[255]]);
        write!(f, "Levels({ends:?})")
    }
}

impl Levels {
    /// With `scale`, levels are multiplied by it; with `norm`, means are subtracted and the rest divided by deviations.
    ///
    /// With both, the scale goes into the means and deviations, in single precision: bit for bit what the reference does.
    pub(crate) fn new(scale: Option<f64>, norm: Option<([f64; 3], [f64; 3])>) -> Self {
        let table = |channel: usize| {
            std::array::from_fn(|level| {
                let level = level as f32;
                match (scale, norm) {
                    (None, None) => level,
                    (Some(scale), None) => level * scale as f32,
                    (scale, Some((mean, deviation))) => {
                        let inverse = scale.map_or(1.0, |scale| 1.0 / scale) as f32;
                        (level - mean[channel] as f32 * inverse) / (deviation[channel] as f32 * inverse)
                    }
                }
            })
        };
        Self([table(0), table(1), table(2)])
    }

    /// A level of a channel.
    pub(crate) fn of(&self, channel: usize, level: u8) -> f32 {
        self.0[channel][usize::from(level)]
    }

    /// Appends a picture as three planes: [3, height, width].
    pub(crate) fn planes(&self, picture: &Picture, out: &mut Vec<f32>) {
        let (pixels, _) = picture.rgb.as_chunks::<3>();
        out.reserve(picture.rgb.len());
        for (channel, table) in self.0.iter().enumerate() {
            out.extend(pixels.iter().map(|pixel| table[usize::from(pixel[channel])]));
        }
    }
}
