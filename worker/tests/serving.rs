//! The worker as a process, over its real socket: with the null runner, which does not compute, or a real model.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::time::{Duration, Instant};

use ipc_proto::generate::{ChoiceId, Constraint, Event, FinishReason, Sampling, Usage};
use ipc_proto::{ErrorKind, Field, Origin};

#[path = "common/made.rs"]
mod made;
#[path = "common/models.rs"]
mod models;
mod serving {
    mod capacity;
    mod choices;
    mod continued;
    pub(crate) mod harness;
    mod independence;
    mod logprobs;
    mod resume;
    mod soak;
    mod toys;
}

use models::model;
use serving::harness::{Answer, Worker, chat, context, edited, text};

/// SmolLM2, for tests that rely on its size or on what it says.
const SMOL: &str = "SmolLM2-135M-Instruct";
/// Its first four layers, for tests that compare texts with each other.
const SHALLOW: &str = "SmolLM2-4-layers";

fn null(arguments: &[&str]) -> Worker {
    Worker::start(&model(SHALLOW), true, arguments)
}

/// Its steps are slow enough to act while a request runs.
fn real(arguments: &[&str]) -> Worker {
    Worker::start(&model(SHALLOW), false, arguments)
}

/// All of SmolLM2.
fn whole(arguments: &[&str]) -> Worker {
    Worker::start(&model(SMOL), false, arguments)
}

fn finished(answer: &Answer) -> (FinishReason, Usage) {
    match answer.end {
        Some(Event::Finished { reason, usage }) => (reason, usage),
        ref other => panic!("it ended by {other:?}"),
    }
}

#[tokio::test]
async fn request_is_streamed_and_counted() {
    let worker = null(&[]);
    let mut gateway = worker.gateway(1).await;
    assert_eq!(gateway.info.architecture, "llama");
    assert_eq!(gateway.info.max_context, 8192);
    assert!(gateway.info.has_chat_template);
    let accepted = gateway.submit(chat(0, "Hello!", 12)).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    let (reason, usage) = finished(&answer);
    assert_eq!(reason, FinishReason::Length);
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (accepted.prompt_tokens, 12));
    assert_eq!(answer.text.split_whitespace().count(), 12);
    assert!(answer.text.contains(" one two three four one"), "{}", answer.text);
    assert_eq!(answer.indices, (0..12).collect::<Vec<u32>>());
    let health = gateway.until(|health| health.running == 0).await;
    assert_eq!((health.waiting, health.kv_blocks_used), (0, 0));
    assert!(health.steps >= 12);
}

#[tokio::test]
async fn stop_text_across_tokens_ends_the_request() {
    let worker = null(&[]);
    let mut gateway = worker.gateway(1).await;
    let request = edited(text(0, "x", 100), |submission| {
        submission.generation.stop = vec!["hree fo".into(), "nowhere".into()]
    });
    gateway.submit(request).await.unwrap();
    let answer = gateway.answers(1).await.remove(0);
    let (reason, usage) = finished(&answer);
    assert_eq!(reason, FinishReason::StopText(0));
    assert!(answer.text.ends_with(" t") && !answer.text.contains("hree"), "{}", answer.text);
    assert!(usage.completion_tokens < 10);
}

#[tokio::test]
async fn eight_concurrent_requests_share_steps() {
    let worker = null(&[]);
    let mut gateway = worker.gateway(1).await;
    let before = gateway.until(|_| true).await.steps;
    for id in 0..8 {
        gateway.submit(text(id, "Count with me:", 6000)).await.unwrap();
    }
    let answers = gateway.answers(8).await;
    for answer in &answers {
        assert_eq!(answer.text, answers[0].text, "a row depends on the other rows");
        assert_eq!(finished(answer).1.completion_tokens, 6000);
    }
    let steps = gateway.until(|health| health.running == 0).await.steps - before;
    assert!(steps < 24_000, "{steps} steps: the requests did not run together");
}

