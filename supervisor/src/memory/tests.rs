use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// No corrections to larger sizes occur here: only these can exceed the budget.
    #[test]
    fn leases_stay_within_the_budget_after_any_operations(actions in vec((0u64..6, 0u64..60, 0u64..60, 0u8..5), 0..80)) {
        let mut ledger = Ledger::new(100);
        for (worker, a, b, action) in actions {
            let (before, share) = (ledger.leased(), ledger.share(worker));
            match action {
                0 | 1 => {
                    let granted = ledger.grant(worker, Share { weights: a, kv: b, transient: 1 });
                    prop_assert_eq!(ledger.leased(), before + if granted { a + b + 1 } else { 0 });
                }
                2 => prop_assert!(ledger.set_kv(worker, a) <= a),
                3 => ledger.set_weights(worker, a.min(share.weights)),
                _ => ledger.release(worker),
            }
            prop_assert!(ledger.leased() <= 100);
            prop_assert_eq!(ledger.free(), 100 - ledger.leased());
        }
    }
}

#[test]
fn worker_that_exceeds_its_lease_blocks_further_leases() {
    let mut ledger = Ledger::new(100);
    assert!(ledger.grant(1, Share { weights: 50, kv: 20, transient: 10 }));
    ledger.correct(1, 70, 10);
    assert_eq!(ledger.leased(), 80);
    ledger.correct(1, 130, 10);
    assert_eq!((ledger.leased(), ledger.free()), (130, 0));
    assert!(!ledger.grant(2, Share { weights: 1, ..Share::default() }));
    assert_eq!(ledger.set_kv(1, 30), 20, "its own lease does not grow either");
    ledger.correct(1, 70, 10);
    assert_eq!(ledger.leased(), 80, "the lease shrinks again");
    ledger.release(1);
    assert!(!ledger.grant(2, Share { weights: u64::MAX, kv: 5, transient: 5 }));
    assert_eq!(ledger.free(), 100);
}

#[test]
fn smaller_budget_takes_no_lease_away() {
    let mut ledger = Ledger::new(100);
    assert!(ledger.grant(1, Share { weights: 80, ..Share::default() }));
    ledger.set_budget(50);
    assert_eq!((ledger.leased(), ledger.free(), ledger.budget()), (80, 0, 50));
    ledger.set_budget(200);
    assert_eq!(ledger.free(), 120);
}
