//! The cost of a step besides the model: `cargo bench -p worker`. The `engine` part needs `cargo xtask models smollm2`.
//!
//! `schedule`: the scheduler alone; schedules and commits one step of decoding rows. `engine`: the whole step with the null
//! runner: schedule, detokenise, match stop texts, build frames. Both at 32 and at 512 rows.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a benchmark")]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ipc_proto::generate::{ChoiceId, Priority};
use ipc_proto::stream::StreamId;
use ipc_proto::worker::ModelKind;
use worker::engine::Engine;
use worker::engine::admission_limits::AdmissionLimits;
use worker::engine::arrivals::Arrivals;
use worker::engine::command::{Admitted, Command, EngineRequest};
use worker::engine::counters::Counters;
use worker::engine::images::PromptImages;
use worker::engine::penalties::Penalties;
use worker::engine::runner::{Batch, RowSampling, RunnerCapacity};
use worker::engine::scheduler::{Drafts, Scheduler, StepLimits};
use worker::engine::sequence::{SamplingParams, SequenceId, SequenceParams};
use worker::engine::{frames, output};
use worker::test_doubles::null::NullRunner;
use worker::text::output_parser::OutputFormat;
use worker::text::tokenizer::Tokenizer;

const ROWS: [usize; 2] = [32, 512];
const PROMPT: usize = 500;
/// Most steps of one measurement; they fit in the context.
const STEPS: usize = 1000;

/// A request whose prompt shares no prefix with other seeds.
fn params(seed: usize) -> SequenceParams {
    let row = RowSampling::GREEDY;
    let penalties = Penalties::default();
    SequenceParams {
        prompt: (0..PROMPT).map(|at| (at * 31 + seed * 7919) as u32 % 40_000).collect(),
        images: PromptImages::default(),
        generated: Vec::new(),
        sampling: SamplingParams { row, seed: 0, penalties, min_tokens: 0, ends: Arc::new([]) },
        priority: Priority::Normal,
        tenant: 0,
        cache_scope: String::new(),
        logprobs: None,
        scored_from: 0,
        masked: false,
    }
}

fn limits(rows: usize) -> StepLimits {
    StepLimits { max_sequences: rows, prefill_tokens: 1 << 20, drafts: Drafts::None }
}

/// Schedules and commits `steps` steps of `rows` rows; returns the time.
fn schedule(rows: usize, steps: usize) -> Duration {
    let blocks = (rows * (PROMPT + STEPS).div_ceil(32) + rows) as u32;
    let capacity = RunnerCapacity {
        block_size: 32,
        blocks,
        max_context: 1 << 20,
        weight_bytes: 0,
        window: None,
        original_context: None,
        blocks_per_state: None,
        whole_images: None,
    };
    let mut scheduler = Scheduler::new(limits(rows), capacity);
    for row in 0..rows {
        scheduler.add(SequenceId(row as u64), params(row));
    }
    let (mut batch, tokens) = (Batch::default(), vec![17; rows]);
    let mut step = || {
        scheduler.schedule(&mut batch, 1 << 20);
        assert_eq!(batch.rows.len(), rows);
        scheduler.commit(&batch, &tokens, |_| false);
    };
    step();
    let start = Instant::now();
    (0..steps).for_each(|_| step());
    start.elapsed()
}

/// Runs `rows` requests of `tokens` tokens through an engine; returns the time of all steps, including the first.
fn engine(tokenizer: &Arc<Tokenizer>, rows: usize, tokens: usize) -> Duration {
    let (commands, queue) = channel();
    let (sender, receiver) = frames::queue();
    let stream = StreamId(1);
    let (arrivals, admission_limits) = (Arrivals::default(), AdmissionLimits::new(rows, 0));
    let send = |command| commands.send(command).expect("the receiver exists");
    send(Command::Open(stream, sender));
    for row in 0..rows {
        let id = ChoiceId(row as u64);
        let none = || Arc::new(HashSet::new());
        let (eos, markers, output_format) = (none(), none(), OutputFormat::default());
        let limits = output::OutputLimits {
            max_tokens: tokens as u32,
            stop: vec!["</s>".into()],
            eos,
            output_format,
            markers,
        };
        let arrival = arrivals.enter(stream, id).expect("ids differ");
        let permit =
            admission_limits.acquire(ModelKind::Generate, 1, 0).expect("there is one per row").swap_remove(0);
        let request = EngineRequest {
            stream,
            id,
            params: params(row),
            limits,
            constraint: None,
            budget: None,
            report_progress: false,
            deadline: None,
            span: tracing::Span::none(),
        };
        send(Command::Submit(Box::new(Admitted { request, arrival, permit })));
    }
    send(Command::Drain);
    let words = tokenizer.encode(" one two three four", false).expect("plain words");
    let runner = NullRunner::new(1 << 20, words).expect("words");
    let engine = Engine::new(runner, limits(rows), Arc::clone(tokenizer), Arc::new(Counters::default()));
    let start = Instant::now();
    engine.run(&queue);
    let elapsed = start.elapsed();
    drop(receiver);
    elapsed
}

/// The time of `count` steps, measured in runs of at most [`STEPS`].
fn in_chunks(count: u64, run: impl Fn(usize) -> Duration) -> Duration {
    let count = count as usize;
    (0..count).step_by(STEPS).map(|done| run((count - done).min(STEPS))).sum()
}

/// The time of `count` steps without the first, which prefills all prompts.
fn later_steps(count: u64, run: impl Fn(usize) -> Duration) -> Duration {
    const MANY: usize = 256;
    run(1 + MANY).saturating_sub(run(1)).mul_f64(count as f64 / MANY as f64)
}

fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for rows in ROWS {
        group.bench_function(format!("schedule, {rows} rows"), |bencher| {
            bencher.iter_custom(|count| in_chunks(count, |steps| schedule(rows, steps)));
        });
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.mlx/models/SmolLM2-135M-Instruct");
    match Tokenizer::read(&folder).map(Arc::new) {
        Ok(tokenizer) => {
            for rows in ROWS {
                group.bench_function(format!("engine, {rows} rows"), |bencher| {
                    bencher.iter_custom(|count| later_steps(count, |steps| engine(&tokenizer, rows, steps)));
                });
            }
        }
        Err(problem) => eprintln!("skipping the engine part: {problem}"),
    }
    group.finish();
}

criterion_group!(benches, measure);
criterion_main!(benches);
