//! Allocates KV blocks. Pure: numbers only.
//!
//! Blocks are reference-counted: sequences with a common prefix share its blocks, which the prefix cache finds. The blocks
//! of a sequence are consecutive if that costs nothing, because attention over a consecutive run needs no gathering. So a
//! sequence grows into the block after its last one, and a new sequence starts at an empty group of blocks.

use std::cell::RefCell;
use std::rc::Rc;

use ipc_proto::worker::PrefixStatistics;

use super::images::PromptImages;
use super::prefix_cache::{ChainHash, ChainHasher, Found, PrefixCache};
use super::runner::BlockId;

/// Size of the empty group of blocks at which a new sequence starts, if there is one.
const GROUP: usize = 8;

/// The pool of blocks; clones share it.
#[derive(Debug, Clone)]
pub struct BlockAllocator {
    shared: Rc<RefCell<Shared>>,
    hasher: Rc<ChainHasher>,
    block_size: u32,
}

#[derive(Debug)]
struct Shared {
    /// Reference count of each block.
    holders: Vec<u32>,
    /// Number of held blocks.
    used: usize,
    /// Number of blocks below the limit that no table holds, cached ones included.
    free: usize,
    /// Blocks from this index on are not allocated, and not cached once no table holds them.
    limit: usize,
    cache: PrefixCache,
}

/// One sequence's blocks, in order. Dropping it frees them.
#[derive(Debug)]
pub struct BlockTable {
    blocks: Vec<BlockId>,
    /// Number of leading blocks already freed; their entries remain as placeholders.
    released: usize,
    allocator: BlockAllocator,
}

/// The pool has no free block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBlocks;

/// The cached blocks of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cached {
    /// Total number.
    pub blocks: u32,
    /// Of these, blocks that no table holds. They count as free.
    pub idle: u32,
}

/// Another sequence is computing the next part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending;

impl BlockAllocator {
    /// A pool of `blocks` blocks of `block_size` tokens.
    pub fn new(blocks: u32, block_size: u32) -> Self {
        let free = blocks as usize;
        let shared =
            Shared { holders: vec![0; free], used: 0, free, limit: free, cache: PrefixCache::default() };
        Self { shared: Rc::new(RefCell::new(shared)), hasher: Rc::default(), block_size }
    }

    /// An empty table.
    pub fn table(&self) -> BlockTable {
        BlockTable { blocks: Vec::new(), released: 0, allocator: self.clone() }
    }

    /// Number of held blocks.
    pub fn used(&self) -> u32 {
        self.shared.borrow().used as u32
    }

    /// Number of free blocks, including idle cached blocks, which allocation evicts.
    pub fn free(&self) -> u32 {
        self.shared.borrow().free as u32
    }

    /// Number of blocks that only `table` holds.
    pub fn exclusive_blocks(&self, table: &BlockTable) -> u32 {
        let shared = self.shared.borrow();
        table.held().iter().filter(|block| shared.holders[**block as usize] == 1).count() as u32
    }

    /// Maximum number of blocks in use.
    pub fn limit(&self) -> u32 {
        self.shared.borrow().limit as u32
    }

    /// Restricts allocation to the first `limit` blocks. Tables keep the blocks that they hold beyond that.
    pub fn set_limit(&self, limit: u32) {
        self.shared.borrow_mut().set_limit(limit as usize);
    }

    /// Evicts all idle blocks.
    pub fn evict_idle(&self) {
        let mut shared = self.shared.borrow_mut();
        while shared.cache.evict().is_some() {}
    }

    /// One past the last block that is held or cached.
    pub fn used_end(&self) -> u32 {
        let shared = self.shared.borrow();
        let holds = |at: &usize| shared.holders[*at] > 0 || shared.cache.contains(*at as BlockId);
        (0..shared.holders.len()).rev().find(holds).map_or(0, |last| last as u32 + 1)
    }

