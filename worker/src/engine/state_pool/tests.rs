use std::collections::HashSet;

use proptest::prelude::*;

use super::super::block_allocator::BlockAllocator;
use super::*;
use crate::engine::images::PromptImages;

/// Hashes of the texts of one to `count` blocks.
fn chain(count: usize) -> Vec<ChainHash> {
    let allocator = BlockAllocator::new(1, 4);
    let mut chain = Vec::new();
    allocator.extend_chain(&mut chain, ChainHash::default(), &vec![7; 4 * count], &PromptImages::default());
    chain
}

#[test]
fn snapshot_outlives_its_sequence_until_room_is_needed() {
    let (pool, texts) = (StatePool::new(3), chain(3));
    for text in &texts {
        let state = pool.take();
        pool.publish(*text, &state);
    }
    assert!(texts.iter().all(|text| pool.contains(*text)) && pool.take_dropped().is_empty());
    // Used again, so the second is the oldest.
    drop(pool.find(texts[0]));
    let state = pool.take();
    assert_eq!(texts.iter().map(|text| pool.contains(*text)).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(pool.take_dropped(), [1]);
    drop(state);
    assert_eq!(pool.take_dropped(), [3], "a state that nobody can find is dropped at once");
    pool.withdraw(texts[2]);
    assert_eq!((pool.take_dropped(), pool.contains(texts[2])), (vec![2], false));
    pool.evict_idle();
    assert_eq!(pool.take_dropped(), [0]);
}

#[test]
fn held_states_are_never_evicted() {
    let (pool, texts) = (StatePool::new(2), chain(2));
    let first = pool.take();
    pool.publish(texts[0], &first);
    let fork = pool.find(texts[0]);
    drop(first);
    pool.set_limit(0);
    assert!(pool.contains(texts[0]) && pool.take_dropped().is_empty());
    // A withdrawn snapshot stays as long as it is held.
    pool.withdraw(texts[0]);
    assert!(!pool.contains(texts[0]) && pool.take_dropped().is_empty());
    drop(fork);
    assert_eq!(pool.take_dropped(), [0]);
}

#[derive(Debug, Clone)]
enum Action {
    Take,
    Publish(usize, usize),
    Find(usize),
    Drop(usize),
    Withdraw(usize),
    Limit(u32),
    EvictIdle,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => Just(Action::Take),
        4 => (0usize..8, 0usize..8).prop_map(|(text, state)| Action::Publish(text, state)),
        4 => (0usize..8).prop_map(Action::Find),
        4 => (0usize..8).prop_map(Action::Drop),
        1 => (0usize..8).prop_map(Action::Withdraw),
        1 => (0u32..10).prop_map(Action::Limit),
        1 => Just(Action::EvictIdle),
    ]
}

proptest! {
    /// No state is lost, dropped twice, dropped while it is held, or found after it was dropped. The limit holds unless
    /// sequences hold more.
    #[test]
    fn states_are_dropped_exactly_once_and_never_while_held(actions in prop::collection::vec(action(), 0..80)) {
        let (pool, texts) = (StatePool::new(6), chain(8));
        let mut held: Vec<State> = Vec::new();
        let (mut made, mut dropped) = (HashSet::new(), HashSet::new());
        for action in actions {
            match action {
                Action::Take => held.push(pool.take()),
                Action::Publish(text, state) if state < held.len() => pool.publish(texts[text], &held[state]),
                Action::Find(text) => held.extend(pool.find(texts[text])),
                Action::Drop(state) if state < held.len() => drop(held.swap_remove(state)),
                Action::Withdraw(text) => pool.withdraw(texts[text]),
                Action::Limit(limit) => pool.set_limit(limit),
                Action::EvictIdle => pool.evict_idle(),
                Action::Publish(..) | Action::Drop(_) => {}
            }
            made.extend(held.iter().map(State::id));
            for id in pool.take_dropped() {
                prop_assert!(dropped.insert(id), "{id} is dropped twice");
            }
            let ids: HashSet<StateId> = held.iter().map(State::id).collect();
            prop_assert!(ids.is_disjoint(&dropped), "a held state is dropped");
            for text in &texts {
                let found = pool.find(*text);
                prop_assert!(found.is_none_or(|state| !dropped.contains(&state.id())));
            }
            let alive = made.difference(&dropped).count();
            prop_assert!(alive <= pool.limit().max(ids.len()), "{alive} states");
        }
        held.clear();
        pool.evict_idle();
        dropped.extend(pool.take_dropped());
        prop_assert_eq!(made, dropped);
    }
}
