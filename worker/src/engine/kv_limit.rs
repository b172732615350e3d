//! The block limit of the KV pool: the requested limit, but at least the blocks that the longest running request needs.
//!
//! Pure.

use std::collections::HashMap;

use super::sequence::SequenceId;

/// A pool never shrinks below this many blocks.
const LEAST: u32 = 32;

/// The requested limit and the reservations of running requests.
#[derive(Debug)]
pub struct KvLimit {
    requested: u32,
    most: u32,
    /// Most blocks that each running request can come to hold.
    reserved: HashMap<SequenceId, u32>,
}

impl KvLimit {
    /// A pool of `most` blocks, without a limit.
    pub fn new(most: u32) -> Self {
        Self { requested: most, most, reserved: HashMap::new() }
    }

    /// Requests a limit of `blocks`.
    pub fn request(&mut self, blocks: u32) {
        self.requested = blocks.clamp(LEAST.min(self.most), self.most);
    }

    /// Reserves the blocks that a request needs if it runs alone.
    pub fn reserve(&mut self, to: SequenceId, blocks: u32) {
        self.reserved.insert(to, blocks);
    }

    /// Drops the reservation of a request that has ended.
    pub fn release(&mut self, from: SequenceId) {
        self.reserved.remove(&from);
    }

    /// The limit in force, in blocks.
    pub fn current(&self) -> u32 {
        let longest = self.reserved.values().copied().max().unwrap_or(0);
        self.requested.max(longest).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_covers_reservations_and_the_minimum() {
        let mut limit = KvLimit::new(100);
        limit.reserve(SequenceId(1), 70);
        limit.request(0);
        assert_eq!(limit.current(), 70);
        limit.reserve(SequenceId(2), 1000);
        assert_eq!(limit.current(), 100);
        limit.release(SequenceId(2));
        limit.release(SequenceId(1));
        assert_eq!(limit.current(), LEAST);
        limit.request(1000);
        assert_eq!(limit.current(), 100);
        assert_eq!(KvLimit::new(3).current(), 3);
    }
}
