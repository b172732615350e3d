//! `POST /v1/decisions`.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use ipc_proto::wording;
use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::{Body, Check, check_part};
use crate::protocols::common::extensions::ExtensionFields;
use crate::protocols::common::model_choice::NamesModel;
use crate::protocols::openai::responses::wire::Item;

/// The request. `prompt_cache_options` has no effect: every prompt is cached.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "DecisionRequest")]
pub struct Request {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    /// A text, or input items. User messages may have parts of type `input_json`.
    #[schemars(with = "Input")]
    pub input: Value,
    pub questions: Vec<Question>,
    pub prompt_cache_key: Option<String>,
    pub prompt_cache_options: Option<Value>,
    pub safety_identifier: Option<String>,
    #[serde(flatten)]
    pub extensions: ExtensionFields,
}

impl Body for Request {
    const PARTS: &'static [Check] = &[check_part::<ExtensionFields>];
}

impl NamesModel for Request {
    const KIND: ModelKind = ModelKind::Generate;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// The input of all questions.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, rename = "DecisionInput")]
pub enum Input {
    Text(String),
    Items(Vec<Item>),
}

/// The items of an input, whose JSON parts have become texts.
#[derive(Debug, Deserialize)]
pub struct Items {
    pub input: Vec<Item>,
}

impl Body for Items {}

/// One question.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "DecisionQuestion")]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Question {
    /// Whether a statement is true.
    Predicate { instructions: Instructions, name: Option<String> },
    /// Which of some values fits.
    Choice {
        instructions: Instructions,
        name: Option<String>,
        #[serde(deserialize_with = "choices")]
        choices: Vec<ChoiceOption>,
    },
    /// Which of some ordered levels fits.
    Score {
        instructions: Instructions,
        name: Option<String>,
        #[serde(deserialize_with = "levels")]
        levels: Vec<Level>,
    },
}

fn choices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ChoiceOption>, D::Error> {
    items("choices", deserializer)
}

fn levels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Level>, D::Error> {
    items("levels", deserializer)
}

/// Reads a list inside a question. serde loses the path to a value inside a tagged enum, so the error begins with it.
fn items<'de, D, T>(field: &str, deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let values = Vec::<Value>::deserialize(deserializer)?.into_iter().enumerate();
    let read = |(at, value)| {
        let problem = |error: serde_json::Error| {
            D::Error::custom(wording::JSON.sentence(&format!(".{field}[{at}]"), &error.to_string()))
        };
        T::deserialize::<Value>(value).map_err(problem)
    };
    values.map(read).collect()
}

/// The question's text, or its parts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "DecisionInstructions")]
#[serde(untagged, expecting = "expected a string or a list of parts")]
pub enum Instructions {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of type `input_text` or `input_json`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "DecisionPart")]
pub struct Part {
    pub r#type: String,
    pub text: Option<String>,
    pub data: Option<Value>,
}

/// A value that can be chosen.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "DecisionChoiceOption")]
pub struct ChoiceOption {
    pub value: ChoiceValue,
    pub description: Option<String>,
}

/// A string and a boolean with the same text are different values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DecisionChoiceValue")]
#[serde(untagged, expecting = "expected a string or a boolean")]
pub enum ChoiceValue {
    Text(String),
    Bool(bool),
}

/// A level, from the lowest to the highest.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "DecisionLevel")]
pub struct Level {
    pub label: String,
    pub description: Option<String>,
}

/// The response.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Decision")]
pub struct Response<'a> {
    pub model: &'a str,
    /// In the order of the questions.
    pub answers: Vec<Answer>,
    pub usage: Usage,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "DecisionAnswer")]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Answer {
    Predicate {
        name: Option<String>,
        /// That the statement is true.
        probability: f64,
    },
    Choice {
        name: Option<String>,
        /// The likeliest value.
        choice: ChoiceValue,
        /// 1 if one value has all the probability, 0 if all are equally likely.
        confidence: f64,
        probabilities: Vec<ChoiceProbability>,
    },
    Score {
        name: Option<String>,
        /// The mean of the levels' numbers, weighted by their probabilities. The lowest level is 0.
        score: f64,
        /// As of a choice.
        confidence: f64,
        probabilities: Vec<LevelProbability>,
    },
}

/// The probability of one value.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "DecisionChoiceProbability")]
pub struct ChoiceProbability {
    pub value: ChoiceValue,
    pub probability: f64,
}

/// The probability of one level.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "DecisionLevelProbability")]
pub struct LevelProbability {
    pub label: String,
    /// The level's number, from 0.
    pub value: usize,
    pub probability: f64,
}

/// Token counts. Each question's prompt counts once, and so does each of its answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DecisionUsage")]
pub struct Usage {
    pub input_tokens: u64,
    pub input_tokens_details: InputDetails,
    /// Always 0: nothing is generated.
    pub output_tokens: u64,
    pub output_tokens_details: OutputDetails,
    pub total_tokens: u64,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DecisionInputDetails")]
pub struct InputDetails {
    pub cached_tokens: u64,
    pub cache_write_tokens: u64,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "DecisionOutputDetails")]
pub struct OutputDetails {
    pub reasoning_tokens: u64,
}