#[tokio::test]
async fn requests_past_the_queue_limit_are_refused() {
    let worker = real(&["--max-sequences", "1", "--max-waiting", "2"]);
    let mut gateway = worker.gateway(1).await;
    let mut accepted = Vec::new();
    let mut refused = 0;
    // The first runs for a while, the rest wait behind it.
    for id in 0..6 {
        let tokens = if id == 0 { 20 } else { 3 };
        match gateway.submit(text(id, "x", tokens)).await {
            Ok(_) => {
                accepted.push(ChoiceId(id));
                gateway.until(|health| health.running == 1).await;
            }
            Err(error) => {
                assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Overloaded, true));
                refused += 1;
            }
        }
    }
    assert!(refused == 3 && accepted.len() == 3, "{accepted:?} accepted, {refused} refused");
    let answers = gateway.answers(accepted.len()).await;
    assert!(answers.iter().all(|answer| finished(answer).0 == FinishReason::Length));
}

#[tokio::test]
async fn cancelled_request_sends_no_final_event() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(text(1, "x", 8000)).await.unwrap();
    gateway.submit(text(0, "x", 30)).await.unwrap();
    gateway.control.cancel(context(), gateway.stream, ChoiceId(1)).await.unwrap();
    gateway.control.cancel(context(), gateway.stream, ChoiceId(99)).await.unwrap();
    gateway.until(|health| health.running <= 1).await;
    // Deltas from before the cancellation may still arrive, but no final event of request 1.
    let mut answers = vec![Answer::default(); 2];
    while answers[0].end.is_none() {
        let ipc_proto::stream::StreamFrame::Step(frame) = gateway.frame().await else { panic!() };
        for (id, event) in frame.events {
            match event {
                Event::Delta(_) => {}
                end => answers[id.0 as usize].end = Some(end),
            }
        }
    }
    assert_eq!(answers[1].end, None);
    assert_eq!(gateway.until(|health| health.running == 0).await.kv_blocks_used, 0);
}

#[tokio::test]
async fn disconnected_gateway_frees_only_its_own_rows() {
    let worker = real(&[]);
    let mut stays = worker.gateway(1).await;
    let leaves = worker.gateway(2).await;
    for id in 0..4 {
        leaves.submit(text(id, "x", 8000)).await.unwrap();
    }
    stays.submit(text(0, "x", 30)).await.unwrap();
    drop(leaves);
    stays.until(|health| health.running <= 1 && health.waiting == 0).await;
    let answer = stays.answers(1).await.remove(0);
    assert_eq!(finished(&answer).1.completion_tokens, 30);
    assert_eq!(stays.until(|health| health.running == 0).await.kv_blocks_used, 0);
}

#[tokio::test]
async fn gateway_that_does_not_read_does_not_delay_others() {
    let worker = null(&[]);
    let mut reads = worker.gateway(1).await;
    let sleeps = worker.gateway(2).await;
    for id in 0..7 {
        sleeps.submit(text(id, "x", 8000)).await.unwrap();
    }
    reads.submit(text(0, "x", 8000)).await.unwrap();
    let answer = reads.answers(1).await.remove(0);
    assert_eq!(finished(&answer).1.completion_tokens, 8000);
    reads.until(|health| health.running == 0).await;
    drop(sleeps);
}

#[tokio::test]
async fn invalid_requests_are_refused_by_field() {
    let worker = null(&[]);
    let gateway = worker.gateway(1).await;
    let long = "word ".repeat(9000);
    let error = gateway.submit(text(0, &long, 5)).await.unwrap_err();
    assert_eq!((error.kind, error.origin), (ErrorKind::ContextLength, Origin::Client));
    assert!(error.message.contains("900") && error.message.contains("8192"), "{error}");
    for (request, field) in [
        (text(0, "", 5), Field::Prompt),
        (
            edited(text(0, "x", 5), |submission| submission.generation.stop_tokens = vec![u32::MAX]),
            Field::StopTokens,
        ),
        (
            edited(text(0, "x", 5), |submission| {
                submission.generation.sampling.logit_bias = vec![(u32::MAX, 1.0)]
            }),
            Field::LogitBias,
        ),
    ] {
        let error = gateway.submit(request).await.unwrap_err();
        assert_eq!((error.kind, &error.field), (ErrorKind::InvalidRequest, &Some(field)), "{error}");
    }
    let strange = ipc_proto::stream::StreamId(77);
    let error =
        gateway.control.submit(context(), strange, Box::new(text(0, "x", 5))).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(gateway.until(|_| true).await.waiting, 0);
}

