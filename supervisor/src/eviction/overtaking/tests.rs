use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::{BUDGET, at, find, leased, need, residents};
use super::*;

/// The time between two plans.
const STEP: Duration = Duration::from_millis(2500);

fn waiting(need: Need, waited: Duration) -> Waiting {
    Waiting { need, waited, priority: Priority::Normal, pinned: false }
}

fn arrival() -> impl Strategy<Value = Waiting> {
    let priority = prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    (need(), any::<bool>(), priority).prop_map(|(need, pinned, priority)| Waiting {
        need,
        waited: Duration::ZERO,
        priority,
        pinned,
    })
}

/// Follows the plans for `need` while one other model arrives with each step. Those that may overtake stay busy for ever.
/// Returns the step of the start; `None` if it never starts.
fn follow(need: Need, mut all: Vec<Resident>, others: &[Waiting]) -> Option<usize> {
    for step in 0..60 {
        assert!(leased(&all) <= BUDGET);
        let first = waiting(need, STEP * step as u32);
        match plan(BUDGET, &need, &all, first.waited, true) {
            Plan::Start { .. } => return Some(step),
            Plan::Never => return None,
            Plan::Shrink(sizes) => {
                sizes.into_iter().for_each(|(worker, kv)| find(&mut all, worker).share.kv = kv);
                continue;
            }
            Plan::Evict(victims) | Plan::Drain(victims) => {
                victims.into_iter().for_each(|worker| find(&mut all, worker).activity = Activity::Leaving);
            }
            Plan::Wait => {}
        }
        let overtaking = others.get(step).filter(|next| may_overtake(BUDGET, &first, next, &all));
        all.retain(|resident| resident.activity != Activity::Leaving);
        for resident in all.iter_mut().filter(|resident| resident.activity == Activity::Starting) {
            resident.activity = Activity::Busy;
        }
        all.extend(overtaking.map(|next| Resident {
            worker: 1000 + step as u64,
            share: next.need.share(next.need.kv_min),
            kv_min: next.need.kv_min,
            activity: Activity::Starting,
            pinned: next.pinned,
            priority: next.priority,
        }));
    }
    panic!("the plans do not end: {need:?} {all:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    /// With any arrivals, the first starts if it would have started alone, and a bounded time later.
    #[test]
    fn first_of_the_queue_is_delayed_for_a_bounded_time(
        need in need(),
        all in residents(),
        others in vec(arrival(), 60),
    ) {
        let alone = follow(need, all.clone(), &[]);
        let among = follow(need, all, &others);
        prop_assert_eq!(alone.is_some(), among.is_some());
        // Until its patience ends, plus one more start and end.
        let bound = alone.map(|steps| steps.max(PATIENCE.div_duration_f32(STEP) as usize) + 4);
        prop_assert!(among <= bound, "{:?} instead of {:?}", among, alone);
    }

    #[test]
    fn memory_that_comes_back_for_the_first_stays_enough(need in need(), all in residents(), next in arrival()) {
        let first = waiting(need, Duration::ZERO);
        if missing_bytes(BUDGET, need.minimum(), &all) == 0 && may_overtake(BUDGET, &first, &next, &all) {
            let gone: u64 = all.iter().filter(|r| r.activity != Activity::Leaving).map(Resident::bytes).sum();
            prop_assert!(gone + next.need.minimum() + need.minimum() <= BUDGET);
        }
    }
}

#[test]
fn small_model_that_fits_may_overtake_until_patience_ends() {
    let (large, small) = (Need { weights: 60, ..Need::default() }, Need { weights: 20, ..Need::default() });
    let busy = [at(1, 70, Activity::Busy)];
    let next = waiting(small, Duration::ZERO);
    let may = |waited, next: &Waiting, there: &[Resident]| {
        may_overtake(BUDGET, &waiting(large, waited), next, there)
    };
    assert!(may(Duration::ZERO, &next, &busy));
    assert!(!may(PATIENCE, &next, &busy), "no longer");
    assert!(!may(Duration::ZERO, &Waiting { priority: Priority::Low, ..next }, &busy), "no lower class");
    let wide = Waiting { need: Need { weights: 31, ..small }, ..next };
    assert!(!may(Duration::ZERO, &wide, &busy), "it does not fit");
    // It would block the first for ever: 60 and 50 exceed the budget.
    let pinned = Waiting { need: Need { weights: 50, ..small }, pinned: true, ..next };
    assert!(!may(Duration::ZERO, &pinned, &[at(1, 45, Activity::Busy)]));
    // Memory that comes back belongs to the first. The rest does not.
    assert!(!may(
        Duration::ZERO,
        &Waiting { need: wide.need, ..next },
        &[at(1, 60, Activity::Leaving), at(2, 10, Activity::Busy)]
    ));
    assert!(may(PATIENCE * 2, &next, &[at(1, 60, Activity::Leaving), at(2, 10, Activity::Busy)]));
}
