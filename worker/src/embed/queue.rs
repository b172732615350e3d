//! Which texts run together. Pure.
//!
//! Requests take turns. Whose turn it is puts its longest text into the step, and texts of any request that are about as
//! long join it, so that little is padding, until the step has tokens enough. So no request waits for more steps than there
//! are requests, and a request of many texts runs its long ones together, then its short ones.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::Piece;

/// Names a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// Below so many tokens a step takes about as long as with so many: padding is free there.
const FREE_TOKENS: usize = 256;
/// Of a larger step's tokens one of so many may be padding.
const PADDING: usize = 8;

/// Length and order of arrival.
type Key = (usize, u64);

/// The texts that wait.
#[derive(Debug)]
pub struct Queue {
    step_tokens: usize,
    lanes: usize,
    next: u64,
    waiting: BTreeMap<Key, (JobId, usize, Piece)>,
    /// The keys of each request's texts, the longest last; those of texts that have run may still be among them.
    jobs: HashMap<JobId, Vec<Key>>,
    turns: VecDeque<JobId>,
}

/// A step: texts, and for each whose it is and which of its texts.
#[derive(Debug, Default)]
pub struct Taken {
    /// Request and index.
    pub places: Vec<(JobId, usize)>,
    /// The texts, the longest first.
    pub pieces: Vec<Piece>,
}

impl Queue {
    /// For steps of at most `step_tokens` tokens, padding included, that are dealt out to `lanes`; a single longer text is a
    /// step too.
    pub fn new(step_tokens: usize, lanes: usize) -> Self {
        let lanes = lanes.max(1);
        Self {
            step_tokens,
            lanes,
            next: 0,
            waiting: BTreeMap::new(),
            jobs: HashMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Adds a request.
    pub fn add(&mut self, job: JobId, pieces: Vec<Piece>) {
        let mut keys = Vec::with_capacity(pieces.len());
        for (index, piece) in pieces.into_iter().enumerate() {
            let key = (piece.tokens.len(), self.next);
            self.next += 1;
            keys.push(key);
            self.waiting.insert(key, (job, index, piece));
        }
        keys.sort_unstable();
        self.jobs.insert(job, keys);
        self.turns.push_back(job);
    }

    /// Drops what waits of a request.
    pub fn remove(&mut self, job: JobId) {
        for key in self.jobs.remove(&job).unwrap_or_default() {
            self.waiting.remove(&key);
        }
        self.turns.retain(|other| *other != job);
    }

    /// Takes the next step's texts out; none where nothing waits.
    pub fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        let Some(first) = self.turn() else { return taken };
        let longest = first.0.max(1);
        let mut keys = vec![first];
        let mut tokens = first.0;
        for (key, _) in self.waiting.range(..first).rev() {
            let padded = (keys.len() + 1) * longest;
            let padding = padded - tokens - key.0;
            if padded > self.step_tokens || (padded > FREE_TOKENS && padding * PADDING > padded) {
                break;
            }
            tokens += key.0;
            keys.push(*key);
        }
        // As many for each lane: one with a text more would be waited for.
        if keys.len() > self.lanes {
            keys.truncate(keys.len() / self.lanes * self.lanes);
        }
        for key in keys {
            if let Some((job, index, piece)) = self.waiting.remove(&key) {
                taken.places.push((job, index));
                taken.pieces.push(piece);
            }
        }
        taken
    }

    /// The longest text of the request whose turn it is; that one's next turn comes last.
    fn turn(&mut self) -> Option<Key> {
        while let Some(job) = self.turns.pop_front() {
            let keys = self.jobs.get_mut(&job)?;
            while let Some(key) = keys.pop() {
                if self.waiting.contains_key(&key) {
                    self.turns.push_back(job);
                    return Some(key);
                }
            }
            self.jobs.remove(&job);
        }
        None
    }
}

#[cfg(test)]
mod tests;