#[tokio::test]
async fn request_without_max_tokens_ends_at_the_context_limit() {
    let worker = null(&[]);
    let mut gateway = worker.gateway(1).await;
    let request =
        edited(text(0, &"word ".repeat(8100), 1), |submission| submission.generation.max_tokens = None);
    let accepted = gateway.submit(request).await.unwrap();
    let (reason, usage) = finished(&gateway.answers(1).await[0]);
    assert_eq!(reason, FinishReason::Length);
    assert_eq!(usage.completion_tokens + accepted.prompt_tokens, 8192);
}

#[tokio::test]
async fn sigterm_drains_requests_and_removes_the_socket() {
    let mut worker = real(&["--drain-seconds", "60"]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(text(0, "x", 200)).await.unwrap();
    gateway.until(|health| health.running == 1).await;
    worker.terminate();
    assert_eq!(finished(&gateway.answers(1).await[0]).1.completion_tokens, 200);
    assert!(worker.ended().await.success());
    assert!(!worker.listens());
}

#[tokio::test]
async fn sigterm_fails_requests_past_the_drain_time() {
    let mut worker = real(&["--drain-seconds", "0"]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(text(0, "Once upon a time", 8000)).await.unwrap();
    gateway.until(|health| health.running == 1).await;
    worker.terminate();
    match gateway.answers(1).await.remove(0).end {
        Some(Event::Failed(error)) => {
            assert_eq!((error.kind, error.is_retryable()), (ErrorKind::Unavailable, true));
        }
        other => panic!("it ended by {other:?}"),
    }
    assert!(worker.ended().await.success());
}

#[tokio::test]
async fn closed_lifeline_ends_the_worker_at_once() {
    let mut worker = real(&[]);
    worker.gateway(1).await.submit(text(0, "x", 8000)).await.unwrap();
    let start = Instant::now();
    worker.cut_lifeline();
    worker.ended().await;
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn broken_model_reports_its_error_until_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(model(SMOL).join(file), folder.path().join(file)).unwrap();
    }
    let mut worker = Worker::start(folder.path(), false, &[]);
    let control = worker.control().await;
    let error = control.wait_ready(context()).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::ModelBroken, false));
    assert!(error.message.contains("safetensors"), "{error}");
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(1));
}

#[tokio::test]
async fn real_model_answers_a_question() {
    let worker = whole(&[]);
    let mut gateway = worker.gateway(1).await;
    assert!(gateway.info.weight_bytes > 100 << 20);
    for id in 0..2 {
        gateway.submit(chat(id, "What is the capital of France?", 40)).await.unwrap();
    }
    let answers = gateway.answers(2).await;
    assert!(answers[0].text.contains("Paris"), "{}", answers[0].text);
    assert_eq!(answers[0].text, answers[1].text);
    let (reason, usage) = finished(&answers[0]);
    assert_eq!(reason, FinishReason::Stop);
    assert!(usage.completion_tokens > 2 && usage.prompt_tokens > 30);
}

/// The prefix cache serves later requests and concurrent ones.
#[tokio::test]
async fn common_prefix_is_computed_once_and_leaves_answers_unchanged() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    let prompt =
        "The harbour lay quiet under a thin moon, and the boats moved against their ropes. ".repeat(10);
    gateway.submit(text(0, &prompt, 12)).await.unwrap();
    let first = gateway.answers(1).await.remove(0);
    let (_, usage) = finished(&first);
    assert_eq!(usage.cached_tokens, 0);
    let steps = gateway.until(|health| health.running == 0).await.steps;
    for id in 0..4 {
        gateway.submit(text(id, &prompt, 12)).await.unwrap();
    }
    for answer in gateway.answers(4).await {
        assert_eq!(answer.text, first.text);
        let (_, usage) = finished(&answer);
        // All full blocks except the one with the last token.
        assert_eq!(usage.cached_tokens, (usage.prompt_tokens - 1) / 32 * 32);
    }
    let later = gateway.until(|health| health.running == 0).await;
    assert!(later.steps - steps < 4 * 12, "the requests did not run together");
    assert_eq!(later.kv_blocks_used, 0);
    // A new prefix in concurrent requests: one computes it, the others reuse it.
    for id in 0..4 {
        gateway.submit(text(id, &prompt[10..], 6)).await.unwrap();
    }
    let answers = gateway.answers(4).await;
    let mut cached: Vec<u32> = answers.iter().map(|answer| finished(answer).1.cached_tokens).collect();
    cached.sort_unstable();
    assert!(cached[0] == 0 && cached[1] > 100 && cached[1] == cached[3], "{cached:?}");
    assert!(answers.iter().all(|answer| answer.text == answers[0].text));
}

