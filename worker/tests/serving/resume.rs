//! A generation resumed in another worker continues exactly as the undisturbed one, wherever the cut is.

use ipc_proto::generate::{ChoiceId, Constraint, FinishReason, Logprobs, Sampling, Submission};
use ipc_proto::{ErrorKind, Field, Origin};

use super::harness::{Answer, Gateway, chat, edited, text};
use crate::{finished, real, whole};

/// Number of concurrent resumed requests.
const CONCURRENT: usize = 8;

async fn run_alone(gateway: &mut Gateway, request: &Submission) -> Answer {
    gateway.submit(request.clone()).await.unwrap();
    gateway.answers(1).await.remove(0)
}

/// Runs `request`, then resumes it after each of its tokens; returns the undisturbed answer.
async fn resume_at_every_token(gateway: &mut Gateway, request: Submission) -> Answer {
    let whole = run_alone(gateway, &request).await;
    let cuts: Vec<Vec<u32>> = (0..=whole.tokens.len()).map(|cut| whole.tokens[..cut].to_vec()).collect();
    for cuts in cuts.chunks(CONCURRENT) {
        for (id, generated) in (0..).zip(cuts) {
            let id = ChoiceId(id);
            gateway
                .submit(edited(request.clone(), |submission| {
                    submission.choices[0].id = id;
                    submission.choices[0].generated = generated.clone();
                }))
                .await
                .unwrap();
        }
        for (answer, generated) in gateway.answers_after(cuts).await.iter().zip(cuts) {
            assert_continues(&whole, answer, generated.len());
        }
    }
    whole
}

/// Asserts that `resumed` equals `whole` after its first `cut` tokens.
fn assert_continues(whole: &Answer, resumed: &Answer, cut: usize) {
    let sent = whole.indices.iter().filter(|index| **index < cut as u32).count();
    assert_eq!(resumed.text, whole.pieces[sent..].concat(), "after {cut} tokens of {:?}", whole.text);
    assert_eq!(resumed.tokens, whole.tokens, "after {cut} tokens");
    let ((reason, usage), (there, then)) = (finished(resumed), finished(whole));
    assert_eq!((reason, usage.completion_tokens), (there, then.completion_tokens), "after {cut} tokens");
    assert_eq!(usage.prompt_tokens, then.prompt_tokens);
    assert!(usage.cached_tokens <= usage.prompt_tokens);
    // If the cut splits a delta, the log probabilities before the cut are lost.
    if whole.indices.contains(&(cut as u32).wrapping_sub(1)) {
        let rest = &whole.logprobs[whole.logprobs.len() - resumed.logprobs.len()..];
        assert_eq!(resumed.logprobs.len(), whole.logprobs.len().saturating_sub(cut));
        for (here, there) in resumed.logprobs.iter().zip(rest) {
            assert_eq!(here.token.bytes, there.token.bytes);
            assert!((here.token.logprob.unwrap() - there.token.logprob.unwrap()).abs() < 1e-3);
        }
    }
}

#[tokio::test]
async fn resumed_text_equals_the_undisturbed_one() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    let hot = Sampling { temperature: Some(1.0), top_p: Some(0.95), seed: Some(11), ..Sampling::default() };
    let penalised = Sampling {
        repetition_penalty: Some(1.2),
        presence_penalty: Some(0.5),
        frequency_penalty: Some(0.5),
        ..hot.clone()
    };
    let greedy = text(0, "Once upon a time, in a small village by the sea, there lived", 16);
    resume_at_every_token(&mut gateway, greedy.clone()).await;
    resume_at_every_token(
        &mut gateway,
        edited(greedy.clone(), |submission| submission.generation.sampling = hot),
    )
    .await;
    resume_at_every_token(
        &mut gateway,
        edited(greedy.clone(), |submission| submission.generation.sampling = penalised),
    )
    .await;
    let logprobs = Some(Logprobs { top: 2, prompt: false });
    let scored = resume_at_every_token(
        &mut gateway,
        edited(greedy, |submission| submission.generation.logprobs = logprobs),
    )
    .await;
    assert_eq!(scored.logprobs.len(), 16);
    // Characters of several tokens: some cuts are inside a character.
    let constraint = Some(Constraint::Regex("[𓀀-𓁿]{4}".into()));
    let halves = resume_at_every_token(
        &mut gateway,
        edited(text(0, "𓀀𓁀", 18), |submission| submission.generation.constraint = constraint),
    )
    .await;
    assert!(halves.indices.len() < halves.tokens.len(), "{halves:?}");
}

