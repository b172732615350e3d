//! To how many blocks the KV pool may grow: what was asked for, but always what the longest running request was promised. Pure.

use std::collections::HashMap;

use super::sequence::SequenceId;

/// Blocks that a pool is always left with.
const LEAST: u32 = 32;

/// What was asked for, and who needs how much.
#[derive(Debug)]
pub struct KvLimit {
    wanted: u32,
    most: u32,
    /// Blocks that each request takes in the end, at most.
    promised: HashMap<SequenceId, u32>,
}

impl KvLimit {
    /// A pool that has `most` blocks and may use them all.
    pub fn new(most: u32) -> Self {
        Self { wanted: most, most, promised: HashMap::new() }
    }

    /// Asks for `blocks`.
    pub fn want(&mut self, blocks: u32) {
        self.wanted = blocks.clamp(LEAST.min(self.most), self.most);
    }

    /// A request begins that needs so many blocks alone.
    pub fn promise(&mut self, to: SequenceId, blocks: u32) {
        self.promised.insert(to, blocks);
    }

    /// A request has ended.
    pub fn release(&mut self, from: SequenceId) {
        self.promised.remove(&from);
    }

    /// The limit in force.
    pub fn now(&self) -> u32 {
        let longest = self.promised.values().copied().max().unwrap_or(0);
        self.wanted.max(longest).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_kept_and_a_pool_is_never_without_blocks() {
        let mut limit = KvLimit::new(100);
        limit.promise(SequenceId(1), 70);
        limit.want(0);
        assert_eq!(limit.now(), 70);
        limit.promise(SequenceId(2), 1000);
        assert_eq!(limit.now(), 100);
        limit.release(SequenceId(2));
        limit.release(SequenceId(1));
        assert_eq!(limit.now(), LEAST);
        limit.want(1000);
        assert_eq!(limit.now(), 100);
        assert_eq!(KvLimit::new(3).now(), 3);
    }
}
