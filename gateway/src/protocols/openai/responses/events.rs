//! The events of a streamed response.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use schemars::JsonSchema;
use serde::Serialize;

use crate::protocols::openai::chat::wire::TokenLogprob;
use crate::protocols::openai::responses::answer::{Item, Part, Response};

/// One event with its number.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResponseEvent")]
pub struct Event<'a> {
    pub r#type: &'static str,
    /// The number of the event in its stream, from 0.
    pub sequence_number: u64,
    #[serde(flatten)]
    pub body: Body<'a>,
}

/// The fields of an event besides its type and number.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ResponseEventBody")]
pub enum Body<'a> {
    Response {
        response: Response<'a>,
    },
    Item {
        output_index: usize,
        item: Item,
    },
    Part {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        part: Part,
    },
    TextDelta {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        delta: &'a str,
        logprobs: Vec<TokenLogprob>,
    },
    TextDone {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        text: &'a str,
        logprobs: Vec<TokenLogprob>,
    },
    ReasoningDelta {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        delta: &'a str,
    },
    ReasoningDone {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        text: &'a str,
    },
    SummaryPart {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        part: Part,
    },
    SummaryDelta {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        delta: &'a str,
    },
    SummaryDone {
        item_id: &'a str,
        output_index: usize,
        summary_index: usize,
        text: &'a str,
    },
    ArgumentsDelta {
        item_id: &'a str,
        output_index: usize,
        delta: &'a str,
    },
    Compacting {
        item_id: &'a str,
        output_index: usize,
    },
    ArgumentsDone {
        item_id: &'a str,
        output_index: usize,
        name: &'a str,
        arguments: &'a str,
    },
    InputDone {
        item_id: &'a str,
        output_index: usize,
        input: &'a str,
    },
}
