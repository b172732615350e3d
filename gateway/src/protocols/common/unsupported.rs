//! Refuses unsupported fields of other servers and endpoints by name, because they would change the output. Neutral values, which
//! request the default behavior, are accepted. Unknown fields are ignored.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use ipc_proto::generate::Sampling;
use ipc_proto::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// The values of a field that request the default behavior.
#[derive(Debug, Clone, Copy)]
pub enum Neutral {
    /// Only null.
    Null,
    /// This number.
    Number(f64),
    /// Any negative number.
    Negative,
    /// 0 or any negative number.
    ZeroOrNegative,
    /// This boolean.
    Bool(bool),
    /// The empty string.
    EmptyText,
    /// The empty list.
    EmptyList,
    /// `false`, or an empty list or object.
    Off,
    /// One of these texts.
    Texts(&'static [&'static str]),
    /// An object of type `text`.
    TextFormat,
    /// Any value without a penalty, otherwise these values: the penalties always apply to the whole text.
    Window(&'static Self),
}

use Neutral::{
    Bool, EmptyList, EmptyText, Negative, Null, Number, Off, TextFormat, Texts, Window, ZeroOrNegative,
};

/// A field's name and its neutral values.
type Field = (&'static str, Neutral);

/// A table of fields, each with its neutral values.
pub trait FieldTable {
    /// The name of the table's schema.
    const NAME: &'static str;
    /// The fields.
    const FIELDS: &'static [&'static [Field]];
}

/// Fields that no endpoint supports. Settings without effect on their own (`mirostat_tau`, `dry_base`) are not listed.
pub enum Everywhere {}

impl FieldTable for Everywhere {
    const NAME: &'static str = "Foreign";
    const FIELDS: &'static [&'static [Field]] = &[&[
        // Sampling.
        ("mirostat", Number(0.0)),
        ("mirostat_mode", Number(0.0)),
        ("dry_multiplier", Number(0.0)),
        ("xtc_probability", Number(0.0)),
        ("typical_p", Number(1.0)),
        ("typical", Number(1.0)),
        ("tfs_z", Number(1.0)),
        ("tfs", Number(1.0)),
        ("top_a", Number(0.0)),
        ("top_n_sigma", ZeroOrNegative),
        ("dynatemp_range", Number(0.0)),
        ("dynamic_temperature", Bool(false)),
        ("smoothing_factor", Number(0.0)),
        ("epsilon_cutoff", Number(0.0)),
        ("eta_cutoff", Number(0.0)),
        ("penalty_alpha", Number(0.0)),
        ("no_repeat_ngram_size", Number(0.0)),
        ("encoder_repetition_penalty", Number(1.0)),
        ("adaptive_target", Negative),
        ("samplers", Null),
        ("logits_processors", EmptyList),
        ("use_beam_search", Bool(false)),
        ("length_penalty", Number(1.0)),
        ("early_stopping", Bool(false)),
        ("watermarking", Bool(false)),
        ("repetition_detection", Off),
        ("min_keep", Number(0.0)),
        ("penalize_nl", Bool(false)),
        // The window of the penalties.
        ("repeat_last_n", Window(&Negative)),
        ("repetition_context_size", Window(&Null)),
        ("repetition_penalty_range", Window(&Number(0.0))),
        // The form and length of the output.
        ("grammar", EmptyText),
        ("grammar_lazy", Bool(false)),
        ("grammar_triggers", EmptyList),
        ("preserved_tokens", EmptyList),
        ("structural_tag", Null),
        ("guided_whitespace_pattern", Null),
        ("n_indent", Number(0.0)),
        ("n_cmpl", Number(1.0)),
        ("bad_words", EmptyList),
        ("allowed_token_ids", Null),
        ("n_predict", Negative),
        ("t_max_predict_ms", ZeroOrNegative),
        // Reasoning and calls.
        ("reasoning_format", Texts(&["auto", "deepseek"])),
        ("reasoning_control", Bool(false)),
        ("reasoning_budget_start_tag", EmptyText),
        ("reasoning_budget_end_tag", EmptyText),
        ("reasoning_budget_end_tags", EmptyList),
        ("reasoning_budget_message", EmptyText),
        ("generation_prompt", EmptyText),
        ("chat_parser", EmptyText),
        ("parse_tool_calls", Bool(true)),
        // The prompt and the weights.
        ("chat_template", Null),
        ("prompt_embeds", Null),
        ("truncate_prompt_tokens", Null),
        ("lora", EmptyList),
        ("adapters", Null),
        ("image_data", EmptyList),
        ("kv_transfer_params", Off),
        ("ec_transfer_params", Off),
        ("vllm_xargs", Off),
        // The form of the answer.
        ("prompt_logprobs", Null),
        ("n_probs", Number(0.0)),
        ("skip_special_tokens", Bool(true)),
        ("spaces_between_special_tokens", Bool(true)),
        ("include_stop_str_in_output", Bool(false)),
        ("return_token_ids", Bool(false)),
        ("return_tokens_as_token_ids", Bool(false)),
        ("return_tokens", Bool(false)),
        ("return_token_offsets", Bool(false)),
        ("return_prompt_text", Bool(false)),
        ("routed_experts_prompt_start", Number(0.0)),
        ("logprob_token_ids", EmptyList),
        ("post_sampling_probs", Bool(false)),
        ("response_fields", EmptyList),
        ("stream_interval", Number(1.0)),
        ("verbose", Bool(false)),
    ]];
}

