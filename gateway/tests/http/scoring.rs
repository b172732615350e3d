//! The fake worker's scores of given tokens.

use ipc_proto::generate::{
    Alternative, ChoiceId, Event, FinishReason, Generation, Prompt, TokenLogprob, Usage,
};

/// The events of a generation that only scores its prompt; `None` if it does more. The log probability of each token is its id,
/// which is a byte, divided by -100.
pub(crate) fn events(id: ChoiceId, generation: &Generation) -> Option<Vec<(ChoiceId, Event)>> {
    let Prompt::Tokens(prompt) = &generation.prompt else { return None };
    assert_eq!(generation.max_tokens, Some(0));
    let score = |token: &u32| {
        let token = Alternative { bytes: vec![*token as u8], logprob: Some(*token as f32 / -100.0) };
        TokenLogprob { token, top: Vec::new() }
    };
    let tokens = prompt[generation.scored_from as usize..].iter().map(score).collect();
    let usage = Usage { prompt_tokens: prompt.len() as u32, cached_tokens: 2, ..Usage::default() };
    let end = Event::Finished { reason: FinishReason::Length, usage };
    Some(vec![(id, Event::Prompt { tokens }), (id, end)])
}
