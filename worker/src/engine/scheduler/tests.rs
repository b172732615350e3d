use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ipc_proto::generate::{Logprobs, Priority};
use proptest::collection::vec;
use proptest::prelude::*;

use super::queue::AGEING_STEPS;
use super::*;
use crate::engine::penalties::Penalties;
use crate::engine::runner::RowSampling;
use crate::engine::sequence::{Precedence, SamplingParams};

mod fairness;
mod fake_models;
mod images;

use fake_models::{Device, Drafter, device, next};

pub(crate) fn params(prompt: Vec<u32>, priority: Priority) -> SequenceParams {
    let penalties = Penalties::default();
    let sampling =
        SamplingParams { row: RowSampling::GREEDY, seed: 0, penalties, min_tokens: 0, ends: Arc::new([]) };
    let (generated, cache_scope) = (Vec::new(), String::new());
    SequenceParams {
        images: PromptImages::default(),
        prompt,
        generated,
        sampling,
        priority,
        tenant: 0,
        cache_scope,
        logprobs: None,
        scored_from: 0,
        masked: false,
    }
}

fn normal(prompt: Vec<u32>) -> SequenceParams {
    params(prompt, Priority::Normal)
}

fn limits(max_sequences: usize, prefill_tokens: usize) -> StepLimits {
    StepLimits { max_sequences, prefill_tokens, drafts: Drafts::None }
}

/// A runner with blocks of four tokens and without a window.
fn capacity(blocks: u32, max_context: u32) -> RunnerCapacity {
    RunnerCapacity {
        block_size: 4,
        blocks,
        max_context,
        weight_bytes: 0,
        window: None,
        original_context: None,
        blocks_per_state: None,
        whole_images: None,
    }
}

/// One request of a random load.
#[derive(Debug, Clone)]
struct Arrival {
    step: usize,
    /// Prompts of one family share a prefix.
    family: u32,
    /// Length of the prompt; its last `own` tokens are unique.
    prompt: usize,
    own: usize,
    output: usize,
    /// Number of generated tokens after which it is cancelled.
    cancel: Option<usize>,
    priority: Priority,
    tenant: u64,
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
        tenant: 0,
    })
}

