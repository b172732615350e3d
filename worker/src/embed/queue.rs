//! Decides which texts run together. Pure.
//!
//! Requests take turns. A request's turn puts its longest text into the step. Then texts of about the same length join, from any
//! request, until the step has enough tokens. So little of a step is padding, and no request waits for more steps than
//! there are requests. A request with many texts runs its long ones together, then its short ones.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::EncoderInput;

/// Identifies a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// A step with fewer tokens takes about as long as one with this many, so padding up to it is free.
const FREE_TOKENS: usize = 256;
/// At most this fraction (1/8) of a larger step's tokens is padding.
const PADDING: usize = 8;

/// Length in tokens, and order of arrival.
type Key = (usize, u64);

/// The waiting texts.
#[derive(Debug)]
pub struct BatchQueue {
    step_tokens: usize,
    lanes: usize,
    next_arrival: u64,
    waiting: BTreeMap<Key, (JobId, usize, EncoderInput)>,
    /// The keys of each request's texts, the longest last. Includes keys of texts that have run.
    jobs: HashMap<JobId, Vec<Key>>,
    turns: VecDeque<JobId>,
}

/// The texts of one step.
#[derive(Debug, Default)]
pub struct TextBatch {
    /// For each text, its request and its index there.
    pub slots: Vec<(JobId, usize)>,
    /// The texts, the longest first.
    pub inputs: Vec<EncoderInput>,
}

impl BatchQueue {
    /// A queue for steps of at most `step_tokens` tokens, padding included, on `lanes` lanes. A longer text is a step of its
    /// own.
    pub fn new(step_tokens: usize, lanes: usize) -> Self {
        Self {
            step_tokens,
            lanes: lanes.max(1),
            next_arrival: 0,
            waiting: BTreeMap::new(),
            jobs: HashMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Adds a request.
    pub fn add(&mut self, job: JobId, inputs: Vec<EncoderInput>) {
        let mut keys = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.into_iter().enumerate() {
            let key = (input.tokens.len(), self.next_arrival);
            self.next_arrival += 1;
            keys.push(key);
            self.waiting.insert(key, (job, index, input));
        }
        keys.sort_unstable();
        self.jobs.insert(job, keys);
        self.turns.push_back(job);
    }

    /// Removes the waiting texts of a request.
    pub fn remove(&mut self, job: JobId) {
        for key in self.jobs.remove(&job).unwrap_or_default() {
            self.waiting.remove(&key);
        }
        self.turns.retain(|other| *other != job);
    }

    /// Removes and returns the texts of the next step. Empty if no text waits.
    pub fn next_batch(&mut self) -> TextBatch {
        let mut batch = TextBatch::default();
        let Some(first) = self.next_turn() else { return batch };
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
        // The same number of texts for each lane: all lanes would wait for one with an extra text.
        if keys.len() > self.lanes {
            keys.truncate(keys.len() / self.lanes * self.lanes);
        }
        for key in keys {
            if let Some((job, index, input)) = self.waiting.remove(&key) {
                batch.slots.push((job, index));
                batch.inputs.push(input);
            }
        }
        batch
    }

    /// The longest text of the request whose turn it is. That request goes to the end of the line.
    fn next_turn(&mut self) -> Option<Key> {
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
