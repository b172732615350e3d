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
        |(weights, kv_min, more, activity, pinned, priority)| Resident {
            worker: 0,
            share: Share { weights, kv: kv_min + more, transient: 1 },
            kv_min,
            activity,
            pinned,
            priority,
        },
    )
}

/// Workers that fit the budget together.
pub(super) fn residents() -> impl Strategy<Value = Vec<Resident>> {
    vec(resident(), 0..7).prop_map(|all| {
        let mut left = BUDGET;
        let mut fitting = Vec::new();
        for (resident, worker) in all.into_iter().zip(1..) {
            if resident.share.total() <= left {
                left -= resident.share.total();
                fitting.push(Resident { worker, ..resident });
            }
        }
        fitting
    })
}

pub(super) fn need() -> impl Strategy<Value = Need> {
    (0u64..60, 0u64..40, 0u64..30).prop_map(|(weights, kv_wanted, kv_min)| Need {
        weights,
        kv_wanted,
        kv_min,
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

    /// The budget holds at every step, and no victim is pinned. Evicted workers are idle.
    #[test]
    fn plans_followed_to_their_end_lead_to_a_start_or_to_never(need in need(), mut all in residents()) {
        let mut waited = Duration::ZERO;
        for _ in 0..40 {
            prop_assert!(leased(&all) <= BUDGET);
            match plan(BUDGET, &need, &all, waited, true) {
                Plan::Start { kv } => {
                    prop_assert!(kv >= need.kv_min && kv <= need.kv_wanted.max(need.kv_min));
                    prop_assert!(leased(&all) + need.share(kv).total() <= BUDGET);
                    return Ok(());
                }
                Plan::Shrink(sizes) => {
                    prop_assert!(!sizes.is_empty());
                    for (worker, kv) in sizes {
                        let resident = find(&mut all, worker);
                        prop_assert!(kv < resident.share.kv && kv >= resident.kv_min);
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
                    // Leaving workers are gone, and starting ones are busy from now on.
                    waited += PATIENCE / 4;
                    all.retain(|resident| !resident.is_leaving());
                    for resident in &mut all {
                        if resident.activity == Activity::Starting {
                            resident.activity = Activity::Busy;
                        }
                    }
                }
                Plan::Never => {
                    let stays = |r: &&Resident| r.pinned && !r.is_leaving();
                    // Starting workers can spare cache only later.
                    let kept: u64 = all.iter().filter(stays).map(|r| r.share.total() - r.spare_kv()).sum();
                    prop_assert!(kept + need.minimum() > BUDGET);
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "the plans do not end");
    }

    #[test]
    fn plan_without_disturbance_evicts_no_worker(need in need(), all in residents()) {
        let plan = plan(BUDGET, &need, &all, PATIENCE * 2, false);
        let gentle = matches!(plan, Plan::Start { .. } | Plan::Shrink(_) | Plan::Wait);
        prop_assert!(gentle);
    }

    #[test]
    fn relief_spares_pinned_and_busy_workers(all in residents()) {
        let present: Vec<&Resident> = all.iter().filter(|r| !r.is_leaving()).collect();
        let Some(worker) = relief(&all) else { prop_assert!(present.is_empty()); return Ok(()) };
        let victim = present.iter().find(|r| r.worker == worker).unwrap();
        let idle = |r: &Resident| matches!(r.activity, Activity::Idle(_));
        prop_assert!(!victim.pinned || present.iter().all(|r| r.pinned));
        prop_assert!(idle(victim) || !present.iter().any(|r| r.pinned == victim.pinned && idle(r)));
    }
}

pub(super) fn at(worker: u64, total: u64, activity: Activity) -> Resident {
    let share = Share { weights: total, ..Share::default() };
    Resident { worker, share, kv_min: 0, activity, pinned: false, priority: Priority::Normal }
}

#[test]
fn longest_idle_worker_is_evicted_first_and_no_more_than_needed() {
    let idle = |seconds| Activity::Idle(Duration::from_secs(seconds));
    let need = Need { weights: 40, ..Need::default() };
    let all = [at(1, 20, idle(5)), at(2, 40, idle(9)), at(3, 40, idle(1))];
    assert_eq!(plan(BUDGET, &need, &all, Duration::ZERO, true), Plan::Evict(vec![2]));
    // The small worker is idle for longest, but evicting the large one is enough.
    let all = [at(1, 20, idle(9)), at(2, 40, idle(5)), at(3, 40, Activity::Busy)];
    assert_eq!(plan(BUDGET, &need, &all, Duration::ZERO, true), Plan::Evict(vec![2]));
}

#[test]
fn worker_used_a_moment_ago_is_not_evicted_but_drained_later() {
    let need = Need { weights: 80, ..Need::default() };
    let all = [at(1, 80, Activity::Idle(Duration::from_millis(100)))];
    assert_eq!(plan(BUDGET, &need, &all, Duration::ZERO, true), Plan::Wait);
    assert_eq!(plan(BUDGET, &need, &all, PATIENCE, true), Plan::Drain(vec![1]));
    assert_eq!(plan(BUDGET, &Need { weights: 101, ..need }, &all, PATIENCE, true), Plan::Never);
}

#[test]
fn relief_ends_the_worker_that_takes_more_than_its_share() {
    let greedy = |over: u64, pinned| {
        let share = Share { weights: 1 << 30, transient: TRANSIENT + over, ..Share::default() };
        Resident { share, pinned, ..at(2, 0, Activity::Busy) }
    };
    let idle = at(1, 1 << 30, Activity::Idle(Duration::from_secs(60)));
    assert_eq!(relief(&[idle, greedy(2 << 30, false)]), Some(2));
    assert_eq!(relief(&[idle, greedy(OVERRUN, false)]), Some(1), "a little more is usual");
    assert_eq!(relief(&[idle, greedy(2 << 30, true)]), Some(1), "pinned workers come last");
}