/// Fields of chat completions that neither Responses nor Messages has.
const CHAT_ONLY: &[Field] = &[
    ("n", Number(1.0)),
    ("min_tokens", Number(0.0)),
    ("response_format", TextFormat),
    ("logit_bias", Off),
    ("logprobs", Off),
    ("max_completion_tokens", Off),
    ("ignore_eos", Off),
    ("stop_token_ids", Off),
    ("reasoning_effort", Off),
    ("thinking_budget", Off),
    ("json_schema", Off),
    ("guided_json", Off),
    ("guided_regex", Off),
    ("guided_choice", Off),
    ("guided_grammar", Off),
    ("structured_outputs", Off),
    ("functions", Off),
    ("function_call", Off),
    ("continue_final_message", Off),
    ("documents", Off),
    ("echo", Off),
    ("return_progress", Off),
    ("timings_per_token", Off),
    ("reasoning_budget_tokens", Negative),
];

/// Fields of chat completions that Responses does not have.
pub enum NotInResponses {}

impl FieldTable for NotInResponses {
    const NAME: &'static str = "BesideResponses";
    const FIELDS: &'static [&'static [Field]] = &[CHAT_ONLY, &[("messages", Off), ("max_tokens", Off)]];
}

/// Fields of chat completions that Messages does not have.
pub enum NotInMessages {}

impl FieldTable for NotInMessages {
    const NAME: &'static str = "BesideMessages";
    const FIELDS: &'static [&'static [Field]] = &[CHAT_ONLY, &[("top_logprobs", Number(0.0)), ("stop", Off)]];
}

/// Fields of other servers that embeddings and rerank do not have.
pub enum NotInEmbeddings {}

impl FieldTable for NotInEmbeddings {
    const NAME: &'static str = "BesideEmbeddings";
    const FIELDS: &'static [&'static [Field]] = &[&[
        ("messages", EmptyList),
        ("truncation_side", Texts(&["right"])),
        ("padding", Texts(&["do_not_pad"])),
        ("add_special_tokens", Bool(true)),
        ("use_activation", Bool(true)),
        ("normalize", Bool(true)),
        ("embd_normalize", Number(2.0)),
        ("priority", Number(0.0)),
        ("image_data", EmptyList),
        ("lora", EmptyList),
    ]];
}

