//! Random moments and choices that a seed repeats.

use std::time::Duration;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % bound as u64) as usize
    }

    /// Sleeps for `least` milliseconds, and for less than `more` further ones.
    pub fn pause(&mut self, least: usize, more: usize) {
        std::thread::sleep(Duration::from_millis((least + self.below(more)) as u64));
    }
}

/// A number from an environment variable, which makes a test longer or different.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}
