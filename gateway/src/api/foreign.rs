//! Settings of other servers (llama.cpp, vLLM, mlx-lm, text-generation-webui) and of other endpoints, that clients send along:
//! looked at only to refuse by name what would change the answer and is not done.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Fields of any form, and a list of those that are there.
macro_rules! fields {
    ($(#[$about:meta])* $name:ident: $($field:ident)*) => {
        $(#[$about])*
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[expect(missing_docs, reason = "the names are theirs, and so is their meaning")]
        pub struct $name {
            $(pub $field: Option<Value>,)*
        }

        impl $name {
            /// Name and value of each that is there and not null.
            pub fn given(&self) -> impl Iterator<Item = (&'static str, &Value)> {
                [$((stringify!($field), &self.$field),)*].into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
            }
        }
    };
}

fields! {
    /// What no endpoint does. Settings that do nothing without one of these (`mirostat_tau`, `dry_base`, `xtc_threshold`, …) are
    /// not among them.
    Foreign:
    // How tokens are chosen.
    mirostat mirostat_mode dry_multiplier xtc_probability typical_p typical tfs_z tfs top_a top_n_sigma dynatemp_range
    dynamic_temperature smoothing_factor epsilon_cutoff eta_cutoff penalty_alpha no_repeat_ngram_size
    encoder_repetition_penalty adaptive_target samplers logits_processors use_beam_search length_penalty early_stopping
    // Over how many tokens a penalty looks back.
    repeat_last_n repetition_context_size repetition_penalty_range
    // What may come, and how much of it.
    grammar bad_words allowed_token_ids n_predict t_max_predict_ms
    // What the prompt is, and which weights read it.
    chat_template prompt_embeds truncate_prompt_tokens lora adapters
    // What is told.
    prompt_logprobs n_probs skip_special_tokens spaces_between_special_tokens include_stop_str_in_output return_token_ids
    return_tokens_as_token_ids
}

fields! {
    /// What chat completions take and Responses do not.
    BesideResponses:
    messages n logit_bias logprobs max_tokens max_completion_tokens min_tokens ignore_eos stop_token_ids reasoning_effort
    thinking_budget response_format json_schema guided_json guided_regex guided_choice guided_grammar structured_outputs
    functions function_call continue_final_message documents
}

fields! {
    /// What chat completions take and Messages do not.
    BesideMessages:
    n logit_bias logprobs top_logprobs max_completion_tokens min_tokens ignore_eos stop stop_token_ids reasoning_effort
    thinking_budget response_format json_schema guided_json guided_regex guided_choice guided_grammar structured_outputs
    functions function_call continue_final_message documents
}
