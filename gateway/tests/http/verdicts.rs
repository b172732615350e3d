//! The fake worker as a judge: the sentence of a route controls what it says, the first word of a text its vector.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipc_proto::embed::Input;
use ipc_proto::generate::{
    ChoiceId, Constraint, Delta, Event, FinishReason, Generation, Part, Prompt, Usage,
};
use ipc_proto::{Error, ErrorKind, Origin};

/// What the worker was asked.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    /// The questions about sentences, each as the model gets it.
    pub(crate) sentences: Arc<Mutex<Vec<String>>>,
    /// The number of texts of each call for vectors.
    pub(crate) embedded: Arc<Mutex<Vec<usize>>>,
    /// The time limits of generations, in order.
    pub(crate) limits: Arc<Mutex<Vec<Option<u32>>>>,
}

/// The script of a question about a sentence; `None` for another generation.
pub(crate) fn script(generation: &Generation, asked: &Asked) -> Option<String> {
    asked.limits.lock().unwrap().push(generation.time_limit_ms);
    let Some(Constraint::Regex(_)) = &generation.constraint else { return None };
    let Prompt::Chat(chat) = &generation.prompt else { return None };
    let question = chat.messages.last().unwrap().content.text().into_owned();
    let script = question.strip_prefix("Statement: ")?.lines().next()?.to_owned();
    assert_eq!(generation.sampling.temperature, Some(0.0));
    assert_eq!(chat.sanitize_control_tokens, Some(true));
    asked.sentences.lock().unwrap().push(question);
    Some(script)
}

/// The events of a verdict: `yes`, `no`, `silent`, `fail`, or `yes 300` after so many milliseconds.
pub(crate) async fn play(id: ChoiceId, script: &str) -> Vec<(ChoiceId, Event)> {
    let (verb, ms) = script.split_once(' ').unwrap_or((script, "0"));
    tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
    let text = |text: &str| {
        let parts = vec![Part::Text(text.to_owned())];
        Event::Delta(Delta { index: 0, tokens: vec![7], parts, logprobs: Vec::new() })
    };
    let usage = Usage { prompt_tokens: 3, completion_tokens: 1, ..Usage::default() };
    let end = Event::Finished { reason: FinishReason::Stop, usage };
    let events = match verb {
        "yes" => vec![text("Yes"), end],
        "no" => vec![text("no"), end],
        "silent" => vec![end],
        "fail" => {
            vec![Event::Failed(Error::new(ErrorKind::Internal, Origin::Worker, "the judge is on fire"))]
        }
        "never" => Vec::new(),
        other => panic!("no such verdict: {other}"),
    };
    events.into_iter().map(|event| (id, event)).collect()
}

/// The vector of a text that begins with `at` and an angle in degrees.
pub(crate) fn vector(input: &Input) -> Option<Vec<f32>> {
    let Input::Text(text) = input else { return None };
    let degrees: f32 = text.strip_prefix("at ")?.split(' ').next()?.parse().ok()?;
    Some(vec![2.0 * degrees.to_radians().cos(), 2.0 * degrees.to_radians().sin()])
}
