//! Settings of other servers that clients know, and that would change the answer: refused by name, unless they say what
//! happens anyway. Names that nobody knows are let through.

use serde_json::Value;

/// Those of chat and completions, with the values that are no wish: `(name, value, neutral)`.
macro_rules! foreign {
    ($request:expr) => {
        [
            ("grammar", &$request.grammar, vec![serde_json::json!("")]),
            ("bad_words", &$request.bad_words, vec![serde_json::json!([])]),
            ("allowed_token_ids", &$request.allowed_token_ids, vec![]),
            ("use_beam_search", &$request.use_beam_search, vec![serde_json::json!(false)]),
            ("truncate_prompt_tokens", &$request.truncate_prompt_tokens, vec![]),
            ("prompt_logprobs", &$request.prompt_logprobs, vec![]),
            ("skip_special_tokens", &$request.skip_special_tokens, vec![serde_json::json!(true)]),
            ("logits_processors", &$request.logits_processors, vec![serde_json::json!([])]),
        ]
    };
}
pub(super) use foreign;

/// Refuses what is wished for.
pub(super) fn refuse(all: &[(&str, &Option<Value>, Vec<Value>)]) -> ipc_proto::Result<()> {
    all.iter().try_for_each(|(name, value, neutral)| super::refuse(name, value, neutral))
}