#[tokio::test]
async fn stop_conditions_apply_to_resumed_outputs() {
    let worker = whole(&[]);
    let mut gateway = worker.gateway(1).await;
    let story = text(0, "Once upon a time, in a small village by the sea, there lived", 24);
    let whole = run_alone(&mut gateway, &story).await.text;
    let middle = whole.char_indices().nth(40).unwrap().0;
    let stop = whole[middle..middle + 7].to_owned();
    let stopped = resume_at_every_token(
        &mut gateway,
        edited(story.clone(), |submission| submission.generation.stop = vec![stop]),
    )
    .await;
    assert_eq!((finished(&stopped).0, stopped.text.as_str()), (FinishReason::StopText(0), &whole[..middle]));
    let question = chat(0, "Answer with one word: what is the capital of France?", 60);
    let answered = resume_at_every_token(&mut gateway, question.clone()).await;
    assert_eq!(finished(&answered).0, FinishReason::Stop);
    let longer = edited(question, |submission| {
        submission.generation.min_tokens = 12;
        submission.generation.max_tokens = Some(20);
    });
    resume_at_every_token(&mut gateway, longer).await;
    let schema = r#"{"type":"object","properties":{"city":{"type":"string","maxLength":12}},"required":["city"],
        "additionalProperties":false}"#;
    let json = Some(Constraint::JsonSchema(schema.into()));
    let described =
        edited(chat(0, "Describe Paris.", 60), |submission| submission.generation.constraint = json.clone());
    let whole = resume_at_every_token(&mut gateway, described.clone()).await;
    assert!(serde_json::from_str::<serde_json::Value>(&whole.text).is_ok(), "{}", whole.text);
    // Tokens that violate the grammar cannot have been generated under it.
    let strange = edited(described, |submission| submission.choices[0].generated = vec![28, 28]);
    let error = gateway.submit(strange).await.unwrap_err();
    assert_eq!((error.kind, error.origin), (ErrorKind::Internal, Origin::Worker), "{error}");
}

#[tokio::test]
async fn resuming_a_finished_output_computes_nothing() {
    let worker = real(&[]);
    let mut gateway = worker.gateway(1).await;
    let request = text(0, "2, 4, 6, 8,", 6);
    let whole = run_alone(&mut gateway, &request).await;
    let steps = gateway.until(|health| health.running == 0).await.steps;
    // A token past the limit adds nothing.
    let generated = [&whole.tokens[..], &[28]].concat();
    gateway
        .submit(edited(request.clone(), |submission| submission.choices[0].generated = generated.clone()))
        .await
        .unwrap();
    let over = gateway.answers_after(&[generated]).await.remove(0);
    assert_eq!((over.text.as_str(), finished(&over)), ("", finished(&whole)));
    assert_eq!(gateway.until(|health| health.waiting == 0).await.steps, steps, "nothing was computed");
    for wrong in [
        edited(request.clone(), |submission| submission.choices[0].generated = vec![u32::MAX]),
        edited(request, |submission| submission.choices[0].generated = vec![28; 9000]),
    ] {
        let error = gateway.submit(wrong).await.unwrap_err();
        assert_eq!(error.field, Some(Field::Generated), "{error}");
    }
}