/// Thousands of tokens are likely here, and rounding differs between a batch and a single row.
#[tokio::test]
async fn seed_gives_the_same_text_alone_and_in_a_batch() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    let prompts = ["Once upon a time", "The capital of France is", "def fib(n):", "Physics is the study of"];
    let all = (0..8u64).map(|id| {
        let sampling = Sampling {
            temperature: Some(1.5),
            top_p: (id % 2 == 1).then_some(0.95),
            seed: Some(id),
            ..Sampling::default()
        };
        edited(text(id, prompts[id as usize % 4], 60), |submission| {
            submission.generation.sampling = sampling;
            submission.generation.ignore_eos = true;
        })
    });
    let mut alone = Vec::new();
    for request in all.clone() {
        gateway.submit(edited(request, |submission| submission.choices[0].id = ChoiceId(0))).await.unwrap();
        alone.push(gateway.answers(1).await.remove(0).text);
    }
    for request in all {
        gateway.submit(request).await.unwrap();
    }
    let together: Vec<String> = gateway.answers(8).await.into_iter().map(|answer| answer.text).collect();
    assert_eq!(alone, together);
}

#[tokio::test]
async fn penalties_and_biases_affect_only_their_own_row() {
    let worker = whole(&[]);
    let mut gateway = worker.gateway(1).await;
    let with = |id: u64, sampling: Sampling| {
        let sampling = Sampling { temperature: Some(0.0), ..sampling };
        edited(text(id, "2, 4, 6, 8,", 12), |submission| submission.generation.sampling = sampling)
    };
    gateway.submit(with(0, Sampling::default())).await.unwrap();
    let plain = gateway.answers(1).await.remove(0).text;
    assert!(plain.starts_with(" 10, 12"), "{plain}");
    let comma = 28; // ","
    let all = [
        Sampling::default(),
        Sampling { logit_bias: vec![(comma, -100.0)], ..Sampling::default() },
        Sampling { frequency_penalty: Some(2.0), presence_penalty: Some(2.0), ..Sampling::default() },
        Sampling { repetition_penalty: Some(5.0), ..Sampling::default() },
    ];
    for (id, sampling) in (0..).zip(all) {
        gateway.submit(with(id, sampling)).await.unwrap();
    }
    let answers = gateway.answers(4).await;
    assert_eq!(answers[0].text, plain);
    assert!(!answers[1].text.contains(','), "{}", answers[1].text);
    for penalised in &answers[2..] {
        assert!(penalised.text.matches(',').count() < plain.matches(',').count(), "{}", penalised.text);
    }
}

