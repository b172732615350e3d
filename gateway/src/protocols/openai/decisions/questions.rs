//! Writes questions as a turn of the user, and their answers as beginnings of the model's turn. Pure.

use std::collections::HashSet;

use ipc_proto::{Error, Result};
use serde_json::Value;

use super::wire::{ChoiceOption, ChoiceValue, Instructions, Level, Part, Question};

/// The beginning of the model's turn, before each answer. It closes the reasoning of models that reason.
pub const ANSWER_PREFIX: &str = "Answer:";
const YES: &str = " Yes";
const NO: &str = " No";
const MAX_CHOICES: usize = 255;
/// The number of a level is one digit, so that no number is the beginning of another.
const MAX_LEVELS: usize = 10;

/// A checked question.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidQuestion {
    /// The client's name of the question.
    pub name: Option<String>,
    /// The text of the user's turn.
    pub text: String,
    /// The possible answers.
    pub kind: Kind,
}

/// The possible answers to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Yes and no.
    Predicate,
    /// Values.
    Choice(Vec<ChoiceValue>),
    /// Labels of levels.
    Score(Vec<String>),
}

impl Kind {
    /// The texts of the answers after [`ANSWER_PREFIX`]. None is the beginning of another.
    pub fn answer_texts(&self) -> Vec<String> {
        match self {
            Self::Predicate => vec![YES.to_owned(), NO.to_owned()],
            Self::Choice(values) => values.iter().map(|value| format!(" {}", value_text(value))).collect(),
            Self::Score(labels) => (0..labels.len()).map(|number| format!(" {number}")).collect(),
        }
    }
}

/// The value as JSON: the closing quote ends a string.
fn value_text(value: &ChoiceValue) -> String {
    match value {
        ChoiceValue::Text(text) => Value::from(text.as_str()).to_string(),
        ChoiceValue::Bool(value) => value.to_string(),
    }
}

/// Checks the question at `path` in the request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse_question(path: &str, question: Question) -> Result<ValidQuestion> {
    let (name, instructions, kind, options) = match question {
        Question::Predicate { name, instructions } => {
            let text = "Is this true? Answer with Yes or No.";
            (name, instructions, Kind::Predicate, text.to_owned())
        }
        Question::Choice { name, instructions, choices } => {
            check_choices(&format!("{path}.choices"), &choices)?;
            let text = choices_text(&choices);
            let values = choices.iter().map(|choice| choice.value.clone()).collect();
            (name, instructions, Kind::Choice(values), text)
        }
        Question::Score { name, instructions, levels } => {
            check_levels(&format!("{path}.levels"), &levels)?;
            let lines = levels.iter().enumerate().map(|(number, level)| {
                option_line(&format!("{number}: {}", level.label), level.description.as_deref())
            });
            let text = format!("Choose one of these levels:\n{}", lines.collect::<String>());
            let labels = levels.iter().map(|level| level.label.clone()).collect();
            (name, instructions, Kind::Score(labels), text + "Answer with the number only.")
        }
    };
    let instructions = instructions_text(&format!("{path}.instructions"), instructions)?;
    let text = if options.is_empty() { instructions } else { format!("{instructions}\n\n{options}") };
    Ok(ValidQuestion { name, text, kind })
}

/// The list of the values, if they have descriptions. Plain values are only scored: small models choose from a list by place.
fn choices_text(choices: &[ChoiceOption]) -> String {
    if choices.iter().all(|choice| choice.description.as_ref().is_none_or(String::is_empty)) {
        return String::new();
    }
    let line = |choice: &ChoiceOption| option_line(&value_text(&choice.value), choice.description.as_deref());
    let lines: String = choices.iter().map(line).collect();
    format!("Choose one of these values:\n{lines}Answer with the value only.")
}

fn option_line(option: &str, description: Option<&str>) -> String {
    match description.filter(|text| !text.is_empty()) {
        Some(description) => format!("- {option} ({description})\n"),
        None => format!("- {option}\n"),
    }
}

fn check_choices(field: &str, choices: &[ChoiceOption]) -> Result<()> {
    if !(2..=MAX_CHOICES).contains(&choices.len()) {
        return Err(Error::invalid(field, format!("{field}: 2 to {MAX_CHOICES}, not {}", choices.len())));
    }
    let mut seen = HashSet::new();
    match choices.iter().find(|choice| !seen.insert(&choice.value)) {
        Some(choice) => {
            let text = format!("{field}: {} is there twice", value_text(&choice.value));
            Err(Error::invalid(field, text))
        }
        None => Ok(()),
    }
}

fn check_levels(field: &str, levels: &[Level]) -> Result<()> {
    match levels.len() {
        2..=MAX_LEVELS => Ok(()),
        count => Err(Error::invalid(field, format!("{field}: 2 to {MAX_LEVELS}, not {count}"))),
    }
}

fn instructions_text(field: &str, instructions: Instructions) -> Result<String> {
    let text = match instructions {
        Instructions::Text(text) => text,
        Instructions::Parts(parts) => {
            let text = |(at, part)| part_text(&format!("{field}[{at}]"), part);
            parts.into_iter().enumerate().map(text).collect::<Result<Vec<_>>>()?.join("\n")
        }
    };
    if text.trim().is_empty() {
        return Err(Error::invalid(field, format!("{field} must not be empty")));
    }
    Ok(text)
}

fn part_text(path: &str, part: Part) -> Result<String> {
    let (field, text) = match &*part.r#type {
        "input_text" => ("text", part.text),
        "input_json" => ("data", part.data.map(|data| data.to_string())),
        other => {
            let name = format!("{path}.type");
            let text =
                format!("{name}: \"{other}\" is not supported, only \"input_text\" and \"input_json\"");
            return Err(Error::invalid(name, text));
        }
    };
    let name = format!("{path}.{field}");
    text.ok_or_else(|| Error::invalid(&name, format!("{name} is missing")))
}
