//! Counts recurrent states, and finds those that a text can continue from. Pure: numbers only.
//!
//! A state is never changed: a step reads one and makes another. So a fork shares it, and a step is taken back by keeping the
//! state before it. Each sequence holds the state after its computed tokens, and while a step runs also the next one. A
//! state at the border of a block may be published under the hash of the text up to there. It stays as a snapshot when no
//! sequence holds it any more, until room is needed. Eviction is least recently used.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::prefix_cache::ChainHash;
use super::runner::StateId;

/// The states of one worker; clones share them.
#[derive(Debug, Clone)]
pub struct StatePool(Rc<RefCell<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    /// Most states, snapshots included. Held states may exceed it.
    limit: usize,
    /// Id of the next state. Ids are never used twice.
    next: StateId,
    all: HashMap<StateId, Entry>,
    snapshots: HashMap<ChainHash, StateId>,
    /// Snapshots that no sequence holds, by the clock value since which they are idle.
    idle: BTreeMap<u64, StateId>,
    clock: u64,
    /// States that the runner can forget.
    dropped: Vec<StateId>,
}

#[derive(Debug, Default)]
struct Entry {
    holders: usize,
    /// The text that it is a snapshot of.
    hash: Option<ChainHash>,
    idle_since: Option<u64>,
}

/// A held state. Dropping it releases it.
#[derive(Debug)]
pub struct State {
    id: StateId,
    pool: StatePool,
}

impl StatePool {
    /// A pool of at most `limit` states.
    pub fn new(limit: u32) -> Self {
        Self(Rc::new(RefCell::new(Shared { limit: limit as usize, ..Shared::default() })))
    }

    /// Most states.
    pub fn limit(&self) -> usize {
        self.0.borrow().limit
    }

    /// Sets the limit and evicts snapshots beyond it.
    pub fn set_limit(&self, limit: u32) {
        let mut shared = self.0.borrow_mut();
        shared.limit = limit as usize;
        shared.evict_beyond(limit as usize);
    }

    /// Evicts all idle snapshots.
    pub fn evict_idle(&self) {
        self.0.borrow_mut().evict_beyond(0);
    }

    /// A new state. Evicts a snapshot if the pool is full. Sequences that hold two states each have room if the limit is twice
    /// their number.
    pub fn take(&self) -> State {
        let mut shared = self.0.borrow_mut();
        let room = shared.limit.saturating_sub(1);
        shared.evict_beyond(room);
        let id = shared.next;
        shared.next += 1;
        shared.all.insert(id, Entry { holders: 1, ..Entry::default() });
        State { id, pool: self.clone() }
    }

    /// Whether there is a snapshot of this text.
    pub fn contains(&self, text: ChainHash) -> bool {
        self.0.borrow().snapshots.contains_key(&text)
    }

    /// Holds the snapshot of this text.
    pub fn find(&self, text: ChainHash) -> Option<State> {
        let id = *self.0.borrow().snapshots.get(&text)?;
        self.0.borrow_mut().retain(id);
        Some(State { id, pool: self.clone() })
    }

    /// Makes `state` the snapshot of this text. The first one wins.
    pub fn publish(&self, text: ChainHash, state: &State) {
        let mut shared = self.0.borrow_mut();
        if shared.snapshots.contains_key(&text) {
            return;
        }
        if let Some(entry) = shared.all.get_mut(&state.id).filter(|entry| entry.hash.is_none()) {
            entry.hash = Some(text);
            shared.snapshots.insert(text, state.id);
        }
    }

    /// Withdraws the snapshot of this text.
    pub fn withdraw(&self, text: ChainHash) {
        let mut shared = self.0.borrow_mut();
        let Some(id) = shared.snapshots.remove(&text) else { return };
        let Some(entry) = shared.all.get_mut(&id) else { return };
        entry.hash = None;
        if let Some(since) = entry.idle_since {
            shared.idle.remove(&since);
            shared.forget(id);
        }
    }

    /// The states that were dropped since the last call.
    pub fn take_dropped(&self) -> Vec<StateId> {
        std::mem::take(&mut self.0.borrow_mut().dropped)
    }
}

impl Shared {
    /// Evicts the snapshots that have been idle for longest until at most `count` states are left.
    fn evict_beyond(&mut self, count: usize) {
        while self.all.len() > count {
            let Some((_, id)) = self.idle.pop_first() else { return };
            self.forget(id);
        }
    }

    fn forget(&mut self, id: StateId) {
        if let Some(hash) = self.all.remove(&id).and_then(|entry| entry.hash) {
            self.snapshots.remove(&hash);
        }
        self.dropped.push(id);
    }

    fn retain(&mut self, id: StateId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        entry.holders += 1;
        if let Some(since) = entry.idle_since.take() {
            self.idle.remove(&since);
        }
    }

    fn release(&mut self, id: StateId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        entry.holders -= 1;
        match (entry.holders, entry.hash) {
            (0, Some(_)) => {
                self.clock += 1;
                entry.idle_since = Some(self.clock);
                self.idle.insert(self.clock, id);
                self.evict_beyond(self.limit);
            }
            (0, None) => self.forget(id),
            _ => {}
        }
    }
}

impl State {
    /// Its id.
    pub fn id(&self) -> StateId {
        self.id
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.pool.0.borrow_mut().release(self.id);
    }
}

#[cfg(test)]
mod tests;
