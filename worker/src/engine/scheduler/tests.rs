use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ipc_proto::generate::{Logprobs, Priority};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::engine::penalties::Penalties;
use crate::engine::runner::RowSampling;
use crate::engine::sequence::SamplingParams;

pub(crate) fn order(prompt: Vec<u32>, priority: Priority) -> Order {
    let penalties = Penalties::default();
    let sampling =
        SamplingParams { row: RowSampling::GREEDY, seed: 0, penalties, min_tokens: 0, ends: Arc::new([]) };
    let (generated, cache_scope) = (Vec::new(), String::new());
    Order { prompt, generated, sampling, priority, cache_scope, logprobs: None, masked: false }
}

fn normal(prompt: Vec<u32>) -> Order {
    order(prompt, Priority::Normal)
}

fn limits(max_sequences: usize, prefill_tokens: usize) -> Limits {
    Limits { max_sequences, prefill_tokens, drafts: Drafts::None }
}

/// One request of a made-up load.
#[derive(Debug, Clone)]
struct Arrival {
    step: usize,
    /// Prompts of one family begin alike.
    family: u32,
    /// Tokens of the prompt, of which the last ones are its own.
    prompt: usize,
    own: usize,
    output: usize,
    /// Tokens after which it is cancelled.
    cancel: Option<usize>,
    priority: Priority,
}

fn arrival(pool: usize) -> impl Strategy<Value = Arrival> {
    let cancel = prop::option::weighted(0.2, 0usize..20);
    let text = (0u32..3, 1..pool, prop_oneof![Just(0usize), 0usize..60]);
    let priority = prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    let all = (0usize..60, text, 1usize..60, cancel, priority);
    all.prop_map(move |(step, (family, prompt, own), output, cancel, priority)| Arrival {
        step,
        family,
        prompt,
        own,
        output: output.min(pool - prompt),
        cancel,
        priority,
    })
}

/// A device that only remembers, for each slot, which token lies there and at which position.
struct Device {
    slots: HashMap<u32, (u32, u32)>,
    computed: usize,
    /// It says one of so many tokens.
    words: u32,
    /// It sees so many.
    window: Option<u32>,
}

fn device(words: u32) -> Device {
    Device { slots: HashMap::new(), computed: 0, words, window: None }
}

/// What follows a text.
fn next(text: &[u32], window: Option<u32>, words: u32) -> u32 {
    let seen = window.map_or(0, |window| text.len().saturating_sub(window as usize));
    text[seen..].iter().fold(7u32, |sum, token| follow(sum, *token)) % words
}

fn follow(sum: u32, token: u32) -> u32 {
    (sum.wrapping_mul(31).wrapping_add(token)) ^ (sum >> 13)
}

impl Device {
    /// The first position that the token at `position` sees.
    fn seen(&self, position: u32) -> u32 {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// Runs a batch; a row's next token is a function of everything before it, read back from the slots.
    fn step(&mut self, batch: &Batch, block_size: u32) -> Vec<u32> {
        let unique: HashSet<u32> = batch.slots.iter().copied().collect();
        assert_eq!(unique.len(), batch.slots.len(), "a slot twice");
        let written: HashSet<u32> = batch.slots.iter().map(|slot| slot / block_size).collect();
        for block in written {
            let holders = batch.rows.iter().filter(|row| {
                let seen = self.seen(batch.positions[row.tokens.start]) / block_size;
                row.blocks[seen as usize..].contains(&block)
            });
            let holders = holders.count();
            assert_eq!(holders, 1, "a block that others hold is written to");
        }
        self.computed += batch.tokens.len();
        let mut chosen = Vec::new();
        let mut end = 0;
        for row in &batch.rows {
            assert_eq!(row.tokens.start, end, "rows lie one after another");
            assert!(!row.tokens.is_empty());
            end = row.tokens.end;
            for at in row.tokens.clone() {
                self.slots.insert(batch.slots[at], (batch.positions[at], batch.tokens[at]));
            }
            let first = batch.positions[row.tokens.start];
            let last = batch.positions[row.tokens.end - 1];
            // Everything that is seen must still be where the block table says.
            let read = (self.seen(first)..=last).map(|position| {
                let slot = row.blocks[(position / block_size) as usize] * block_size + position % block_size;
                let (lies_at, token) = self.slots[&slot];
                assert_eq!(lies_at, position, "another position's token");
                token
            });
            let texts: Vec<u32> = read.collect();
            // Each choice follows the text up to its place, drafts included.
            for ahead in (0..row.samples.len()).rev() {
                let text = &texts[..texts.len() - ahead];
                chosen.push(next(text, self.window, self.words));
            }
        }
        assert_eq!(end, batch.tokens.len());
        chosen
    }
}

/// The second model: says what the first would, but for every `wrong`th token; knows only what it has computed.
struct Drafter {
    slots: HashMap<u32, u32>,
    wrong: u32,
    words: u32,
}

impl Drafter {
    /// A whole round of proposals.
    fn propose(&mut self, scheduler: &mut Scheduler, capacity: Capacity) {
        let mut batch = Batch::default();
        let mut more = scheduler.begin_proposals(&mut batch, capacity.max_context as usize);
        while more {
            let tokens = self.step(&batch, capacity.block_size);
            more = scheduler.go_on_proposing(&mut batch, &tokens);
        }
    }