#[tokio::test]
async fn constrained_output_matches_beside_unconstrained_rows() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    let schema = r#"{"type":"object","properties":{"city":{"type":"string","maxLength":12},"size":{"enum":["small","big"]}},
        "required":["city","size"],"additionalProperties":false}"#;
    let hot = Sampling { temperature: Some(1.0), seed: Some(7), ..Sampling::default() };
    let constrained = edited(chat(0, "Describe Paris.", 200), |submission| {
        submission.generation.constraint = Some(Constraint::JsonSchema(schema.into()));
        submission.generation.sampling = hot;
    });
    let regex = edited(chat(1, "Is it?", 50), |submission| {
        submission.generation.constraint = Some(Constraint::Regex("(yes|no), [0-9]{3}".into()))
    });
    let free = text(2, "The capital of France is", 12);
    for request in [constrained, regex, free.clone()] {
        gateway.submit(request).await.unwrap();
    }
    let answers = gateway.answers(3).await;
    let json: serde_json::Value = serde_json::from_str(&answers[0].text).unwrap();
    assert!(json["city"].is_string() && ["small", "big"].contains(&json["size"].as_str().unwrap()), "{json}");
    assert_eq!(json.as_object().unwrap().len(), 2);
    assert_eq!(finished(&answers[0]).0, FinishReason::Stop);
    let (word, number) = answers[1].text.split_once(", ").unwrap();
    assert!(["yes", "no"].contains(&word) && number.len() == 3, "{}", answers[1].text);
    gateway.submit(edited(free, |submission| submission.choices[0].id = ChoiceId(0))).await.unwrap();
    assert_eq!(
        gateway.answers(1).await[0].text,
        answers[2].text,
        "an unconstrained row depends on constrained ones"
    );
    let broken = edited(text(1, "x", 5), |submission| {
        submission.generation.constraint = Some(Constraint::JsonSchema("{".into()))
    });
    assert_eq!(gateway.submit(broken).await.unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn min_tokens_and_ignore_eos_extend_an_output() {
    let worker = whole(&[]);
    let mut gateway = worker.gateway(1).await;
    let question = "Answer with one word: what is the capital of France?";
    let short = chat(0, question, 60);
    let longer = edited(chat(1, question, 60), |submission| submission.generation.min_tokens = 40);
    let endless = edited(chat(2, question, 60), |submission| submission.generation.ignore_eos = true);
    for request in [short, longer, endless] {
        gateway.submit(request).await.unwrap();
    }
    let answers = gateway.answers(3).await;
    let tokens = |at: usize| finished(&answers[at]).1.completion_tokens;
    assert!(tokens(0) < 40, "{} tokens", tokens(0));
    assert!(tokens(1) > 40 && tokens(2) == 60);
}

#[tokio::test]
async fn request_past_its_time_limit_fails_beside_others() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    let late = edited(text(0, "Once", 4000), |submission| submission.generation.time_limit_ms = Some(300));
    for request in [late, text(1, "Once", 20)] {
        gateway.submit(request).await.unwrap();
    }
    let answers = gateway.answers(2).await;
    let Some(Event::Failed(error)) = &answers[0].end else { panic!("{:?}", answers[0].end) };
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert_eq!(finished(&answers[1]).1.completion_tokens, 20);
    assert!(gateway.until(|health| health.running == 0).await.kv_blocks_used == 0);
}

#[tokio::test]
async fn prompt_lookup_leaves_texts_unchanged_and_saves_steps() {
    let prompt =
        "one two three four five six seven eight one two three four five six seven eight one two three four";
    let mut texts = Vec::new();
    let mut steps = Vec::new();
    for arguments in [&[][..], &["--draft-tokens", "4"]] {
        let worker = real(arguments);
        let mut gateway = worker.gateway(1).await;
        // Sequentially: the number of shared steps of two requests depends on when the second arrives.
        for temperature in [0.0, 0.7] {
            let sampling = Sampling { temperature: Some(temperature), seed: Some(3), ..Sampling::default() };
            gateway
                .submit(edited(text(0, prompt, 40), |submission| submission.generation.sampling = sampling))
                .await
                .unwrap();
            texts.push(gateway.answers(1).await.remove(0).text);
            steps.push(gateway.until(|health| health.running == 0).await.steps);
        }
    }
    assert_eq!(texts[..2], texts[2..]);
    let [alone, _, drafted, _] = steps[..] else { panic!("{steps:?}") };
    assert_eq!(alone, 40);
    assert!(drafted <= 20, "{steps:?} steps: the text repeats itself, so most drafts are accepted");
}

