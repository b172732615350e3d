use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(super) const BUDGET: u64 = 100;

fn resident() -> impl Strategy<Value = Resident> {
    let activity = prop_oneof![
        Just(Activity::Starting),
        Just(Activity::Busy),
        (0u64..2000).prop_map(|ms| Activity::Idle(Duration::from_millis(ms))),
        Just(Activity::Leaving),
    ];
    let priority = prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    (1u64..30, 0u64..20, 0u64..20, activity, any::<bool>(), priority).prop_map(
        |(weights, kv_least, more, activity, pinned, priority)| Resident {
            worker: 0,
            share: Share { weights, kv: kv_least + more, transient: 1 },
            kv_least,
            activity,
            pinned,
            priority,
        },
    )
}

/// As many as fit the budget.
pub(super) fn residents() -> impl Strategy<Value = Vec<Resident>> {
    vec(resident(), 0..7).prop_map(|all| {
        let mut left = BUDGET;
        let mut kept = Vec::new();
        for (resident, worker) in all.into_iter().zip(1..) {
            if resident.share.total() <= left {
                left -= resident.share.total();
                kept.push(Resident { worker, ..resident });
            }
        }
        kept
    })
}

pub(super) fn need() -> impl Strategy<Value = Need> {
    (0u64..60, 0u64..40, 0u64..30).prop_map(|(weights, kv_wanted, kv_least)| Need {
        weights,
        kv_wanted,
        kv_least,
        transient: 1,
        ..Need::default()
    })
}

pub(super) fn leased(residents: &[Resident]) -> u64 {
    residents.iter().map(|resident| resident.share.total()).sum()
}

pub(super) fn find(residents: &mut [Resident], worker: u64) -> &mut Resident {
    residents.iter_mut().find(|resident| resident.worker == worker).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    /// Following plans to their end: the budget holds at every step, no victim is pinned, none that is evicted is busy, nobody who
    /// goes is not needed, and it ends.
    #[test]
    fn plans_lead_to_a_start_or_to_never(need in need(), mut all in residents()) {
        let mut waited = Duration::ZERO;
        for _ in 0..40 {
            prop_assert!(leased(&all) <= BUDGET);
            match plan(BUDGET, &need, &all, waited, true) {
                Plan::Start { kv } => {
                    prop_assert!(kv >= need.kv_least && kv <= need.kv_wanted.max(need.kv_least));
                    prop_assert!(leased(&all) + need.share(kv).total() <= BUDGET);
                    return Ok(());
                }
                Plan::Shrink(sizes) => {
                    prop_assert!(!sizes.is_empty());
                    for (worker, kv) in sizes {
                        let resident = find(&mut all, worker);
                        prop_assert!(kv < resident.share.kv && kv >= resident.kv_least);
                        resident.share.kv = kv;
                    }
                }
                Plan::Evict(victims) => {
                    prop_assert!(!victims.is_empty());
                    for worker in victims {
                        let resident = find(&mut all, worker);
                        prop_assert!(!resident.pinned && resident.is_idle());
                        resident.activity = Activity::Leaving;
                    }
                }
                Plan::Drain(victims) => {
                    prop_assert!(!victims.is_empty() && waited >= PATIENCE);
                    for worker in victims {
                        let resident = find(&mut all, worker);
                        prop_assert!(!resident.pinned && resident.activity != Activity::Starting);
                        resident.activity = Activity::Leaving;
                    }
                }
                Plan::Wait => {
                    // Time passes: who leaves is gone, who starts has started, and does not fall idle.
                    waited += PATIENCE / 4;
                    all.retain(|resident| !resident.leaves());
                    for resident in &mut all {
                        if resident.activity == Activity::Starting {
                            resident.activity = Activity::Busy;
                        }
                    }
                }
                Plan::Never => {
                    let stays = |r: &&Resident| r.pinned && !r.leaves();
                    // Starting ones may be able to spare cache only later.
                    let kept: u64 = all.iter().filter(stays).map(|r| r.share.total() - r.spare()).sum();
                    prop_assert!(kept + need.least() > BUDGET);
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "it does not end");
    }

    /// Who may not disturb takes what is free or spare.
    #[test]
    fn who_may_not_disturb_evicts_nobody(need in need(), all in residents()) {
        let plan = plan(BUDGET, &need, &all, PATIENCE * 2, false);
        let gentle = matches!(plan, Plan::Start { .. } | Plan::Shrink(_) | Plan::Wait);
        prop_assert!(gentle);
    }

    #[test]
    fn relief_spares_the_pinned_and_the_busy(all in residents()) {
        let there: Vec<&Resident> = all.iter().filter(|r| !r.leaves()).collect();
        let Some(worker) = relief(&all) else { prop_assert!(there.is_empty()); return Ok(()) };
        let victim = there.iter().find(|r| r.worker == worker).unwrap();
        let idle = |r: &Resident| matches!(r.activity, Activity::Idle(_));
        prop_assert!(!victim.pinned || there.iter().all(|r| r.pinned));
        prop_assert!(idle(victim) || !there.iter().any(|r| r.pinned == victim.pinned && idle(r)));
    }
}

pub(super) fn at(worker: u64, total: u64, activity: Activity) -> Resident {
    let share = Share { weights: total, ..Share::default() };
    Resident { worker, share, kv_least: 0, activity, pinned: false, priority: Priority::Normal }
}

#[test]
fn the_longest_idle_goes_first_and_no_more_than_needed() {
    let idle = |seconds| Activity::Idle(Duration::from_secs(seconds));
    let need = Need { weights: 40, ..Need::default() };
    let all = [at(1, 20, idle(5)), at(2, 40, idle(9)), at(3, 40, idle(1))];
    assert_eq!(plan(BUDGET, &need, &all, Duration::ZERO, true), Plan::Evict(vec![2]));
    // A small one that was unused for longest is spared where the large one is needed anyhow.
    let all = [at(1, 20, idle(9)), at(2, 40, idle(5)), at(3, 40, Activity::Busy)];
    assert_eq!(plan(BUDGET, &need, &all, Duration::ZERO, true), Plan::Evict(vec![2]));
}

#[test]
fn a_moments_pause_is_not_idleness() {
    let need = Need { weights: 80, ..Need::default() };
    let all = [at(1, 80, Activity::Idle(Duration::from_millis(100)))];
    assert_eq!(plan(BUDGET, &need, &all, Duration::ZERO, true), Plan::Wait);
    assert_eq!(plan(BUDGET, &need, &all, PATIENCE, true), Plan::Drain(vec![1]));
    assert_eq!(plan(BUDGET, &Need { weights: 101, ..need }, &all, PATIENCE, true), Plan::Never);
}
