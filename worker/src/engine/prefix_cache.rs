//! Maps text to the blocks that hold its KV, so that it is computed once. Pure: hashes and block ids.
//!
//! The key of a block is the hash of its tokens chained to the hash of the previous block. So equal hashes mean equal text
//! from the beginning. A sequence inserts its blocks when it joins, before they are computed. So a sequence with the same
//! prefix can wait for them instead of computing them again. Idle blocks stay until the pool needs them; eviction is
//! least recently used.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use ipc_proto::worker::PrefixStatistics;

use super::runner::BlockId;

/// Identifies the text from the start of a sequence to the end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ChainHash(u64, u64);

/// Computes chain hashes with random keys per process, so that clients cannot construct collisions.
#[derive(Debug, Clone, Default)]
pub(super) struct ChainHasher(RandomState, RandomState);

/// Number of evicted blocks remembered, so that a miss can be explained.
const EVICTED_REMEMBERED: usize = 4096;

/// The content of a block.
#[derive(Debug)]
struct Entry {
    hash: ChainHash,
    /// The KV is computed.
    ready: bool,
    /// Clock value since which no sequence holds it; `None` while held.
    idle_since: Option<u64>,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct PrefixCache {
    blocks: HashMap<ChainHash, BlockId>,
    entries: HashMap<BlockId, Entry>,
    /// Idle blocks by the clock value since which they are idle.
    idle: BTreeMap<u64, BlockId>,
    clock: u64,
    evicted: EvictedHistory,
    statistics: PrefixStatistics,
}

/// Hashes of the last evicted blocks.
#[derive(Debug, Default)]
struct EvictedHistory {
    order: VecDeque<ChainHash>,
    all: HashSet<ChainHash>,
}

/// A block with the requested text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Ready(BlockId),
    /// A sequence is computing it.
    Pending,
}

impl ChainHasher {
    /// The initial hash of a cache scope; the default hash for the empty scope.
    pub(super) fn scope(&self, name: &str) -> ChainHash {
        match name {
            "" => ChainHash::default(),
            name => ChainHash(self.0.hash_one(name), self.1.hash_one(name)),
        }
    }

    /// The hash of a block of `tokens` that follows the text of `before`.
    pub(super) fn next(&self, before: ChainHash, tokens: &[u32]) -> ChainHash {
        ChainHash(self.0.hash_one((before, tokens)), self.1.hash_one((before, tokens)))
    }

    /// The hash of the text of `before` and an image with this digest, of which tokens follow.
    pub(super) fn next_image(&self, before: ChainHash, digest: &[u8; 32]) -> ChainHash {
        ChainHash(self.0.hash_one((before, digest)), self.1.hash_one((before, digest)))
    }
}

impl EvictedHistory {
    fn push(&mut self, hash: ChainHash) {
        if self.all.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > EVICTED_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

impl PrefixCache {
    /// Records a lookup that found the first `hits` blocks of `chain`. Returns whether the next block was evicted earlier.
    pub(super) fn record_lookup(&mut self, chain: &[ChainHash], hits: usize) -> bool {
        let missed = &chain[hits..];
        let lost = |hash: &&ChainHash| self.evicted.all.contains(*hash);
        let after_eviction = missed.iter().filter(lost).count();
        self.statistics.hits += hits as u64;
        self.statistics.misses += missed.len() as u64;
        self.statistics.misses_after_eviction += after_eviction as u64;
        if !missed.is_empty() {
            self.statistics.last_miss_at = hits as u64;
        }
        missed.first().is_some_and(|hash| lost(&hash))
    }

    /// Counts since the start.
    pub(super) fn statistics(&self) -> PrefixStatistics {
        self.statistics
    }

    /// The block with this text.
    pub(super) fn find(&self, hash: ChainHash) -> Option<Found> {
        let block = *self.blocks.get(&hash)?;
        let ready = self.entries.get(&block).is_some_and(|entry| entry.ready);
        Some(if ready { Found::Ready(block) } else { Found::Pending })
    }

    /// Records that `block` holds this text, or, unless `ready`, will hold it. The first block of a text wins.
    pub(super) fn insert(&mut self, hash: ChainHash, block: BlockId, ready: bool) {
        match self.blocks.get(&hash) {
            None => {
                self.blocks.insert(hash, block);
                self.entries.insert(block, Entry { hash, ready, idle_since: None });
            }
            Some(known) if *known == block => {
                if let Some(entry) = self.entries.get_mut(&block) {
                    entry.ready |= ready;
                }
            }
            Some(_) => {}
        }
    }

    /// Whether `block` has an entry.
    pub(super) fn contains(&self, block: BlockId) -> bool {
        self.entries.contains_key(&block)
    }

    /// No sequence holds `block` any more. Removes it if its KV was never computed.
    pub(super) fn mark_idle(&mut self, block: BlockId) {
        match self.entries.get_mut(&block) {
            Some(entry) if entry.ready => {
                self.clock += 1;
                entry.idle_since = Some(self.clock);
                self.idle.insert(self.clock, block);
            }
            Some(_) => self.remove(block),
            None => {}
        }
    }

    /// A sequence holds `block` again.
    pub(super) fn mark_held(&mut self, block: BlockId) {
        let since = self.entries.get_mut(&block).and_then(|entry| entry.idle_since.take());
        if let Some(since) = since {
            self.idle.remove(&since);
        }
    }

    /// Evicts the block that has been idle for longest.
    pub(super) fn evict(&mut self) -> Option<BlockId> {
        let (_, block) = self.idle.pop_first()?;
        self.statistics.evictions += 1;
        if let Some(entry) = self.entries.get(&block) {
            self.evicted.push(entry.hash);
        }
        self.remove(block);
        Some(block)
    }

    /// Number of blocks that can be evicted.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Removes the entry of `block`.
    pub(super) fn remove(&mut self, block: BlockId) {
        if let Some(entry) = self.entries.remove(&block) {
            self.blocks.remove(&entry.hash);
            if let Some(since) = entry.idle_since {
                self.idle.remove(&since);
            }
        }
    }
}
