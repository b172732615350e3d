//! The order of the waiting sequences, and the room that running ones of lower classes make for them.

use super::{Scheduler, blocks_to_join};
use crate::engine::fair_share::FairShare;
use crate::engine::sequence::Sequence;

/// Steps of waiting after which a sequence counts as the next higher class.
pub(super) const AGEING_STEPS: u64 = 256;

impl Scheduler {
    /// Sorts the queue by rank, then by the tenants' turns, then by arrival.
    pub(super) fn order_waiting(&mut self) {
        let (now, shares) = (self.steps, &self.shares);
        self.waiting.sort_by_key(|sequence| (rank(sequence, shares, now), sequence.id));
        if shares.is_shared() && self.waiting.len() > 1 {
            let mut turns = shares.turns();
            for sequence in &mut self.waiting {
                let (share, tokens) = (sequence.precedence.share, sequence.length());
                sequence.precedence.turn = FairShare::take_turn(&mut turns, share, tokens);
            }
            let order =
                |sequence: &Sequence| (rank(sequence, shares, now), sequence.precedence.turn, sequence.id);
            self.waiting.sort_by_key(order);
        }
    }

    /// Preempts running sequences of lower classes if the first waiting one has no room otherwise.
    pub(super) fn preempt_for_waiting(&mut self) {
        let most_running = self.most_running();
        let Some(first) = self.waiting.first_mut() else { return };
        let (class, now) = (first.precedence.class, self.steps);
        let first_rank = rank(first, &self.shares, now);
        let lower =
            |running: &Sequence| running.precedence.class > class && running.precedence.joined.0 > first_rank;
        if !self.running.last().is_some_and(lower) {
            return;
        }
        let found = first.find(&self.allocator, self.states.as_ref(), &self.capacity);
        let Ok(cached) = found else { return };
        let needed = blocks_to_join(&self.allocator, self.span, first, cached.blocks) + cached.idle;
        let room = |running: usize, free: u32| running < most_running && free >= needed + running as u32;
        let (mut running, mut free) = (self.running.len(), self.allocator.free());
        for last in self.running.iter().rev().take_while(|running| lower(running)) {
            if room(running, free) {
                break;
            }
            running -= 1;
            free += self.allocator.exclusive_blocks(&last.table);
        }
        // Preempt only if that makes enough room.
        if room(running, free) {
            let away = self.running.split_off(running);
            self.waiting.extend(away.into_iter().map(Sequence::preempted));
            self.order_waiting();
        }
    }
}

/// A waiting sequence's class at step `now`, raised by its waiting time. Lower is earlier.
pub(super) fn rank(sequence: &Sequence, shares: &FairShare, now: u64) -> u8 {
    let since = shares.waits_since(sequence.precedence.share, sequence.precedence.arrived);
    let aged = (now - since) / AGEING_STEPS;
    sequence.precedence.class.saturating_sub(aged.min(u64::from(u8::MAX)) as u8)
}
