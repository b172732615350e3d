//! Hands out KV blocks. Pure: numbers only.
//!
//! A sequence's blocks are kept consecutive where that is free, because attention over a consecutive run needs no
//! gathering: a sequence grows into the block after its last one, and a new one starts at an empty group of blocks.

use std::cell::RefCell;
use std::rc::Rc;

use super::runner::BlockId;

/// Blocks that a new sequence would like to have for itself.
const GROUP: usize = 8;

/// The pool's free list, shared by the tables that return their blocks to it.
#[derive(Debug, Clone)]
pub struct BlockAllocator {
    shared: Rc<RefCell<Shared>>,
    block_size: u32,
}

#[derive(Debug)]
struct Shared {
    used: Vec<bool>,
    free: usize,
}

/// One sequence's blocks, in order; dropping it frees them.
#[derive(Debug)]
pub struct BlockTable {
    blocks: Vec<BlockId>,
    allocator: BlockAllocator,
}

/// The pool has no block left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBlocks;

impl BlockAllocator {
    /// A pool of `blocks` blocks of `block_size` tokens.
    pub fn new(blocks: u32, block_size: u32) -> Self {
        let free = blocks as usize;
        Self { shared: Rc::new(RefCell::new(Shared { used: vec![false; free], free })), block_size }
    }

    /// An empty table.
    pub fn table(&self) -> BlockTable {
        BlockTable { blocks: Vec::new(), allocator: self.clone() }
    }

    /// Blocks in use.
    pub fn used(&self) -> u32 {
        let shared = self.shared.borrow();
        (shared.used.len() - shared.free) as u32
    }

    /// Blocks that can be taken.
    pub fn free(&self) -> u32 {
        self.shared.borrow().free as u32
    }

    /// Blocks in all.
    pub fn total(&self) -> u32 {
        self.shared.borrow().used.len() as u32
    }

    /// Blocks that hold `tokens` tokens.
    pub fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_size)
    }
}

impl Shared {
    fn take(&mut self, last: Option<BlockId>) -> Option<BlockId> {
        if self.free == 0 {
            return None;
        }
        let next = last.map(|last| last as usize + 1).filter(|next| self.used.get(*next) == Some(&false));
        let group = || self.used.chunks(GROUP).position(|group| !group.contains(&true)).map(|at| at * GROUP);
        let any = || self.used.iter().position(|used| !used);
        let at = next.or_else(group).or_else(any)?;
        self.used[at] = true;
        self.free -= 1;
        Some(at as BlockId)
    }
}

impl BlockTable {
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

    /// The blocks in order.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// The pool slot of the token at `position`, which the table has reached.
    pub fn slot(&self, position: u32) -> u32 {
        let size = self.allocator.block_size;
        self.blocks[(position / size) as usize] * size + position % size
    }

    /// Returns every block.
    pub fn clear(&mut self) {
        let mut shared = self.allocator.shared.borrow_mut();
        for block in self.blocks.drain(..) {
            shared.used[block as usize] = false;
            shared.free += 1;
        }
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
