//! Hands out KV blocks. Pure: numbers only.
//!
//! Blocks are counted: sequences that begin alike hold the same blocks for it, which the prefix cache finds. A sequence's own
//! blocks are kept consecutive where that is free, because attention over a consecutive run needs no gathering: a
//! sequence grows into the block after its last one, and a new one starts at an empty group of blocks.

use std::cell::RefCell;
use std::rc::Rc;

use ipc_proto::worker::PrefixStatistics;

use super::prefix_cache::{ChainHash, ChainHasher, Found, PrefixCache};
use super::runner::BlockId;

/// Blocks that a new sequence would like to have for itself.
const GROUP: usize = 8;

/// The pool's free list, shared by the tables that return their blocks to it.
#[derive(Debug, Clone)]
pub struct BlockAllocator {
    shared: Rc<RefCell<Shared>>,
    hasher: Rc<ChainHasher>,
    block_size: u32,
}

#[derive(Debug)]
struct Shared {
    /// Tables that hold each block.
    holders: Vec<u32>,
    /// Blocks that somebody holds.
    used: usize,
    /// Blocks below the limit that nobody holds, those that the cache keeps included.
    free: usize,
    /// Blocks from here on are not handed out, and forgotten when nobody holds them.
    limit: usize,
    cache: PrefixCache,
}

/// One sequence's blocks, in order; dropping it lets go of them.
#[derive(Debug)]
pub struct BlockTable {
    blocks: Vec<BlockId>,
    /// The first so many were let go of; their places remain.
    released: usize,
    allocator: BlockAllocator,
}

/// The pool has no block left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBlocks;

/// Blocks that the prefix cache has of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cached {
    /// In all.
    pub blocks: u32,
    /// Of these, blocks that nobody holds, which count as free.
    pub idle: u32,
}

/// The text that follows is being computed by another sequence.
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

    /// Blocks in use.
    pub fn used(&self) -> u32 {
        self.shared.borrow().used as u32
    }

    /// Blocks that can be taken; some of them may hold text that would be forgotten.
    pub fn free(&self) -> u32 {
        self.shared.borrow().free as u32
    }

    /// Blocks that would be free if `table` let go of its own.
    pub fn held_alone(&self, table: &BlockTable) -> u32 {
        let shared = self.shared.borrow();
        table.held().iter().filter(|block| shared.holders[**block as usize] == 1).count() as u32
    }

    /// Blocks that may be in use.
    pub fn limit(&self) -> u32 {
        self.shared.borrow().limit as u32
    }

    /// Hands out only the first `limit` blocks from now on, of those it was made with. Blocks beyond that stay with whoever
    /// holds them.
    pub fn set_limit(&self, limit: u32) {
        self.shared.borrow_mut().set_limit(limit as usize);
    }

    /// Forgets all text that nobody holds.
    pub fn forget_idle(&self) {
        let mut shared = self.shared.borrow_mut();
        while shared.cache.evict().is_some() {}
    }

    /// The first block behind all that hold something.
    pub fn end(&self) -> u32 {
        let shared = self.shared.borrow();
        let holds = |at: &usize| shared.holders[*at] > 0 || shared.cache.knows(*at as BlockId);
        (0..shared.holders.len()).rev().find(holds).map_or(0, |last| last as u32 + 1)
    }

    /// Blocks that hold `tokens` tokens.
    pub fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_size)
    }

    /// Blocks that the first `tokens` tokens fill.
    pub fn whole_blocks(&self, tokens: usize) -> usize {
        tokens / self.block_size as usize
    }

    /// Tokens in `blocks` full blocks.
    pub fn tokens_in(&self, blocks: u32) -> usize {
        (blocks * self.block_size) as usize
    }

    /// What the hashes of a scope's texts begin with.
    pub fn scope(&self, name: &str) -> ChainHash {
        self.hasher.scope(name)
    }

    /// Blocks of the first `computed` tokens that the next one is too far from to see.
    pub fn behind(&self, window: u32, computed: usize) -> usize {
        self.whole_blocks((computed + 1).saturating_sub(window as usize))
    }

    /// What is there of the text of `chain`, from its beginning; of a `window`, only what is seen from its end will be held.
    ///
    /// # Errors
    /// When what follows is being computed: waiting for it is cheaper than computing it too.
    pub fn find(&self, chain: &[ChainHash], window: Option<u32>) -> Result<Cached, Pending> {
        let shared = self.shared.borrow();
        let mut cached = Cached::default();
        for found in chain.iter().map_while(|hash| shared.cache.find(*hash)) {
            let Found::Ready(_) = found else { return Err(Pending) };
            cached.blocks += 1;
        }
        let held = window.map_or(0, |window| self.behind(window, self.tokens_in(cached.blocks)));
        let idle = |hash: &&ChainHash| match shared.cache.find(**hash) {
            Some(Found::Ready(block)) => shared.holders[block as usize] == 0,
            _ => false,
        };
        cached.idle = chain[held..cached.blocks as usize].iter().filter(idle).count() as u32;
        Ok(cached)
    }

    /// Counts a prompt's hits and misses; true if the first missing block had been there once.
    pub fn count(&self, chain: &[ChainHash], hits: usize) -> bool {
        self.shared.borrow_mut().cache.count(chain, hits)
    }

    /// What the prefix cache did since the start.
    pub fn statistics(&self) -> PrefixStatistics {
        self.shared.borrow().cache.statistics()
    }

    /// Continues the hashes of the full blocks of `tokens`, of which `chain` has the first ones; the text is of `scope`.
    pub fn extend_chain(&self, chain: &mut Vec<ChainHash>, scope: ChainHash, tokens: &[u32]) {
        let size = self.block_size as usize;
        for block in tokens.chunks_exact(size).skip(chain.len()) {
            let before = chain.last().copied().unwrap_or(scope);
            chain.push(self.hasher.next(before, block));
        }
    }
}

