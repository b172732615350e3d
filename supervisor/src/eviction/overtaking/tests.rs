use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::{BUDGET, at, find, leased, need, residents};
use super::*;

/// Between two looks.
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

/// Follows the plans for `need` while others arrive, one with each step, who take what they may and then are busy for ever.
/// After how many steps it started, if it did.
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
        let came = others.get(step).filter(|next| may_overtake(BUDGET, &first, next, &all));
        all.retain(|resident| resident.activity != Activity::Leaving);
        for resident in all.iter_mut().filter(|resident| resident.activity == Activity::Starting) {
            resident.activity = Activity::Busy;
        }
        all.extend(came.map(|next| Resident {
            worker: 1000 + step as u64,
            share: next.need.share(next.need.kv_least),
            kv_least: next.need.kv_least,
            activity: Activity::Starting,
            pinned: next.pinned,
            priority: next.priority,
        }));
    }
    panic!("it does not end: {need:?} {all:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    /// Whoever comes, as often as they like: the first starts if it would have started alone, and a bounded time later.
    #[test]
    fn the_first_is_held_up_for_a_bounded_time(
        need in need(),
        all in residents(),
        others in vec(arrival(), 60),
    ) {
        let alone = follow(need, all.clone(), &[]);
        let among = follow(need, all, &others);
        prop_assert_eq!(alone.is_some(), among.is_some());
        // Until its patience ends, one more start, and its going.
        let bound = alone.map(|steps| steps.max(PATIENCE.div_duration_f32(STEP) as usize) + 4);
        prop_assert!(among <= bound, "{:?} instead of {:?}", among, alone);
    }

    /// What is on its way back to the first is not taken from it.
    #[test]
    fn what_comes_back_is_kept(need in need(), all in residents(), next in arrival()) {
        let first = waiting(need, Duration::ZERO);
        if missing(BUDGET, need.least(), &all) == 0 && may_overtake(BUDGET, &first, &next, &all) {
            let gone: u64 = all.iter().filter(|r| r.activity != Activity::Leaving).map(Resident::all).sum();
            prop_assert!(gone + next.need.least() + need.least() <= BUDGET);
        }
    }
}

#[test]
fn a_small_one_that_fits_goes_first_for_a_while() {
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
    // For ever in its way: 60 and 50 are more than there is.
    let pinned = Waiting { need: Need { weights: 50, ..small }, pinned: true, ..next };
    assert!(!may(Duration::ZERO, &pinned, &[at(1, 45, Activity::Busy)]));
    // What is being ended for the first is its own; what it leaves is not.
    assert!(!may(
        Duration::ZERO,
        &Waiting { need: wide.need, ..next },
        &[at(1, 60, Activity::Leaving), at(2, 10, Activity::Busy)]
    ));
    assert!(may(PATIENCE * 2, &next, &[at(1, 60, Activity::Leaving), at(2, 10, Activity::Busy)]));
}