/// The fields of the table `T` that a request sets to a value other than null.
pub struct Refused<T> {
    given: Vec<(&'static str, Neutral, Value)>,
    table: PhantomData<T>,
}

impl<T> Default for Refused<T> {
    fn default() -> Self {
        Self { given: Vec::new(), table: PhantomData }
    }
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.given.iter().map(|(name, ..)| name)).finish()
    }
}

impl Refused<Everywhere> {
    /// Checks that every field is neutral.
    ///
    /// # Errors
    /// Returns an error that names the first field that is not.
    pub fn check(&self, sampling: &Sampling) -> Result<()> {
        self.refuse_unless_neutral(has_penalty(sampling))
    }
}

impl Refused<NotInEmbeddings> {
    /// Checks that every field is neutral.
    ///
    /// # Errors
    /// Returns an error that names the first field that is not.
    pub fn check(&self) -> Result<()> {
        self.refuse_unless_neutral(false)
    }
}

impl<T> Refused<T> {
    fn first_set(&self, penalised: bool) -> Option<&'static str> {
        let set = self.given.iter().find(|(_, neutral, value)| !neutral.includes(value, penalised));
        set.map(|(name, ..)| *name)
    }

    fn refuse_unless_neutral(&self, penalised: bool) -> Result<()> {
        match self.first_set(penalised) {
            Some(name) => Err(Error::invalid(name, format!("{name} is not supported by this server yet"))),
            None => Ok(()),
        }
    }
}

/// The tables of fields that only chat completions have.
pub trait ChatOnly: FieldTable {}

impl ChatOnly for NotInResponses {}
impl ChatOnly for NotInMessages {}

impl<T: ChatOnly> Refused<T> {
    /// Checks that every field is neutral.
    ///
    /// # Errors
    /// Returns an error that names the first field that is not.
    pub fn check(&self) -> Result<()> {
        match self.first_set(true) {
            Some(name) => {
                let text = format!("{name} is a field of chat completions and does nothing at this endpoint");
                Err(Error::invalid(name, text))
            }
            None => Ok(()),
        }
    }
}

impl Neutral {
    fn includes(self, value: &Value, penalised: bool) -> bool {
        let number = value.as_f64();
        match self {
            Null => false,
            Number(neutral) => number == Some(neutral),
            Negative => number.is_some_and(|number| number < 0.0),
            ZeroOrNegative => number.is_some_and(|number| number <= 0.0),
            Bool(neutral) => value.as_bool() == Some(neutral),
            EmptyText => value == "",
            Texts(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
            EmptyList => value.as_array().is_some_and(Vec::is_empty),
            Off => match value {
                Value::Bool(on) => !on,
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            },
            TextFormat => value["type"] == "text",
            Window(neutral) => !penalised || neutral.includes(value, penalised),
        }
    }
}

fn has_penalty(sampling: &Sampling) -> bool {
    let Sampling { repetition_penalty, presence_penalty, frequency_penalty, .. } = sampling;
    repetition_penalty.is_some_and(|penalty| penalty != 1.0)
        || [presence_penalty, frequency_penalty].iter().any(|penalty| penalty.is_some_and(|it| it != 0.0))
}

impl<'de, T: FieldTable> Deserialize<'de> for Refused<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: FieldTable> Visitor<'de> for Fields<T> {
            type Value = Refused<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut refused = Refused::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match T::FIELDS.iter().copied().flatten().find(|(name, _)| *name == key) {
                        Some((name, neutral)) => refused.given.push((name, *neutral, map.next_value()?)),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                refused.given.retain(|(.., value)| !value.is_null());
                Ok(refused)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

impl<T: FieldTable> JsonSchema for Refused<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let any = || Value::Bool(true);
        let properties: serde_json::Map<String, Value> =
            T::FIELDS.iter().copied().flatten().map(|(name, _)| ((*name).to_owned(), any())).collect();
        json_schema!({ "type": "object", "properties": properties })
    }
}

#[cfg(test)]
mod tests;