/// The output of a request, independent of the other requests.
fn reference_output(id: u64, arrival: &Arrival, window: Option<u32>, words: u32) -> Vec<u32> {
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
fn run(mut arrivals: Vec<Arrival>, limits: StepLimits, capacity: RunnerCapacity, words: u32) {
    // Ids ascend in order of arrival.
    arrivals.sort_by_key(|arrival| arrival.step);
    let mut scheduler = Scheduler::new(limits, capacity);
    let (mut device, mut batch) = (device(words), Batch::default());
    device.window = capacity.window;
    device.original_context = capacity.original_context;
    let mut drafter = Drafter { slots: HashMap::new(), wrong: 5, words };
    let mut output: HashMap<u64, Vec<u32>> = HashMap::new();
    let mut gone: HashSet<u64> = HashSet::new();
    let (mut there_were, mut held) = (Vec::new(), Vec::new());
    let total: usize = arrivals.iter().map(|a| a.prompt + a.output).sum();
    for step in 0.. {
        assert!(step < 60 + 60 * (total + 10), "the load does not end");
        for (id, arrival) in arrivals.iter().enumerate().filter(|(_, arrival)| arrival.step == step) {
            let params = params(prompt(id as u64, arrival), arrival.priority);
            scheduler.add(SequenceId(id as u64), SequenceParams { tenant: arrival.tenant, ..params });
            there_were.push(id as u64);
        }
        if scheduler.is_idle() {
            if step > 60 {
                break;
            }
            continue;
        }
        held.drain(..).for_each(|id| scheduler.release(id));
        let ran: HashSet<u64> = scheduler.running.iter().map(|sequence| sequence.id.0).collect();
        // Every fifth step only decodes.
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
        for state in scheduler.take_dropped_states() {
            assert!(device.states.remove(&state).is_some(), "a state is dropped that was never made");
        }
        let tokens = device.step(&batch, capacity.block_size);
        if let Some(per_state) = capacity.blocks_per_state {
            assert!(device.states.len() <= most_states(capacity.blocks, per_state) as usize);
            // Some rows sit a step out.
            let row =
                (0..batch.rows.len()).rfind(|row| step % 3 == 1 && !batch.rows[*row].samples.is_empty());
            held.extend(row.map(|row| scheduler.scheduled().nth(row).unwrap()));
            row.into_iter().for_each(|row| scheduler.sit_out(row));
        }
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
    assert_eq!(scheduler.blocks(), (0, capacity.blocks), "blocks leaked");
    for (id, arrival) in arrivals.iter().enumerate().filter(|(_, arrival)| arrival.cancel.is_none()) {
        assert_eq!(
            output[&(id as u64)],
            reference_output(id as u64, arrival, capacity.window, words),
            "request {id}"
        );
    }
}

fn check(batch: &Batch, limits: StepLimits) {
    let prompts = batch.rows.iter().filter(|row| row.samples.len() <= 1);
    let prefill: usize = prompts.map(|row| row.tokens.len()).filter(|len| *len > 1).sum();
    assert!(prefill <= limits.prefill_tokens, "{prefill} prompt tokens");
    assert!(batch.rows.len() <= limits.max_sequences);
}

/// First come, first served within a class. A sequence joins before an older one of its class only if that one waits for a
/// prefix that another sequence computes.
fn check_order(scheduler: &Scheduler, there: &[u64], ran: &HashSet<u64>) {
    let running: HashMap<u64, Precedence> =
        scheduler.running.iter().map(|sequence| (sequence.id.0, sequence.precedence)).collect();
    for id in there.iter().filter(|id| !running.contains_key(id)) {
        let sequence = scheduler.waiting.iter().find(|sequence| sequence.id.0 == *id).unwrap();
        let own = sequence.precedence;
        let passed = running.iter().any(|(newer, other)| {
            let is_fresh = newer > id && !ran.contains(newer);
            is_fresh && other.share == own.share && other.class >= own.class
        });
        assert!(
            !passed || sequence.shares_with(&scheduler.running),
            "request {id} is passed over for nothing"
        );
    }
}

impl Sequence {
    /// Whether it shares at least one block of prefix with a running sequence.
    fn shares_with(&self, running: &[Sequence]) -> bool {
        running.iter().any(|other| other.tokens[..].iter().zip(&self.tokens).take(4).all(|(a, b)| a == b))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_request_gets_its_own_output(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        prefill_tokens in 1usize..40,
        blocks in 16u32..40,
    ) {
        // 16 blocks hold one of the longest requests; 40 hold two, not three.
        let capacity = capacity(blocks, 64);
        run(arrivals, limits(max_sequences, prefill_tokens), capacity, u32::MAX);
    }

    /// With a vocabulary of three, prompt lookup is often right.
    #[test]
    fn prompt_lookup_leaves_outputs_unchanged(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        blocks in 16u32..40,
        drafts in 1usize..5,
    ) {
        let capacity = capacity(blocks, 64);
        let limits = StepLimits { max_sequences, prefill_tokens: 16, drafts: Drafts::LookUp(drafts) };
        run(arrivals, limits, capacity, 3);
    }

    /// The device checks that each row continues from the state of its own text. Rows that sit out take a step back.
    #[test]
    fn recurrent_states_follow_their_texts(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        prefill_tokens in 1usize..40,
        blocks in 16u32..40,
        per_state in 1u32..12,
    ) {
        let capacity = RunnerCapacity { blocks_per_state: Some(per_state), ..capacity(blocks, 64) };
        run(arrivals, limits(max_sequences, prefill_tokens), capacity, u32::MAX);
    }

    /// Blocks outside the window are freed while the sequence runs.
    #[test]
    fn freeing_blocks_behind_a_window_leaves_outputs_unchanged(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        blocks in 16u32..40,
        window in 1u32..30,
    ) {
        let capacity = RunnerCapacity { window: Some(window), ..capacity(blocks, 64) };
        run(arrivals, limits(max_sequences, 16), capacity, u32::MAX);
    }

    /// The pool holds one window, but not a whole text.
    #[test]
    fn windowed_texts_longer_than_the_pool_finish(
        arrivals in vec(arrival(200), 1..12),
        max_sequences in 1usize..5,
        more in 0u32..8,
        window in 1u32..30,
    ) {
        let (limits, block_size) = (limits(max_sequences, 16), 4);
        let capacity =
            RunnerCapacity { block_size, max_context: 200, window: Some(window), ..capacity(0, 200) };
        let blocks = max_blocks(limits, capacity, 200) + more;
        let capacity = RunnerCapacity { blocks, ..capacity };
        assert_eq!(max_length(limits, capacity), 200);
        run(arrivals, limits, capacity, u32::MAX);
    }

    /// The device checks that the keys of a text are all of one kind, and that the kind follows from its length.
    #[test]
    fn text_that_grows_beyond_the_original_context_is_computed_anew(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        blocks in 16u32..40,
        original in 1u32..64,
        drafts in prop::sample::select(vec![Drafts::None, Drafts::LookUp(3), Drafts::Model(3)]),
    ) {
        let capacity = RunnerCapacity { original_context: Some(original), ..capacity(blocks, 64) };
        run(arrivals, StepLimits { max_sequences, prefill_tokens: 16, drafts }, capacity, 3);
    }

    #[test]
    fn draft_model_leaves_outputs_unchanged(
        arrivals in vec(arrival(64), 1..24),
        max_sequences in 1usize..9,
        blocks in 16u32..40,
        drafts in 1usize..5,
    ) {
        let capacity = capacity(blocks, 64);
        let limits = StepLimits { max_sequences, prefill_tokens: 16, drafts: Drafts::Model(drafts) };
        run(arrivals, limits, capacity, u32::MAX);
    }
}

#[test]
fn accurate_draft_model_saves_steps() {
    let capacity = capacity(64, 256);
    let limits = StepLimits { max_sequences: 4, prefill_tokens: 16, drafts: Drafts::Model(4) };
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
    // Six steps for the prompts, then five tokens per step and sequence.
    assert!(steps <= 6 + 12, "{steps} steps");
    let drafts = scheduler.draft_statistics();
    assert!(drafts.proposed >= 70 && drafts.accepted == drafts.proposed, "{drafts:?}");
}

/// Adds requests with a long common prefix and runs them to their first token.
///
/// Returns the number of steps, of tokens computed, and of cached tokens per request.
fn share(scheduler: &mut Scheduler, ids: Range<u64>, capacity: RunnerCapacity) -> (usize, usize, Vec<u32>) {
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
fn shared_prefix_is_computed_once() {
    let capacity = capacity(400, 400);
    let mut scheduler = Scheduler::new(limits(8, 64), capacity);
    // The first computes 104 tokens in two steps. Then each other one computes its last four, while the first decodes.
    let (steps, computed, cached) = share(&mut scheduler, 0..8, capacity);
    assert_eq!((steps, computed), (3, 104 + 7 * 4 + 1));
    assert_eq!(cached, [vec![0], vec![100; 7]].concat());
    // The prefix stays cached when no sequence holds it.
    let (_, computed, cached) = share(&mut scheduler, 8..10, capacity);
    assert_eq!((computed, cached), (8, vec![100; 2]));
}

#[test]
fn cancelling_a_sequence_that_others_wait_for_starts_the_next() {
    let capacity = capacity(400, 400);
    let mut scheduler = Scheduler::new(limits(8, 10), capacity);
    let mut batch = Batch::default();
    for id in 0..3 {
        scheduler.add(SequenceId(id), normal((0..100).collect()));
    }
    for (runs, computed) in [(0, 0), (1, 8), (2, 16)] {
        scheduler.schedule(&mut batch, 10);
        assert_eq!(scheduler.scheduled().collect::<Vec<_>>(), [SequenceId(runs)]);
        assert_eq!(batch.positions[0], computed, "the blocks of the cancelled sequence are reused");
        scheduler.commit(&batch, &[], |_| false);
        scheduler.remove(SequenceId(runs));
    }
    assert!(scheduler.is_idle());
}

#[test]
fn cache_evicts_ends_of_texts_before_beginnings() {
    let capacity = capacity(30, 120);
    let mut scheduler = Scheduler::new(limits(8, 200), capacity);
    let mut batch = Batch::default();
    let mut run_once = |id: u64, prompt: Vec<u32>| {
        scheduler.add(SequenceId(id), normal(prompt));
        scheduler.schedule(&mut batch, 200);
        let first = batch.positions[0];
        scheduler.commit(&batch, &[9], |_| false);
        scheduler.remove(SequenceId(id));
        first
    };
    assert_eq!(run_once(0, (0..80).collect()), 0);
    // Twenty blocks are cached, ten are blank. The next text takes eighteen.
    assert_eq!(run_once(1, (1000..1070).collect()), 0);
    // The end of the first text was evicted: seven blocks. Its last block is always recomputed.
    assert_eq!(run_once(2, (0..80).collect()), 4 * 12);
    assert_eq!(scheduler.prefix_statistics().last_miss_at, 12);
}

#[test]
fn long_prompt_is_prefilled_beside_decoding() {
    let capacity = capacity(100, 400);
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
fn max_length_is_the_smaller_of_pool_and_context() {
    let capacity = RunnerCapacity { block_size: 32, ..capacity(4, 8192) };
    let limits = limits(4, 64);
    assert_eq!(max_length(limits, capacity), 128);
    assert_eq!(max_length(limits, RunnerCapacity { blocks: 1024, ..capacity }), 8192);
    // Three blocks for a step's tokens and the window, one more for a start within a block, two from the cache.
    let windowed = RunnerCapacity { window: Some(32), blocks: 6, ..capacity };
    assert_eq!(max_length(limits, windowed), 8192);
    assert_eq!(max_length(limits, RunnerCapacity { blocks: 5, ..windowed }), 160);
}

#[test]
fn higher_class_preempts_lower_class() {
    let capacity = capacity(100, 400);
    let mut scheduler = Scheduler::new(limits(2, 64), capacity);
    let mut batch = Batch::default();
    let classes = [Priority::Low, Priority::Normal, Priority::Low, Priority::High, Priority::High];
    let mut steps = Vec::new();
    for (id, priority) in (0..).zip(classes) {
        scheduler.add(SequenceId(id), params(vec![id as u32; 6], priority));
        scheduler.schedule(&mut batch, 64);
        steps.push(scheduler.scheduled().map(|id| id.0).collect::<Vec<_>>());
        let tokens = vec![9; batch.rows.iter().map(|row| row.samples.len()).sum()];
        scheduler.commit(&batch, &tokens, |_| false);
    }
    // The first high one preempts the low one, the second preempts the normal one.
    assert_eq!(steps, [vec![0], vec![0, 1], vec![1, 0], vec![1, 3], vec![3, 4]]);
}

#[test]
fn long_waiting_sequence_is_treated_as_a_higher_class() {
    let capacity = capacity(100, 400);
    let mut scheduler = Scheduler::new(limits(1, 64), capacity);
    let mut batch = Batch::default();
    scheduler.add(SequenceId(0), params(vec![1; 6], Priority::Low));
    // High ones keep arriving, and each runs for two steps.
    let mut waited = None;
    for step in 1..2000 {
        scheduler.add(SequenceId(step), params(vec![2; 6], Priority::High));
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
fn window_bounds_the_blocks_of_a_long_text() {
    let window = Some(16);
    let capacity = RunnerCapacity { window, ..capacity(100, 400) };
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

/// Each prompt takes 20 blocks in total and at most 7 at once.
#[test]
fn windowed_prompts_join_without_blocks_for_their_whole_length() {
    let window = Some(8);
    let capacity = RunnerCapacity { window, ..capacity(24, 96) };
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

/// The logits of a whole long prompt would take gigabytes.
#[test]
fn scored_prompt_is_computed_in_small_chunks() {
    let capacity = capacity(100, 400);
    let mut scheduler = Scheduler::new(limits(4, 512), capacity);
    let logprobs = Some(Logprobs { top: 1, prompt: true });
    scheduler.add(SequenceId(0), SequenceParams { logprobs, ..normal((0..150).collect()) });
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
    // The other prompt got the rest of the budget at once.
    assert_eq!(scheduler.decoding(), 2);
}

/// Only the tokens to score are computed in small chunks, and those before them come from the prefix cache.
#[test]
fn prompt_scored_from_a_token_on_adopts_the_blocks_before_it() {
    let mut scheduler = Scheduler::new(limits(4, 512), capacity(100, 400));
    let logprobs = Some(Logprobs { top: 0, prompt: true });
    let mut batch = Batch::default();
    let mut step = |scheduler: &mut Scheduler| {
        scheduler.schedule(&mut batch, 512);
        let row = &batch.rows[0];
        let seen = (row.tokens.len(), row.score.clone().map(|score| (score.first, score.targets)));
        let tokens = vec![7; batch.rows.iter().map(|row| row.samples.len()).sum()];
        scheduler.commit(&batch, &tokens, |_| true);
        seen
    };
    let prompt: Vec<u32> = (0..150).collect();
    let scored = |from| SequenceParams { logprobs, scored_from: from, ..normal(prompt.clone()) };
    scheduler.add(SequenceId(0), scored(147));
    assert_eq!(step(&mut scheduler), (150, Some((146, vec![147, 148, 149]))), "a whole prompt in one step");
    scheduler.remove(SequenceId(0));
    scheduler.add(SequenceId(1), scored(147));
    let (computed, score) = step(&mut scheduler);
    assert!(computed < 20, "{computed} tokens are computed");
    assert_eq!(score.unwrap().1, [147, 148, 149]);
}
