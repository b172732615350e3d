//! Fair shares of tenants that wait for one model: whoever has had the fewest tokens is next.
//!
//! The virtual token counter of "Fairness in Serving Large Language Models" (Sheng et al., OSDI 2024). Each tenant has a
//! count of the tokens computed for it. A tenant that was away is lifted to the lowest count of those that were not, so that
//! nobody saves up a share. Pure.

/// Cost of a generated token, in prompt tokens: it takes a row of a step, where prompt tokens share one.
const GENERATED: u64 = 2;

/// A tenant's place in [`FairShare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share(usize);

/// What each tenant has had since the scheduler was idle.
#[derive(Debug, Default)]
pub(super) struct FairShare {
    tenants: Vec<Served>,
    /// How many of them have sequences.
    present: usize,
}

#[derive(Debug)]
struct Served {
    tenant: u64,
    /// The cost of all its tokens.
    cost: u64,
    /// Its waiting and running sequences.
    sequences: u32,
    /// The step at which one of its sequences joined last.
    joined: u64,
}

impl FairShare {
    /// Counts a sequence of a tenant.
    pub(super) fn enter(&mut self, tenant: u64) -> Share {
        if self.present == 0 {
            self.tenants.clear();
        }
        let present = self.tenants.iter().filter(|served| served.sequences > 0);
        let lowest = present.map(|served| served.cost).min();
        let at = self.tenants.iter().position(|served| served.tenant == tenant).unwrap_or_else(|| {
            self.tenants.push(Served { tenant, cost: 0, sequences: 0, joined: 0 });
            self.tenants.len() - 1
        });
        let served = &mut self.tenants[at];
        if served.sequences == 0 {
            served.cost = served.cost.max(lowest.unwrap_or(0));
            self.present += 1;
        }
        served.sequences += 1;
        Share(at)
    }

    /// A sequence has ended.
    pub(super) fn leave(&mut self, Share(at): Share) {
        let served = &mut self.tenants[at];
        served.sequences -= 1;
        self.present -= usize::from(served.sequences == 0);
    }

    /// A sequence joins the running ones at step `now`.
    pub(super) fn join(&mut self, Share(at): Share, now: u64) {
        self.tenants[at].joined = now;
    }

    /// Adds `prompt` and `generated` tokens to what the tenant has had.
    pub(super) fn charge(&mut self, Share(at): Share, prompt: usize, generated: usize) {
        self.tenants[at].cost += prompt as u64 + GENERATED * generated as u64;
    }

    /// Whether several tenants have sequences.
    pub(super) fn is_shared(&self) -> bool {
        self.present > 1
    }

    /// The step since which a sequence that arrived at step `arrived` has waited for its turn. Among several tenants, the
    /// sequences of one take turns: only the time since the last of them joined counts, so that a long queue gains nothing.
    pub(super) fn waits_since(&self, Share(at): Share, arrived: u64) -> u64 {
        if self.is_shared() { arrived.max(self.tenants[at].joined) } else { arrived }
    }

    /// The costs of all tenants. [`Self::take_turn`] adds to them what waits.
    pub(super) fn turns(&self) -> Vec<u64> {
        self.tenants.iter().map(|served| served.cost).collect()
    }

    /// The turn of the tenant's next sequence, of `tokens` tokens, in `turns`. Lower is earlier.
    pub(super) fn take_turn(turns: &mut [u64], Share(at): Share, tokens: usize) -> u64 {
        let turn = turns[at];
        turns[at] += tokens as u64;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returning_tenant_has_saved_nothing_up() {
        let mut shares = FairShare::default();
        let (busy, other) = (shares.enter(1), shares.enter(2));
        shares.charge(busy, 100, 50);
        shares.charge(other, 10, 0);
        assert_eq!(shares.turns(), [200, 10]);
        shares.leave(other);
        shares.charge(busy, 100, 0);
        let other = shares.enter(2);
        assert_eq!(shares.turns(), [300, 300], "it was away while the other one got 100 tokens");
        // Nor does a debt vanish.
        shares.charge(other, 500, 0);
        shares.leave(other);
        shares.enter(2);
        assert_eq!(shares.turns(), [300, 800]);
    }

    #[test]
    fn an_idle_scheduler_forgets_all() {
        let mut shares = FairShare::default();
        let one = shares.enter(7);
        shares.charge(one, 1000, 0);
        shares.leave(one);
        shares.enter(8);
        assert_eq!(shares.turns(), [0]);
        assert!(!shares.is_shared());
        shares.enter(7);
        assert!(shares.is_shared());
    }

    #[test]
    fn turns_alternate_by_cost() {
        let mut shares = FairShare::default();
        let (one, two) = (shares.enter(1), shares.enter(2));
        let mut turns = shares.turns();
        let mut take = |share, tokens| FairShare::take_turn(&mut turns, share, tokens);
        assert_eq!([take(one, 10), take(one, 10), take(one, 10)], [0, 10, 20]);
        assert_eq!([take(two, 25), take(two, 25)], [0, 25]);
    }

    #[test]
    fn a_queue_ages_by_its_own_turns_only() {
        let mut shares = FairShare::default();
        let one = shares.enter(1);
        shares.join(one, 500);
        assert_eq!(shares.waits_since(one, 3), 3, "alone, each sequence ages");
        let two = shares.enter(2);
        assert_eq!((shares.waits_since(one, 3), shares.waits_since(one, 600)), (500, 600));
        assert_eq!(shares.waits_since(two, 3), 3);
    }
}
