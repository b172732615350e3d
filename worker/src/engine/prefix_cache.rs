//! Remembers which blocks hold the KV of which text, so that it is computed once. Pure: hashes and block ids.
//!
//! A block is known by the hash of its tokens chained to the hash of the block before it, so equal hashes mean equal text
//! from the beginning. Blocks are entered when their sequence is admitted, before they are computed: whoever comes with the
//! same beginning can wait for them instead of computing them too. Blocks that nobody holds stay until the pool needs
//! them; the one unused for longest goes first.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use ipc_proto::worker::PrefixStatistics;

use super::runner::BlockId;

/// Names the text from the beginning of a sequence to the end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ChainHash(u64, u64);

/// Makes chain hashes. The keys are drawn for each process, so that nobody outside can construct two texts of one hash.
#[derive(Debug, Clone, Default)]
pub(super) struct ChainHasher(RandomState, RandomState);

/// Blocks given up that are remembered, so that a miss can be explained.
const REMEMBERED: usize = 4096;

/// What is known of a block's content.
#[derive(Debug)]
struct Entry {
    hash: ChainHash,
    /// Set once the KV is there.
    ready: bool,
    /// When it was last held, while nobody holds it.
    idle_since: Option<u64>,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct PrefixCache {
    blocks: HashMap<ChainHash, BlockId>,
    entries: HashMap<BlockId, Entry>,
    /// Blocks that nobody holds, by the time since when.
    idle: BTreeMap<u64, BlockId>,
    clock: u64,
    given_up: GivenUp,
    statistics: PrefixStatistics,
}

/// The texts of the blocks that were given up last.
#[derive(Debug, Default)]
struct GivenUp {
    order: VecDeque<ChainHash>,
    all: HashSet<ChainHash>,
}

/// Whether a block's KV is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Ready(BlockId),
    /// Somebody is computing it.
    Pending,
}

impl ChainHasher {
    /// What the texts of a scope begin with; the same for all of the empty one.
    pub(super) fn scope(&self, name: &str) -> ChainHash {
        match name {
            "" => ChainHash::default(),
            name => ChainHash(self.0.hash_one(name), self.1.hash_one(name)),
        }
    }

    /// The hash of `tokens`, one block, after the text of `before`.
    pub(super) fn next(&self, before: ChainHash, tokens: &[u32]) -> ChainHash {
        ChainHash(self.0.hash_one((before, tokens)), self.1.hash_one((before, tokens)))
    }
}

impl GivenUp {
    fn push(&mut self, hash: ChainHash) {
        if self.all.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

impl PrefixCache {
    /// Counts a prompt of which the first `hits` blocks of `chain` were found. True if the next one had been there once.
    pub(super) fn count(&mut self, chain: &[ChainHash], hits: usize) -> bool {
        let missed = &chain[hits..];
        let lost = |hash: &&ChainHash| self.given_up.all.contains(*hash);
        let after_eviction = missed.iter().filter(lost).count();
        self.statistics.hits += hits as u64;
        self.statistics.misses += missed.len() as u64;
        self.statistics.misses_after_eviction += after_eviction as u64;
        if !missed.is_empty() {
            self.statistics.last_miss_at = hits as u64;
        }
        missed.first().is_some_and(|hash| lost(&hash))
    }

    /// What it did since the start.
    pub(super) fn statistics(&self) -> PrefixStatistics {
        self.statistics
    }

    /// Who holds this text.
    pub(super) fn find(&self, hash: ChainHash) -> Option<Found> {
        let block = *self.blocks.get(&hash)?;
        let ready = self.entries.get(&block).is_some_and(|entry| entry.ready);
        Some(if ready { Found::Ready(block) } else { Found::Pending })
    }

    /// Says that `block` holds this text, or is about to. The first to say so counts.
    pub(super) fn enter(&mut self, hash: ChainHash, block: BlockId, ready: bool) {
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
    pub(super) fn knows(&self, block: BlockId) -> bool {
        self.entries.contains_key(&block)
    }

    /// Nobody holds `block` any more. What was not computed is forgotten.
    pub(super) fn park(&mut self, block: BlockId) {
        match self.entries.get_mut(&block) {
            Some(entry) if entry.ready => {
                self.clock += 1;
                entry.idle_since = Some(self.clock);
                self.idle.insert(self.clock, block);
            }
            Some(_) => self.forget(block),
            None => {}
        }
    }

    /// Somebody holds `block` again.
    pub(super) fn unpark(&mut self, block: BlockId) {
        let since = self.entries.get_mut(&block).and_then(|entry| entry.idle_since.take());
        if let Some(since) = since {
            self.idle.remove(&since);
        }
    }

    /// Gives up the block that nobody has held for longest.
    pub(super) fn evict(&mut self) -> Option<BlockId> {
        let (_, block) = self.idle.pop_first()?;
        self.statistics.evictions += 1;
        if let Some(entry) = self.entries.get(&block) {
            self.given_up.push(entry.hash);
        }
        self.forget(block);
        Some(block)
    }

    /// Blocks that could be evicted.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Knows nothing of `block` any more.
    pub(super) fn forget(&mut self, block: BlockId) {
        if let Some(entry) = self.entries.remove(&block) {
            self.blocks.remove(&entry.hash);
            if let Some(since) = entry.idle_since {
                self.idle.remove(&since);
            }
        }
    }
}
