//! Many requests of all kinds, in sequence and concurrently, in a pool that is too small for them.
//!
//! `MLXD_SOAK_REQUESTS=2000 cargo xtask test soak` takes some minutes; without the variable the test is short.

use std::collections::HashMap;

use ipc_proto::generate::{ChoiceId, Constraint, Event, Priority, Sampling, Submission};
use ipc_proto::stream::StreamFrame;

use super::harness::{Gateway, Worker, context, edited, text};
use crate::whole;

/// Concurrent requests; more than `--max-sequences`.
const AT_ONCE: usize = 24;

/// Reproducible pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn request(id: u64, dice: &mut Dice) -> Submission {
    // Prompts of one family share a prefix.
    let family = dice.below(6);
    let words = 1 + dice.below(90);
    let prompt: Vec<String> = (0..words).map(|at| format!("word{}", (at * 7 + family * 13) % 97)).collect();
    let priority = [Priority::High, Priority::Normal, Priority::Low][dice.below(3) as usize];
    let temperature = [0.0, 0.9][dice.below(2) as usize];
    let sampling = Sampling { temperature: Some(temperature), seed: Some(id), ..Sampling::default() };
    let constraint = (dice.below(12) == 0).then(|| Constraint::Regex("[a-z ]{1,30}".into()));
    let stop = if dice.below(5) == 0 { vec!["e".into()] } else { Vec::new() };
    let max_tokens = 1 + dice.below(24) as u32;
    edited(text(id, &prompt.join(" "), max_tokens), |submission| {
        submission.generation.priority = priority;
        submission.generation.sampling = sampling;
        submission.generation.constraint = constraint;
        submission.generation.stop = stop;
    })
}

/// Counts of running and ended requests. The map's value marks requests to be cancelled.
#[derive(Default)]
struct Load {
    running: HashMap<ChoiceId, bool>,
    finished: usize,
    cancelled: usize,
}

impl Load {
    async fn receive_frame(&mut self, gateway: &mut Gateway) {
        let StreamFrame::Step(frame) = gateway.frame().await else { panic!("welcomed twice") };
        for (id, event) in frame.events {
            match event {
                Event::Failed(error) => panic!("request {id:?} failed: {error}"),
                Event::Finished { .. } => {
                    let known = self.running.remove(&id).is_some();
                    self.finished += usize::from(known);
                }
                Event::Delta(_) | Event::Prompt { .. } | Event::Progress(_) => {
                    // Cancel a marked request at its first event.
                    if self.running.get(&id) == Some(&true) {
                        gateway.control.cancel(context(), gateway.stream, id).await.unwrap();
                        self.running.remove(&id);
                        self.cancelled += 1;
                    }
                }
            }
        }
    }
}

/// The mean of `samples` from `from` eighths to `to` eighths.
fn mean(samples: &[f64], from: usize, to: usize) -> f64 {
    let part = &samples[samples.len() * from / 8..samples.len() * to / 8];
    part.iter().sum::<f64>() / part.len() as f64
}

#[tokio::test]
async fn mixed_load_leaks_neither_blocks_nor_memory() {
    let requests = std::env::var("MLXD_SOAK_REQUESTS").ok();
    let count: u64 = requests.map_or(160, |count| count.parse().expect("MLXD_SOAK_REQUESTS is a number"));
    let worker: Worker = whole(&["--kv-mib", "64", "--max-sequences", "16", "--draft-tokens", "3"]);
    let mut gateway = worker.gateway(1).await;
    let (mut dice, mut load, mut resident) = (Dice(1), Load::default(), Vec::new());
    for id in 0..count {
        let request = request(id, &mut dice);
        load.running.insert(request.choices[0].id, dice.below(6) == 0);
        gateway.submit(request).await.unwrap();
        while load.running.len() >= AT_ONCE {
            load.receive_frame(&mut gateway).await;
        }
        resident.push(worker.resident_mib());
    }
    while !load.running.is_empty() {
        load.receive_frame(&mut gateway).await;
    }
    let health = gateway.until(|health| health.running == 0 && health.waiting == 0).await;
    assert_eq!(health.kv_blocks_used, 0);
    assert_eq!(load.finished + load.cancelled, count as usize);
    assert!(load.cancelled > 0 && health.prefix.hits > 0 && health.prefix.evictions > 0, "{health:?}");
    let (before, after) = (mean(&resident, 4, 5), mean(&resident, 7, 8));
    println!(
        "{count} requests, {} cancelled, {} steps; resident {before:.0} MiB in the middle, {after:.0} at the end",
        load.cancelled, health.steps
    );
    assert!(after <= before * 1.05, "resident memory went from {before:.0} to {after:.0} MiB");
}