#[tokio::test]
async fn draft_model_leaves_texts_unchanged_and_saves_steps() {
    let folder = model(SHALLOW);
    let draft = ["--draft-model", folder.to_str().unwrap()];
    let prompts = ["The capital of France is", "Once upon a time there was a little", "2, 4, 6, 8,"];
    let mut texts = Vec::new();
    let mut steps = Vec::new();
    // The same model as its own draft model: most drafts are accepted.
    for arguments in [&[][..], &draft] {
        let worker = real(arguments);
        let mut gateway = worker.gateway(1).await;
        for temperature in [0.0, 0.8] {
            for (id, prompt) in (0..).zip(prompts) {
                let sampling =
                    Sampling { temperature: Some(temperature), seed: Some(id), ..Sampling::default() };
                gateway
                    .submit(edited(text(id, prompt, 30), |submission| {
                        submission.generation.sampling = sampling
                    }))
                    .await
                    .unwrap();
            }
            texts.extend(gateway.answers(3).await.into_iter().map(|answer| answer.text));
            steps.push(gateway.until(|health| health.running == 0).await.steps);
        }
    }
    assert_eq!(texts[..6], texts[6..]);
    let [alone, _, drafted, _] = steps[..] else { panic!("{steps:?}") };
    assert!(drafted * 2 < alone, "{steps:?} steps: most drafts are accepted");
}

#[tokio::test]
async fn cache_scopes_share_no_blocks_and_hits_are_counted() {
    let worker = null(&[]);
    let mut gateway = worker.gateway(1).await;
    let long = "word ".repeat(100);
    let mut cached = Vec::new();
    for scope in ["", "a", "a", "b", ""] {
        let request = edited(text(0, &long, 2), |submission| submission.cache_scope = scope.into());
        gateway.submit(request).await.unwrap();
        cached.push(finished(&gateway.answers(1).await[0]).1.cached_tokens);
    }
    assert_eq!(cached, [0, 0, 96, 0, 96]);
    let prefix = gateway.until(|health| health.running == 0).await.prefix;
    assert_eq!((prefix.hits, prefix.misses, prefix.evictions), (6, 9, 0));
}

#[tokio::test]
async fn health_reports_memory() {
    let worker = whole(&[]);
    let mut gateway = worker.gateway(1).await;
    gateway.submit(text(0, "x", 40)).await.unwrap();
    gateway.answers(1).await;
    let memory = gateway.until(|health| health.running == 0).await.memory;
    assert!(
        memory.weights > 500 << 20 && memory.active >= memory.weights + memory.kv_allocated,
        "{memory:?}"
    );
    assert!(memory.peak >= memory.active && memory.kv_limit >= memory.kv_allocated, "{memory:?}");
    assert!(memory.kv_allocated > 0 && memory.kv_used == 0 && memory.cached <= 300 << 20, "{memory:?}");
}

#[tokio::test]
async fn kv_pool_is_resized_under_running_requests() {
    let worker = whole(&["--kv-mib", "512"]);
    let mut gateway = worker.gateway(1).await;
    let progress = gateway.control.progress(context()).await.unwrap();
    assert!(progress.loaded == progress.total && progress.total > 100 << 20, "{progress:?}");
    let question = |id| text(id, "Once upon a time, in a small village by the sea", 60);
    gateway.submit(question(0)).await.unwrap();
    let alone = gateway.answers(1).await.remove(0);
    // A long text, so that the pool grows and the prefix cache keeps many blocks.
    gateway.submit(text(0, &"one two three four ".repeat(500), 2)).await.unwrap();
    gateway.answers(1).await;
    let grown = gateway.control.health(context()).await.unwrap().memory;
    let trimmed = gateway.control.trim(context()).await.unwrap().unwrap();
    assert!(trimmed.kv_allocated < grown.kv_allocated && trimmed.cached == 0, "{trimmed:?}, {grown:?}");
    for id in 0..4 {
        gateway.submit(question(id)).await.unwrap();
    }
    gateway.until(|health| health.running == 4).await;
    let smaller = gateway.control.resize_kv(context(), 0).await.unwrap().unwrap();
    let refused = gateway.submit(text(9, &"word ".repeat(2000), 1)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::ContextLength, "{refused}");
    assert!(smaller < 100 << 20, "{smaller}");
    for answer in gateway.answers(4).await {
        assert_eq!(answer.text, alone.text);
    }
    let larger = gateway.control.resize_kv(context(), u64::MAX).await.unwrap().unwrap();
    assert!(larger > 500 << 20, "{larger}");
    gateway.submit(text(0, &"word ".repeat(2000), 1)).await.unwrap();
    finished(&gateway.answers(1).await[0]);
}