    fn step(&mut self, batch: &Batch, block_size: u32) -> Vec<u32> {
        let mut next = Vec::new();
        for row in &batch.rows {
            assert!(!row.tokens.is_empty() && row.samples.len() <= 1);
            for at in row.tokens.clone() {
                assert!(row.blocks.contains(&(batch.slots[at] / block_size)), "a slot of somebody else");
                self.slots.insert(batch.slots[at], batch.tokens[at]);
            }
            if row.samples.is_empty() {
                continue;
            }
            let last = batch.positions[row.tokens.end - 1];
            let slot = |at: u32| row.blocks[(at / block_size) as usize] * block_size + at % block_size;
            // Of a text that it never saw it knows nothing.
            let text = (0..=last).map(|at| self.slots.get(&slot(at)).copied().unwrap_or(0));
            let right = text.fold(7u32, follow) % self.words;
            next.push(if last.is_multiple_of(self.wrong) { right ^ 1 } else { right });
        }
        next
    }
}

/// What a sequence must generate, whatever its company.
fn alone(id: u64, arrival: &Arrival, window: Option<u32>, words: u32) -> Vec<u32> {
    let mut tokens = prompt(id, arrival);
    for _ in 0..arrival.output {
        tokens.push(next(&tokens, window, words));
    }
    tokens.split_off(arrival.prompt)
}

fn prompt(id: u64, arrival: &Arrival) -> Vec<u32> {
    let common = arrival.prompt.saturating_sub(arrival.own);
    let token =
        |at| if at < common { at as u32 * 17 + arrival.family } else { at as u32 * 13 + 1000 + id as u32 };
    (0..arrival.prompt).map(token).collect()
}

/// Runs a load to its end and checks every step.
fn run(mut arrivals: Vec<Arrival>, limits: Limits, capacity: Capacity, words: u32) {
    // Ids ascend in order of arrival.
    arrivals.sort_by_key(|arrival| arrival.step);
    let mut scheduler = Scheduler::new(limits, capacity);
    let (mut device, mut batch) = (device(words), Batch::default());
    device.window = capacity.window;
    let mut drafter = Drafter { slots: HashMap::new(), wrong: 5, words };
    let mut output: HashMap<u64, Vec<u32>> = HashMap::new();
    let mut gone: HashSet<u64> = HashSet::new();
    let mut there_were = Vec::new();
    let total: usize = arrivals.iter().map(|a| a.prompt + a.output).sum();
    for step in 0.. {
        assert!(step < 60 + 60 * (total + 10), "it does not come to an end");
        for (id, arrival) in arrivals.iter().enumerate().filter(|(_, arrival)| arrival.step == step) {
            scheduler.add(SequenceId(id as u64), order(prompt(id as u64, arrival), arrival.priority));
            there_were.push(id as u64);
        }
        if scheduler.is_idle() {
            if step > 60 {
                break;
            }
            continue;
        }
        let ran: HashSet<u64> = scheduler.running.iter().map(|sequence| sequence.id.0).collect();
        // Now and then a step is to decode only.
        let prefill_tokens =
            if step % 5 == 4 && scheduler.decoding() > 0 { 0 } else { limits.prefill_tokens };
        scheduler.schedule(&mut batch, prefill_tokens);
        if batch.rows.is_empty() {
            assert_eq!(prefill_tokens, 0, "there is work, and none is done");
            scheduler.schedule(&mut batch, limits.prefill_tokens);
        }
        assert!(!batch.rows.is_empty(), "there is work, and none is done");
        check(&batch, limits);
        let there: Vec<u64> = there_were.iter().copied().filter(|id| !gone.contains(id)).collect();
        check_order(&scheduler, &there, &ran);
        let tokens = device.step(&batch, capacity.block_size);
        let mut ended = Vec::new();
        scheduler.commit(&batch, &tokens, |Sampled { id, token, found }| {
            let arrival = &arrivals[id.0 as usize];
            assert!((found.tokens as usize) < arrival.prompt);
            let generated = output.entry(id.0).or_default();
            generated.push(token);
            let over = generated.len() == arrival.output || Some(generated.len()) == arrival.cancel;
            if over {
                ended.push(id);
            }
            over
        });
        let waiting = arrivals.iter().enumerate().filter(|(_, a)| a.cancel == Some(0) && a.step == step);
        for id in ended.into_iter().chain(waiting.map(|(id, _)| SequenceId(id as u64))) {
            scheduler.remove(id);
            gone.insert(id.0);
        }
        drafter.propose(&mut scheduler, capacity);
    }
    assert_eq!(scheduler.blocks(), (0, capacity.blocks), "blocks are lost");
    for (id, arrival) in arrivals.iter().enumerate().filter(|(_, arrival)| arrival.cancel.is_none()) {
        assert_eq!(output[&(id as u64)], alone(id as u64, arrival, capacity.window, words), "request {id}");
    }
}

fn check(batch: &Batch, limits: Limits) {
    let prompts = batch.rows.iter().filter(|row| row.samples.len() <= 1);
    let prefill: usize = prompts.map(|row| row.tokens.len()).filter(|len| *len > 1).sum();
    assert!(prefill <= limits.prefill_tokens, "{prefill} prompt tokens");
    assert!(batch.rows.len() <= limits.max_sequences);
}

/// Class by class, first come, first served: nobody joins before an older one of its class, but where that waits for a
/// beginning that another one computes.
fn check_order(scheduler: &Scheduler, there: &[u64], ran: &HashSet<u64>) {
    let running: HashMap<u64, u8> =
        scheduler.running.iter().map(|sequence| (sequence.id.0, sequence.turn.class)).collect();
    for id in there.iter().filter(|id| !running.contains_key(id)) {
        let sequence = scheduler.waiting.iter().find(|sequence| sequence.id.0 == *id).unwrap();
        let passed = running
            .iter()
            .any(|(newer, class)| newer > id && !ran.contains(newer) && *class >= sequence.turn.class);
        assert!(
            !passed || sequence.shares_with(&scheduler.running),
            "request {id} is passed over for nothing"
        );
    }
}

impl Sequence {
    /// Whether its text begins like that of one that runs, by a block at least.
    fn shares_with(&self, running: &[Sequence]) -> bool {
        running.iter().any(|other| other.tokens[..].iter().zip(&self.tokens).take(4).all(|(a, b)| a == b))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_request_gets_its_tokens(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        prefill_tokens in 1usize..40,
        blocks in 16u32..40,
    ) {
        // A pool of 16 blocks holds one of the longest requests, one of 40 not three.
        let capacity = Capacity { block_size: 4, blocks, max_context: 64, weight_bytes: 0, window: None };
        run(arrivals, limits(max_sequences, prefill_tokens), capacity, u32::MAX);
    }

    /// A device that says few different words is guessed right often: the text is the same.
    #[test]
    fn drafts_change_no_text(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        blocks in 16u32..40,
        drafts in 1usize..5,
    ) {
        let capacity = Capacity { block_size: 4, blocks, max_context: 64, weight_bytes: 0, window: None };
        let limits = Limits { max_sequences, prefill_tokens: 16, drafts: Drafts::LookUp(drafts) };
        run(arrivals, limits, capacity, 3);
    }

    /// Blocks that no layer looks at any more are given back while the sequence goes on.
    #[test]
    fn a_window_changes_no_text(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        blocks in 16u32..40,
        window in 1u32..30,
    ) {
        let capacity = Capacity { block_size: 4, blocks, max_context: 64, weight_bytes: 0, window: Some(window) };
        run(arrivals, limits(max_sequences, 16), capacity, u32::MAX);
    }

    /// Texts longer than the pool, which holds what one of them sees at a time.
    #[test]
    fn behind_a_window_texts_longer_than_the_pool_come_to_their_end(
        arrivals in vec(arrival(200), 1..12),
        max_sequences in 1usize..5,
        more in 0u32..8,
        window in 1u32..30,
    ) {
        let (limits, block_size) = (limits(max_sequences, 16), 4);
        let capacity = Capacity { block_size, blocks: 0, max_context: 200, weight_bytes: 0, window: Some(window) };
        let blocks = super::alone(limits, capacity, 200) + more;
        let capacity = Capacity { blocks, ..capacity };
        assert_eq!(max_length(limits, capacity), 200);
        run(arrivals, limits, capacity, u32::MAX);
    }

    #[test]
    fn a_second_model_changes_no_text(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        blocks in 16u32..40,
        drafts in 1usize..5,
    ) {
        let capacity = Capacity { block_size: 4, blocks, max_context: 64, weight_bytes: 0, window: None };
        let limits = Limits { max_sequences, prefill_tokens: 16, drafts: Drafts::Model(drafts) };
        run(arrivals, limits, capacity, u32::MAX);
    }
}

#[test]
fn a_second_model_that_is_right_saves_steps() {
    let capacity = Capacity { block_size: 4, blocks: 64, max_context: 256, weight_bytes: 0, window: None };
    let limits = Limits { max_sequences: 4, prefill_tokens: 16, drafts: Drafts::Model(4) };
    let mut scheduler = Scheduler::new(limits, capacity);
    let (mut device, mut batch) = (device(u32::MAX), Batch::default());
    let mut drafter = Drafter { slots: HashMap::new(), wrong: u32::MAX, words: u32::MAX };
    for id in 0..2 {
        scheduler.add(SequenceId(id), normal((0..40 + id as u32).collect()));
    }
    let (mut steps, mut tokens) = (0, 0);
    while tokens < 2 * 50 {
        scheduler.schedule(&mut batch, 16);
        let chosen = device.step(&batch, 4);
        scheduler.commit(&batch, &chosen, |_| {
            tokens += 1;
            false
        });
        drafter.propose(&mut scheduler, capacity);
        steps += 1;
    }
    // Six steps for the prompts, then five tokens a step and sequence.
    assert!(steps <= 6 + 12, "{steps} steps");
    let drafts = scheduler.draft_statistics();
    assert!(drafts.proposed >= 70 && drafts.accepted == drafts.proposed, "{drafts:?}");
}

/// Adds requests with a long common beginning and runs them to their first token: steps, tokens computed, cached tokens.
fn share(
    scheduler: &mut Scheduler,
    ids: std::ops::Range<u64>,
    capacity: Capacity,
) -> (usize, usize, Vec<u32>) {
    let (mut device, mut batch) = (device(u32::MAX), Batch::default());
    for id in ids.clone() {
        let own = [id as u32 + 5000, id as u32 + 6000];
        scheduler.add(SequenceId(id), normal((0..102).chain(own).collect()));
    }
    let mut cached = vec![None; ids.end as usize];
    for step in 1.. {
        scheduler.schedule(&mut batch, 64);
        let tokens = vec![9; batch.rows.iter().map(|row| row.samples.len()).sum()];
        device.computed += batch.tokens.len();
        scheduler.commit(&batch, &tokens, |sampled| {
            cached[sampled.id.0 as usize] = Some(sampled.found.tokens);
            false
        });
        if ids.clone().all(|id| cached[id as usize].is_some()) {
            ids.clone().for_each(|id| scheduler.remove(SequenceId(id)));
            assert_eq!(scheduler.blocks(), (0, capacity.blocks));
            return (step, device.computed, ids.map(|id| cached[id as usize].unwrap()).collect());
        }
    }
    unreachable!("steps do not end")
}

#[test]
fn a_beginning_that_many_share_is_computed_once() {
    let capacity = Capacity { block_size: 4, blocks: 400, max_context: 400, weight_bytes: 0, window: None };
    let mut scheduler = Scheduler::new(limits(8, 64), capacity);
    // The first computes 104 tokens in two steps; then the others their last four each, while it decodes.
    let (steps, computed, cached) = share(&mut scheduler, 0..8, capacity);
    assert_eq!((steps, computed), (3, 104 + 7 * 4 + 1));
    assert_eq!(cached, [vec![0], vec![100; 7]].concat());
    // It stays when nobody holds it any more.
    let (_, computed, cached) = share(&mut scheduler, 8..10, capacity);
    assert_eq!((computed, cached), (8, vec![100; 2]));
}

#[test]
fn a_sequence_cancelled_while_others_wait_for_it_is_replaced() {
    let capacity = Capacity { block_size: 4, blocks: 400, max_context: 400, weight_bytes: 0, window: None };
    let mut scheduler = Scheduler::new(limits(8, 10), capacity);
    let mut batch = Batch::default();
    for id in 0..3 {
        scheduler.add(SequenceId(id), normal((0..100).collect()));
    }
    for (runs, computed) in [(0, 0), (1, 8), (2, 16)] {
        scheduler.schedule(&mut batch, 10);
        assert_eq!(scheduler.scheduled().collect::<Vec<_>>(), [SequenceId(runs)]);
        assert_eq!(batch.positions[0], computed, "what the one before has computed is not computed again");
        scheduler.commit(&batch, &[], |_| false);
        scheduler.remove(SequenceId(runs));
    }
    assert!(scheduler.is_idle());
}

#[test]
fn the_cache_gives_way_to_what_runs_and_keeps_beginnings_longest() {
    let capacity = Capacity { block_size: 4, blocks: 30, max_context: 120, weight_bytes: 0, window: None };
    let mut scheduler = Scheduler::new(limits(8, 200), capacity);
    let mut batch = Batch::default();
    let mut ask = |id: u64, prompt: Vec<u32>| {
        scheduler.add(SequenceId(id), normal(prompt));
        scheduler.schedule(&mut batch, 200);
        let first = batch.positions[0];
        scheduler.commit(&batch, &[9], |_| false);
        scheduler.remove(SequenceId(id));
        first
    };
    assert_eq!(ask(0, (0..80).collect()), 0);
    // Twenty blocks are kept, ten are blank; the next one takes eighteen.
    assert_eq!(ask(1, (1000..1070).collect()), 0);
    // Of the first text the end was given up: eight blocks and the one that would have been computed anyway.
    assert_eq!(ask(2, (0..80).collect()), 4 * 12);
    assert_eq!(scheduler.prefix_statistics().last_miss_at, 12);
}

#[test]
fn decoding_goes_on_while_a_long_prompt_is_computed() {
    let capacity = Capacity { block_size: 4, blocks: 100, max_context: 400, weight_bytes: 0, window: None };
    let mut scheduler = Scheduler::new(limits(4, 16), capacity);
    let mut batch = Batch::default();
    scheduler.add(SequenceId(0), normal(vec![1, 2, 3]));
    scheduler.schedule(&mut batch, 16);
    scheduler.commit(&batch, &[9], |_| false);
    scheduler.add(SequenceId(1), normal(vec![5; 40]));
    for (prompt, samples) in [(16, 1), (16, 1), (8, 2)] {
        scheduler.schedule(&mut batch, 16);
        let lengths: Vec<usize> = batch.rows.iter().map(|row| row.tokens.len()).collect();
        assert_eq!(lengths, [1, prompt]);
        assert_eq!(batch.rows.iter().filter(|row| !row.samples.is_empty()).count(), samples);
        scheduler.commit(&batch, &[9, 9][..samples], |_| false);
    }
}

#[test]
fn the_pool_bounds_the_length_where_it_is_smaller_than_the_context() {
    let capacity = Capacity { block_size: 32, blocks: 4, max_context: 8192, weight_bytes: 0, window: None };
    let limits = limits(4, 64);
    assert_eq!(max_length(limits, capacity), 128);
    assert_eq!(max_length(limits, Capacity { blocks: 1024, ..capacity }), 8192);
    // Three blocks for a step's tokens and the window, one more where they begin within one, and two from the cache.
    let windowed = Capacity { window: Some(32), blocks: 6, ..capacity };
    assert_eq!(max_length(limits, windowed), 8192);
    assert_eq!(max_length(limits, Capacity { blocks: 5, ..windowed }), 160);
}

#[test]
fn classes_go_first_to_last_and_a_higher_one_takes_a_lower_ones_place() {
    let capacity = Capacity { block_size: 4, blocks: 100, max_context: 400, weight_bytes: 0, window: None };
    let mut scheduler = Scheduler::new(limits(2, 64), capacity);
    let mut batch = Batch::default();
    let classes = [Priority::Low, Priority::Normal, Priority::Low, Priority::High, Priority::High];
    let mut steps = Vec::new();
    for (id, priority) in (0..).zip(classes) {
        scheduler.add(SequenceId(id), order(vec![id as u32; 6], priority));
        scheduler.schedule(&mut batch, 64);
        steps.push(scheduler.scheduled().map(|id| id.0).collect::<Vec<_>>());
        let tokens = vec![9; batch.rows.iter().map(|row| row.samples.len()).sum()];
        scheduler.commit(&batch, &tokens, |_| false);
    }
    // The low one gives its place to the first high one, the normal one to the second.
    assert_eq!(steps, [vec![0], vec![0, 1], vec![1, 0], vec![1, 3], vec![3, 4]]);
}

#[test]
fn who_waits_long_goes_like_a_higher_class() {
    let capacity = Capacity { block_size: 4, blocks: 100, max_context: 400, weight_bytes: 0, window: None };
    let mut scheduler = Scheduler::new(limits(1, 64), capacity);
    let mut batch = Batch::default();
    scheduler.add(SequenceId(0), order(vec![1; 6], Priority::Low));
    // High ones come without end, and each runs for two steps.
    let mut waited = None;
    for step in 1..2000 {
        scheduler.add(SequenceId(step), order(vec![2; 6], Priority::High));
        scheduler.schedule(&mut batch, 64);
        let runs = scheduler.scheduled().next().unwrap();
        if runs == SequenceId(0) {
            waited = Some(step);
            break;
        }
        let tokens = vec![9; batch.rows.len()];
        scheduler.commit(&batch, &tokens, |_| false);
        if step % 2 == 0 {
            scheduler.remove(runs);
        }
    }
    let waited = waited.expect("it starves");
    assert!((2 * AGEING_STEPS..2 * AGEING_STEPS + 4).contains(&waited), "{waited} steps");
}

#[test]
fn a_window_bounds_the_blocks_of_a_long_text() {
    let window = Some(16);
    let capacity = Capacity { block_size: 4, blocks: 100, max_context: 400, weight_bytes: 0, window };
    let mut scheduler = Scheduler::new(limits(4, 64), capacity);
    let (mut device, mut batch) = (Device { window, ..device(u32::MAX) }, Batch::default());
    scheduler.add(SequenceId(0), normal((0..40).collect()));
    for step in 0..200 {
        scheduler.schedule(&mut batch, 64);
        let tokens = device.step(&batch, 4);
        scheduler.commit(&batch, &tokens, |_| false);
        let (used, _) = scheduler.blocks();
        assert!(step == 0 || used <= 16 / 4 + 2, "{used} blocks at step {step}");
    }
}

/// Each takes 20 blocks in all and 7 at a time.
#[test]
fn long_prompts_behind_a_window_do_not_wait_for_room_for_all_of_them() {
    let window = Some(8);
    let capacity = Capacity { block_size: 4, blocks: 24, max_context: 96, weight_bytes: 0, window };
    let mut scheduler = Scheduler::new(limits(4, 16), capacity);
    let (mut device, mut batch) = (Device { window, ..device(u32::MAX) }, Batch::default());
    let prompts = [0, 1000].map(|first| (first..first + 80).collect::<Vec<u32>>());
    for (id, prompt) in (0..).zip(&prompts) {
        scheduler.add(SequenceId(id), normal(prompt.clone()));
    }
    let mut said = [Vec::new(), Vec::new()];
    for _ in 0..12 {
        scheduler.schedule(&mut batch, 16);
        let tokens = device.step(&batch, 4);
        scheduler.commit(&batch, &tokens, |sampled| {
            said[sampled.id.0 as usize].push(sampled.token);
            false
        });
    }
    assert_eq!((scheduler.counts(), said[1].len()), ((2, 0), 3), "five steps for each prompt");
    for (prompt, said) in prompts.into_iter().zip(said) {
        let mut text = prompt;
        for token in said {
            assert_eq!(token, next(&text, window, u32::MAX));
            text.push(token);
        }
    }
}

/// Logits of a long prompt would take gigabytes.
#[test]
fn a_prompt_that_is_scored_is_computed_little_by_little() {
    let capacity = Capacity { block_size: 4, blocks: 100, max_context: 400, weight_bytes: 0, window: None };
    let mut scheduler = Scheduler::new(limits(4, 512), capacity);
    let logprobs = Some(Logprobs { top: 1, prompt: true });
    scheduler.add(SequenceId(0), Order { logprobs, ..normal((0..150).collect()) });
    scheduler.add(SequenceId(1), normal((1000..1150).collect()));
    let mut batch = Batch::default();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        scheduler.schedule(&mut batch, 512);
        sizes.push(batch.rows[0].tokens.len());
        let tokens = vec![7; batch.rows.iter().map(|row| row.samples.len()).sum()];
        scheduler.commit(&batch, &tokens, |_| false);
    }
    assert_eq!(sizes, [SCORED_TOKENS, SCORED_TOKENS, 150 - 2 * SCORED_TOKENS]);
    // The other one had the rest of the budget at once.
    assert_eq!(scheduler.decoding(), 2);
}
