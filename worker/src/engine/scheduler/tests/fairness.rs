//! Tenants share the steps by what they have had.

use super::*;

/// Steps a scheduler with one row for each sequence until it is idle. Returns the ids in the order in which they ended.
fn run_to_end(
    scheduler: &mut Scheduler,
    outputs: impl Fn(u64) -> usize,
    mut each_step: impl FnMut(&mut Scheduler, usize),
) -> Vec<u64> {
    let (mut device, mut batch) = (device(u32::MAX), Batch::default());
    let (mut generated, mut order): (HashMap<u64, usize>, Vec<u64>) = Default::default();
    for step in 0.. {
        each_step(scheduler, step);
        if scheduler.is_idle() {
            break;
        }
        assert!(step < 100_000, "the load does not end");
        scheduler.schedule(&mut batch, 64);
        let tokens = device.step(&batch, 4);
        let mut ended = Vec::new();
        scheduler.commit(&batch, &tokens, |Sampled { id, .. }| {
            let count = generated.entry(id.0).or_default();
            *count += 1;
            let over = *count >= outputs(id.0);
            over.then(|| ended.push(id));
            over
        });
        for id in ended {
            scheduler.remove(id);
            order.push(id.0);
        }
    }
    order
}

fn of(tenant: u64, seed: u64, length: u32) -> SequenceParams {
    let prompt = (0..length).map(|at| at * 7 + seed as u32 * 1009).collect();
    SequenceParams { tenant, ..normal(prompt) }
}

#[test]
fn a_long_queue_of_one_tenant_does_not_hold_up_another() {
    // Tenant 1 sends forty requests at once, then tenant 2 sends four.
    let mut scheduler = Scheduler::new(limits(2, 64), capacity(64, 64));
    (0..40).for_each(|id| scheduler.add(SequenceId(id), of(1, id, 20)));
    (40..44).for_each(|id| scheduler.add(SequenceId(id), of(2, id, 20)));
    let order = run_to_end(&mut scheduler, |_| 10, |_, _| {});
    let place = |id| order.iter().position(|ended| *ended == id).unwrap();
    assert!((40..44).all(|id| place(id) < 10), "{order:?}");
    assert!(order.iter().filter(|id| **id < 40).is_sorted(), "each tenant keeps its order: {order:?}");
}

#[test]
fn short_requests_get_as_many_tokens_as_long_ones() {
    // Tenant 1 asks for 40 tokens at a time, tenant 2 for 10: two requests of the second for about one of the first.
    let mut scheduler = Scheduler::new(limits(1, 64), capacity(64, 64));
    (0..10).for_each(|id| scheduler.add(SequenceId(id), of(1, id, 20)));
    (10..50).for_each(|id| scheduler.add(SequenceId(id), of(2, id, 20)));
    let outputs = |id: u64| if id < 10 { 40 } else { 10 };
    let order = run_to_end(&mut scheduler, outputs, |_, _| {});
    let cost = |id: u64| 20 + 2 * outputs(id) as i64;
    let (mut first, mut second) = (0, 0);
    for id in order.iter().take_while(|id| **id != 9) {
        *if *id < 10 { &mut first } else { &mut second } += cost(*id);
        assert!((first - second).abs() <= 2 * cost(0), "{order:?}");
    }
}

#[test]
fn ageing_does_not_undo_shares() {
    // The queue of tenant 1 waits for thousands of steps. A request of tenant 2 comes late, and is soon served.
    let mut scheduler = Scheduler::new(limits(1, 64), capacity(64, 64));
    (0..200).for_each(|id| scheduler.add(SequenceId(id), of(1, id, 8)));
    let late = |scheduler: &mut Scheduler, step| {
        if step == 3 * 256 {
            scheduler.add(SequenceId(200), of(2, 200, 8));
        }
    };
    let order = run_to_end(&mut scheduler, |_| 20, late);
    let before = order.iter().take_while(|id| **id != 200).count();
    assert!(before <= 3 * 256 / 20 + 2, "{before} of tenant 1 ended before it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn tenants_leave_outputs_unchanged(
        arrivals in vec((arrival(64), 0u64..4), 1..24),
        max_sequences in 1usize..9,
        blocks in 16u32..40,
    ) {
        let arrivals = arrivals.into_iter().map(|(arrival, tenant)| Arrival { tenant, ..arrival }).collect();
        run(arrivals, limits(max_sequences, 16), capacity(blocks, 64), u32::MAX);
    }

    /// Between two tenants that both have work all the time, the costs differ by at most two requests.
    #[test]
    fn two_busy_tenants_have_had_about_the_same(
        lengths in vec((1u32..40, 1usize..20), 8..40),
        split in 2usize..6,
    ) {
        let mut scheduler = Scheduler::new(limits(1, 64), capacity(64, 64));
        let tenant = |at: usize| 1 + u64::from(at >= lengths.len() / split);
        for (at, (prompt, _)) in lengths.iter().enumerate() {
            scheduler.add(SequenceId(at as u64), of(tenant(at), at as u64, *prompt));
        }
        let cost = |at: usize| i64::from(lengths[at].0) + 2 * lengths[at].1 as i64;
        let order = run_to_end(&mut scheduler, |id| lengths[id as usize].1, |_, _| {});
        let most = (0..lengths.len()).map(cost).max().unwrap();
        let mut left = [1, 2].map(|one| (0..lengths.len()).filter(|at| tenant(*at) == one).count());
        let mut had = [0, 0];
        for id in order {
            if left.contains(&0) {
                break;
            }
            let at = tenant(id as usize) as usize - 1;
            had[at] += cost(id as usize);
            left[at] -= 1;
            prop_assert!((had[0] - had[1]).abs() <= 2 * most, "{had:?} with costs up to {most}");
        }
    }
}