impl Shared {
    fn take(&mut self, last: Option<BlockId>) -> Option<BlockId> {
        let blank = self.free - self.cache.idle();
        let at = if blank == 0 { self.cache.evict()? } else { self.blank(last)? };
        self.holders[at as usize] = 1;
        self.used += 1;
        self.free -= 1;
        Some(at)
    }

    /// A block that nobody holds and that holds nothing.
    fn blank(&self, last: Option<BlockId>) -> Option<BlockId> {
        let blank = |at: usize| self.holders[at] == 0 && !self.cache.knows(at as BlockId);
        let all = self.limit;
        let next = last.map(|last| last as usize + 1).filter(|next| *next < all && blank(*next));
        let group = || (0..all).step_by(GROUP).find(|at| (*at..all.min(at + GROUP)).all(blank));
        let any = || (0..all).find(|at| blank(*at));
        next.or_else(group).or_else(any).map(|at| at as BlockId)
    }

    fn hold(&mut self, block: BlockId) {
        let holders = &mut self.holders[block as usize];
        *holders += 1;
        if *holders == 1 {
            self.used += 1;
            self.free -= 1;
            self.cache.unpark(block);
        }
    }

    fn let_go(&mut self, block: BlockId) {
        let holders = &mut self.holders[block as usize];
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        self.used -= 1;
        if (block as usize) < self.limit {
            self.free += 1;
            self.cache.park(block);
        } else {
            self.cache.forget(block);
        }
    }

    fn set_limit(&mut self, limit: usize) {
        let limit = limit.min(self.holders.len());
        let unheld = |holders: &[u32]| holders.iter().filter(|holders| **holders == 0).count();
        if limit < self.limit {
            self.free -= unheld(&self.holders[limit..self.limit]);
            for block in (limit..self.limit).filter(|at| self.holders[*at] == 0) {
                self.cache.forget(block as BlockId);
            }
        } else {
            self.free += unheld(&self.holders[self.limit..limit]);
        }
        self.limit = limit;
    }
}

impl BlockTable {
    /// Fills an empty table with the blocks that hold the beginning of the text of `chain`.
    pub fn adopt(&mut self, chain: &[ChainHash]) {
        debug_assert!(self.blocks.is_empty(), "only a table without blocks adopts any");
        let mut shared = self.allocator.shared.borrow_mut();
        for hash in chain {
            let Some(Found::Ready(block)) = shared.cache.find(*hash) else { return };
            shared.hold(block);
            self.blocks.push(block);
        }
    }

    /// Says what text the blocks hold, or, unless `ready`, are about to; `chain[..from]` is known already.
    pub fn announce(&self, chain: &[ChainHash], from: usize, ready: bool) {
        let mut shared = self.allocator.shared.borrow_mut();
        for (hash, block) in chain.iter().zip(&self.blocks).skip(from.max(self.released)) {
            shared.cache.enter(*hash, *block, ready);
        }
    }

    /// Takes blocks until `tokens` tokens fit.
    ///
    /// # Errors
    /// When the pool runs out; the table keeps what it has then.
    pub fn reach(&mut self, tokens: u32) -> Result<(), OutOfBlocks> {
        let needed = self.allocator.blocks_for(tokens) as usize;
        while self.blocks.len() < needed {
            let block = self.allocator.shared.borrow_mut().take(self.blocks.last().copied());
            self.blocks.push(block.ok_or(OutOfBlocks)?);
        }
        Ok(())
    }

    /// Lets go of the first `count` blocks, which nobody will read for this text any more.
    pub fn release(&mut self, count: usize) {
        let mut shared = self.allocator.shared.borrow_mut();
        for block in &mut self.blocks[self.released.min(count)..count] {
            // The place is kept by a number that every pool has.
            shared.let_go(std::mem::take(block));
        }
        self.released = self.released.max(count);
    }

    /// Blocks that it holds.
    fn held(&self) -> &[BlockId] {
        &self.blocks[self.released..]
    }

    /// The blocks in order.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// The pool slot of the token at `position`, which the table has reached.
    pub fn slot(&self, position: u32) -> u32 {
        let size = self.allocator.block_size;
        self.blocks[(position / size) as usize] * size + position % size
    }

    /// Lets go of every block, the last one first: of a text that the cache keeps, the end is given up before the beginning.
    pub fn clear(&mut self) {
        let mut shared = self.allocator.shared.borrow_mut();
        for block in self.blocks.drain(self.released..).rev() {
            shared.let_go(block);
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
