//! Counter-based random numbers: a pure function of seed and position.
//!
//! SplitMix64's finaliser over seed and counter, so that a resumed or re-batched request draws the same numbers.
//!
//! Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators".

/// 2⁶⁴ divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The noise for sampling the token at `position`.
pub fn noise(seed: u64, position: u64) -> u64 {
    mix(mix(seed).wrapping_add(position.wrapping_mul(STEP)))
}

/// Random number `index` of `noise`: exponentially distributed with mean 1, greater than 0.
pub fn exponential(noise: u64, index: u64) -> f32 {
    let bits = mix(noise.wrapping_add(index.wrapping_mul(STEP)));
    let uniform = ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln() as f32
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(STEP);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