    /// Number of blocks for `tokens` tokens, rounded up.
    pub fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_size)
    }

    /// Number of blocks that `tokens` tokens fill, rounded down.
    pub fn whole_blocks(&self, tokens: usize) -> usize {
        tokens / self.block_size as usize
    }

    /// Number of tokens in `blocks` full blocks.
    pub fn tokens_in(&self, blocks: u32) -> usize {
        (blocks * self.block_size) as usize
    }

    /// The initial hash of a cache scope.
    pub fn scope(&self, name: &str) -> ChainHash {
        self.hasher.scope(name)
    }

    /// The initial hash of extended texts in a cache scope: their KV differs from that of the same tokens in short texts.
    pub fn extended_scope(&self, scope: ChainHash) -> ChainHash {
        self.hasher.next(scope, &[])
    }

    /// Number of leading blocks outside the window of the token after `computed` tokens.
    pub fn blocks_outside_window(&self, window: u32, computed: usize) -> usize {
        self.whole_blocks((computed + 1).saturating_sub(window as usize))
    }

    /// Finds the cached blocks at the start of `chain`. With a `window`, only blocks within it count as `idle`, since the
    /// sequence holds no others.
    ///
    /// # Errors
    /// When another sequence is computing the next block: waiting is cheaper than computing it again.
    pub fn find(&self, chain: &[ChainHash], window: Option<u32>) -> Result<Cached, Pending> {
        let shared = self.shared.borrow();
        let mut cached = Cached::default();
        for found in chain.iter().map_while(|hash| shared.cache.find(*hash)) {
            let Found::Ready(_) = found else { return Err(Pending) };
            cached.blocks += 1;
        }
        let held =
            window.map_or(0, |window| self.blocks_outside_window(window, self.tokens_in(cached.blocks)));
        let idle = |hash: &&ChainHash| match shared.cache.find(**hash) {
            Some(Found::Ready(block)) => shared.holders[block as usize] == 0,
            _ => false,
        };
        cached.idle = chain[held..cached.blocks as usize].iter().filter(idle).count() as u32;
        Ok(cached)
    }

    /// Records a prompt's hits and misses. Returns whether the first missing block was evicted earlier.
    pub fn record_lookup(&self, chain: &[ChainHash], hits: usize) -> bool {
        self.shared.borrow_mut().cache.record_lookup(chain, hits)
    }

    /// Prefix cache counts since the start.
    pub fn statistics(&self) -> PrefixStatistics {
        self.shared.borrow().cache.statistics()
    }

    /// Appends the missing hashes of the full blocks of `tokens` to `chain`, whose first hash follows from `scope`. The tokens of
    /// `images` mean what these show.
    pub fn extend_chain(
        &self,
        chain: &mut Vec<ChainHash>,
        scope: ChainHash,
        tokens: &[u32],
        images: &PromptImages,
    ) {
        let size = self.block_size as usize;
        for block in tokens.chunks_exact(size).skip(chain.len()) {
            let before = chain.last().copied().unwrap_or(scope);
            let start = chain.len() * size;
            let before = images
                .digests(start..start + size)
                .fold(before, |before, digest| self.hasher.next_image(before, digest));
            chain.push(self.hasher.next(before, block));
        }
    }
}

impl Shared {
    fn take(&mut self, last: Option<BlockId>) -> Option<BlockId> {
        let blank = self.free - self.cache.idle();
        let at = if blank == 0 { self.cache.evict()? } else { self.find_blank(last)? };
        self.holders[at as usize] = 1;
        self.used += 1;
        self.free -= 1;
        Some(at)
    }

    /// A block that is neither held nor cached: the one after `last`, else an empty group, else any.
    fn find_blank(&self, last: Option<BlockId>) -> Option<BlockId> {
        let blank = |at: usize| self.holders[at] == 0 && !self.cache.contains(at as BlockId);
        let all = self.limit;
        let next = last.map(|last| last as usize + 1).filter(|next| *next < all && blank(*next));
        let group = || (0..all).step_by(GROUP).find(|at| (*at..all.min(at + GROUP)).all(blank));
        let any = || (0..all).find(|at| blank(*at));
        next.or_else(group).or_else(any).map(|at| at as BlockId)
    }

