use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::engine::runner::RowSampling;

const SAMPLING: SamplingParams = SamplingParams { row: RowSampling::GREEDY, seed: 0 };

/// One request of a made-up load.
#[derive(Debug, Clone)]
struct Arrival {
    step: usize,
    prompt: usize,
    output: usize,
    /// Tokens after which it is cancelled.
    cancel: Option<usize>,
}

fn arrival(pool: usize) -> impl Strategy<Value = Arrival> {
    let cancel = prop::option::weighted(0.2, 0usize..20);
    (0usize..60, 1..pool, 1usize..60, cancel).prop_map(move |(step, prompt, output, cancel)| Arrival {
        step,
        prompt,
        output: output.min(pool - prompt),
        cancel,
    })
}

/// A device that only remembers, for each slot, which token of which sequence lies there.
#[derive(Default)]
struct Device {
    slots: HashMap<u32, (u64, u32)>,
}

impl Device {
    /// Runs a batch; a row's next token is a function of everything before it, read back from the slots.
    fn step(&mut self, batch: &Batch, owners: &[u64], block_size: u32) -> Vec<u32> {
        let unique: HashSet<u32> = batch.slots.iter().copied().collect();
        assert_eq!(unique.len(), batch.slots.len(), "a slot twice");
        let blocks: Vec<u32> = batch.rows.iter().flat_map(|row| row.blocks.iter().copied()).collect();
        assert_eq!(blocks.iter().collect::<HashSet<_>>().len(), blocks.len(), "a block in two sequences");
        let mut next = Vec::new();
        let mut end = 0;
        for (row, owner) in batch.rows.iter().zip(owners) {
            assert_eq!(row.tokens.start, end, "rows lie one after another");
            assert!(!row.tokens.is_empty());
            end = row.tokens.end;
            for at in row.tokens.clone() {
                self.slots.insert(batch.slots[at], (*owner, batch.tokens[at]));
            }
            let last = batch.positions[row.tokens.end - 1];
            // Everything up to here must still be where the block table says.
            let read = (0..=last).map(|position| {
                let slot = row.blocks[(position / block_size) as usize] * block_size + position % block_size;
                let (who, token) = self.slots[&slot];
                assert_eq!(who, *owner, "another sequence's token at position {position}");
                token
            });
            let sum = read.fold(7u32, |sum, token| sum.wrapping_mul(31).wrapping_add(token));
            if row.sample.is_some() {
                next.push(sum);
            }
        }
        assert_eq!(end, batch.tokens.len());
        next
    }
}

/// What a sequence must generate, whatever its company.
fn alone(id: u64, arrival: &Arrival) -> Vec<u32> {
    let mut tokens = prompt(id, arrival);
    for _ in 0..arrival.output {
        tokens.push(tokens.iter().fold(7u32, |sum, token| sum.wrapping_mul(31).wrapping_add(*token)));
    }
    tokens.split_off(arrival.prompt)
}

fn prompt(id: u64, arrival: &Arrival) -> Vec<u32> {
    (0..arrival.prompt as u32).map(|at| at * 17 + id as u32).collect()
}

