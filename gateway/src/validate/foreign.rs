//! Settings of other servers and other endpoints that clients know, and that would change the answer: refused by name, unless
//! they say what happens anyway. Names that nobody knows are let through.

use ipc_proto::generate::Sampling;
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::api::foreign::Foreign;

/// Refuses what is wished for. What a penalty looks back over is a wish only where `sampling` has one: it is the whole text.
pub(super) fn refuse(foreign: &Foreign, sampling: &Sampling) -> Result<()> {
    let penalised = penalised(sampling);
    match foreign.given().find(|(name, value)| !is_neutral(name, value, penalised)) {
        Some((name, _)) => Err(Error::invalid(name, format!("{name} is not supported by this server yet"))),
        None => Ok(()),
    }
}

/// Refuses fields that mean something in chat completions only.
pub(super) fn refuse_beside<'a>(given: impl Iterator<Item = (&'static str, &'a Value)>) -> Result<()> {
    match { given }.find(|(name, value)| !says_nothing(name, value)) {
        Some((name, _)) => {
            let text = format!("{name} is a field of chat completions and does nothing at this endpoint");
            Err(Error::invalid(name, text))
        }
        None => Ok(()),
    }
}

fn penalised(sampling: &Sampling) -> bool {
    let Sampling { repetition_penalty, presence_penalty, frequency_penalty, .. } = sampling;
    repetition_penalty.is_some_and(|penalty| penalty != 1.0)
        || [presence_penalty, frequency_penalty].iter().any(|penalty| penalty.is_some_and(|it| it != 0.0))
}

/// Whether this is how things are done without it.
fn is_neutral(name: &str, value: &Value, penalised: bool) -> bool {
    let number = |neutral: fn(f64) -> bool| value.as_f64().is_some_and(neutral);
    match name {
        "mirostat"
        | "mirostat_mode"
        | "dry_multiplier"
        | "xtc_probability"
        | "top_a"
        | "dynatemp_range"
        | "smoothing_factor"
        | "epsilon_cutoff"
        | "eta_cutoff"
        | "penalty_alpha"
        | "no_repeat_ngram_size"
        | "n_probs" => number(|x| x == 0.0),
        "typical_p" | "typical" | "tfs_z" | "tfs" | "length_penalty" | "encoder_repetition_penalty" => {
            number(|x| x == 1.0)
        }
        // Below 0 they are off, and so is this one at 0.
        "top_n_sigma" | "t_max_predict_ms" => number(|x| x <= 0.0),
        "adaptive_target" | "n_predict" => number(|x| x < 0.0),
        // All of it.
        "repeat_last_n" => !penalised || number(|x| x < 0.0),
        "repetition_penalty_range" => !penalised || number(|x| x == 0.0),
        "repetition_context_size" => !penalised,
        "dynamic_temperature"
        | "use_beam_search"
        | "early_stopping"
        | "include_stop_str_in_output"
        | "return_token_ids"
        | "return_tokens_as_token_ids" => *value == Value::Bool(false),
        "skip_special_tokens" | "spaces_between_special_tokens" => *value == Value::Bool(true),
        "grammar" => value == "",
        "bad_words" | "logits_processors" | "lora" => value.as_array().is_some_and(Vec::is_empty),
        _ => false,
    }
}

/// Likewise, for the fields of chat completions.
fn says_nothing(name: &str, value: &Value) -> bool {
    match name {
        "n" => value.as_f64() == Some(1.0),
        "min_tokens" | "top_logprobs" => value.as_f64() == Some(0.0),
        "response_format" => value["type"] == "text",
        _ => match value {
            Value::Bool(on) => !on,
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests;