    fn retain(&mut self, block: BlockId) {
        let holders = &mut self.holders[block as usize];
        *holders += 1;
        if *holders == 1 {
            self.used += 1;
            self.free -= 1;
            self.cache.mark_held(block);
        }
    }

    fn release(&mut self, block: BlockId) {
        let holders = &mut self.holders[block as usize];
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        self.used -= 1;
        if (block as usize) < self.limit {
            self.free += 1;
            self.cache.mark_idle(block);
        } else {
            self.cache.remove(block);
        }
    }

    fn set_limit(&mut self, limit: usize) {
        let limit = limit.min(self.holders.len());
        let unheld = |holders: &[u32]| holders.iter().filter(|holders| **holders == 0).count();
        if limit < self.limit {
            self.free -= unheld(&self.holders[limit..self.limit]);
            for block in (limit..self.limit).filter(|at| self.holders[*at] == 0) {
                self.cache.remove(block as BlockId);
            }
        } else {
            self.free += unheld(&self.holders[self.limit..limit]);
        }
        self.limit = limit;
    }
}

impl BlockTable {
    /// Fills an empty table with the ready blocks at the start of `chain`.
    pub fn adopt(&mut self, chain: &[ChainHash]) {
        debug_assert!(self.blocks.is_empty(), "only an empty table adopts blocks");
        let mut shared = self.allocator.shared.borrow_mut();
        for hash in chain {
            let Some(Found::Ready(block)) = shared.cache.find(*hash) else { return };
            shared.retain(block);
            self.blocks.push(block);
        }
    }

    /// Publishes the text of the blocks from index `from` on in the prefix cache; unless `ready`, as pending.
    pub fn publish(&self, chain: &[ChainHash], from: usize, ready: bool) {
        let mut shared = self.allocator.shared.borrow_mut();
        for (hash, block) in chain.iter().zip(&self.blocks).skip(from.max(self.released)) {
            shared.cache.insert(*hash, *block, ready);
        }
    }

    /// Allocates blocks until `tokens` tokens fit.
    ///
    /// # Errors
    /// When the pool has no free block; the table keeps the blocks that it got.
    pub fn grow_to(&mut self, tokens: u32) -> Result<(), OutOfBlocks> {
        let needed = self.allocator.blocks_for(tokens) as usize;
        while self.blocks.len() < needed {
            let block = self.allocator.shared.borrow_mut().take(self.blocks.last().copied());
            self.blocks.push(block.ok_or(OutOfBlocks)?);
        }
        Ok(())
    }

    /// Frees the first `count` blocks, which this sequence no longer reads.
    pub fn release_first(&mut self, count: usize) {
        let mut shared = self.allocator.shared.borrow_mut();
        for block in &mut self.blocks[self.released.min(count)..count] {
            // The placeholder is block 0, which every pool has.
            shared.release(std::mem::take(block));
        }
        self.released = self.released.max(count);
    }

    /// The blocks that it still holds.
    fn held(&self) -> &[BlockId] {
        &self.blocks[self.released..]
    }

    /// The blocks in order, placeholders included.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// The pool slot of the token at `position`, which must fit in the table.
    pub fn slot(&self, position: u32) -> u32 {
        let size = self.allocator.block_size;
        self.blocks[(position / size) as usize] * size + position % size
    }

    /// Frees every block, the last one first, so that the cache evicts the end of a text before its beginning.
    pub fn clear(&mut self) {
        let mut shared = self.allocator.shared.borrow_mut();
        for block in self.blocks.drain(self.released..).rev() {
            shared.release(block);
        }
        self.blocks.clear();
        self.released = 0;
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