/// Runs a load to its end and checks every step.
fn run(arrivals: &[Arrival], limits: Limits, capacity: Capacity) {
    let mut scheduler = Scheduler::new(limits, capacity);
    let (mut device, mut batch) = (Device::default(), Batch::default());
    let mut output: HashMap<u64, Vec<u32>> = HashMap::new();
    let mut gone: HashSet<u64> = HashSet::new();
    let mut order = Vec::new();
    let total: usize = arrivals.iter().map(|a| a.prompt + a.output).sum();
    for step in 0.. {
        assert!(step < 60 + 60 * (total + 10), "it does not come to an end");
        for (id, arrival) in arrivals.iter().enumerate().filter(|(_, arrival)| arrival.step == step) {
            scheduler.add(SequenceId(id as u64), prompt(id as u64, arrival), SAMPLING);
            order.push(id as u64);
        }
        if scheduler.is_idle() {
            if step > 60 {
                break;
            }
            continue;
        }
        scheduler.schedule(&mut batch);
        assert!(!batch.rows.is_empty(), "there is work, and none is done");
        let owners: Vec<u64> = scheduler.scheduled().map(|id| id.0).collect();
        check(&scheduler, &batch, limits, &owners, &order, &gone);
        let tokens = device.step(&batch, &owners, capacity.block_size);
        let mut ended = Vec::new();
        scheduler.commit(&tokens, |id, token| {
            let arrival = &arrivals[id.0 as usize];
            let generated = output.entry(id.0).or_default();
            generated.push(token);
            if generated.len() == arrival.output || Some(generated.len()) == arrival.cancel {
                ended.push(id);
            }
        });
        let waiting = arrivals.iter().enumerate().filter(|(_, a)| a.cancel == Some(0) && a.step == step);
        for id in ended.into_iter().chain(waiting.map(|(id, _)| SequenceId(id as u64))) {
            scheduler.remove(id);
            gone.insert(id.0);
        }
    }
    assert_eq!(scheduler.blocks(), (0, capacity.blocks), "blocks are lost");
    for (id, arrival) in arrivals.iter().enumerate().filter(|(_, arrival)| arrival.cancel.is_none()) {
        assert_eq!(output[&(id as u64)], alone(id as u64, arrival), "request {id}");
    }
}

fn check(
    scheduler: &Scheduler,
    batch: &Batch,
    limits: Limits,
    owners: &[u64],
    order: &[u64],
    gone: &HashSet<u64>,
) {
    let prefill: usize = batch.rows.iter().map(|row| row.tokens.len()).filter(|len| *len > 1).sum();
    assert!(prefill <= limits.prefill_tokens, "{prefill} prompt tokens");
    assert!(batch.rows.len() <= limits.max_sequences);
    // First come, first served: what runs are the oldest of those there are, without a gap.
    let there: Vec<u64> = order.iter().copied().filter(|id| !gone.contains(id)).collect();
    let running: Vec<u64> = scheduler.running.iter().map(|sequence| sequence.id.0).collect();
    assert_eq!(running, there[..running.len()]);
    assert_eq!(owners[0], there[0], "the oldest goes on");
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
        let capacity = Capacity { block_size: 4, blocks, max_context: 64, weight_bytes: 0 };
        run(&arrivals, Limits { max_sequences, prefill_tokens }, capacity);
    }
}

#[test]
fn decoding_goes_on_while_a_long_prompt_is_computed() {
    let capacity = Capacity { block_size: 4, blocks: 100, max_context: 400, weight_bytes: 0 };
    let mut scheduler = Scheduler::new(Limits { max_sequences: 4, prefill_tokens: 16 }, capacity);
    let mut batch = Batch::default();
    scheduler.add(SequenceId(0), vec![1, 2, 3], SAMPLING);
    scheduler.schedule(&mut batch);
    scheduler.commit(&[9], |_, _| {});
    scheduler.add(SequenceId(1), vec![5; 40], SAMPLING);
    for (prompt, samples) in [(16, 1), (16, 1), (8, 2)] {
        scheduler.schedule(&mut batch);
        let lengths: Vec<usize> = batch.rows.iter().map(|row| row.tokens.len()).collect();
        assert_eq!(lengths, [1, prompt]);
        assert_eq!(batch.rows.iter().filter(|row| row.sample.is_some()).count(), samples);
        scheduler.commit(&[9, 9][..samples], |_, _| {});
    }
}

#[test]
fn the_pool_bounds_the_length_where_it_is_smaller_than_the_context() {
    let capacity = Capacity { block_size: 32, blocks: 4, max_context: 8192, weight_bytes: 0 };
    assert_eq!(max_length(capacity), 128);
    assert_eq!(max_length(Capacity { blocks: 1024, ..capacity }), 8192);
}
