//! The conditions of routes that a model judges. Pure: what is not answered yet becomes the next question, which the caller asks.

use std::sync::Arc;

use ipc_proto::gateway::Route;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Facts;

/// What a model has to say about the text of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'r> {
    /// Whether a sentence is true of the text.
    Sentence {
        /// The model that judges.
        model: &'r str,
        /// The sentence.
        sentence: &'r str,
    },
    /// How near the nearest of some examples is to the text.
    Similar {
        /// The embedding model.
        model: &'r str,
        /// The examples, at least one.
        examples: &'r [String],
    },
}

/// The answers about one text.
#[derive(Debug, Clone, Default)]
pub struct Answers(Vec<(Asked, Answer)>);

/// The answer to a question, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was found, or why nothing was.
    pub found: Result<Found, Arc<str>>,
    /// Milliseconds that it took.
    pub ms: u32,
}

/// What a model found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The finding.
    pub finding: Finding,
    /// Tokens that the model read.
    pub prompt_tokens: u32,
    /// Tokens that it wrote.
    pub completion_tokens: u32,
}

/// The finding alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// Whether the sentence is true.
    Truth(bool),
    /// The cosine of the text and the nearest example.
    Similarity(f64),
}

/// A question that was asked.
#[derive(Debug, Clone)]
enum Asked {
    Sentence { model: String, sentence: String },
    Similar { model: String, examples: Vec<String> },
}

/// A question that was asked for a route, and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RouteJudgement")]
pub struct Judgement {
    /// The condition.
    pub condition: JudgedCondition,
    /// The model that was asked.
    pub model: String,
    /// Whether the condition holds; null if that was not found out.
    pub holds: Option<bool>,
    /// The cosine with the nearest example; null for a sentence.
    pub similarity: Option<f64>,
    /// Why it was not found out.
    pub problem: Option<String>,
    /// Milliseconds that it took.
    pub ms: u32,
    /// Tokens that the model read.
    pub prompt_tokens: u32,
    /// Tokens that it wrote.
    pub completion_tokens: u32,
}

/// The conditions that a model judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "JudgedCondition")]
pub enum JudgedCondition {
    /// A sentence.
    Sentence,
    /// Nearness to examples.
    Similar,
}

/// The judged conditions of one route: the first that does not hold, if any, and what was asked for them.
pub(super) struct Judged {
    pub(super) because: Option<String>,
    pub(super) judgements: Vec<Judgement>,
}

impl Question<'_> {
    /// The model that is asked.
    pub fn model(&self) -> &str {
        match self {
            Self::Sentence { model, .. } | Self::Similar { model, .. } => model,
        }
    }

    fn to_asked(self) -> Asked {
        match self {
            Self::Sentence { model, sentence } => {
                Asked::Sentence { model: model.to_owned(), sentence: sentence.to_owned() }
            }
            Self::Similar { model, examples } => {
                Asked::Similar { model: model.to_owned(), examples: examples.to_vec() }
            }
        }
    }
}

impl Asked {
    fn question(&self) -> Question<'_> {
        match self {
            Self::Sentence { model, sentence } => Question::Sentence { model, sentence },
            Self::Similar { model, examples } => Question::Similar { model, examples },
        }
    }
}

impl Answers {
    /// Adds the answer to a question.
    pub fn add(&mut self, question: Question<'_>, answer: Answer) {
        self.0.push((question.to_asked(), answer));
    }

    /// The answer to a question, and its place.
    fn find(&self, question: Question<'_>) -> Option<(usize, &Answer)> {
        let place = self.0.iter().position(|(asked, _)| asked.question() == question)?;
        Some((place, &self.0[place].1))
    }
}

/// Judges the conditions of a route whose other conditions hold. `shown` has the places of the answers that earlier routes show.
///
/// # Errors
/// The question whose answer is needed.
pub(super) fn judge<'r>(
    route: &'r Route,
    facts: &Facts,
    shown: &mut Vec<usize>,
) -> Result<Judged, Question<'r>> {
    let mut judged = Judged { because: None, judgements: Vec::new() };
    if let Some(similar) = &route.similar {
        let question =
            similar.model.as_deref().map(|model| Question::Similar { model, examples: &similar.examples });
        judged.add(question, facts, shown, |finding| match finding {
            Finding::Similarity(cosine) if cosine >= similar.at_least => None,
            Finding::Similarity(cosine) => {
                Some(format!("the similarity {cosine:.3} is below {}", similar.at_least))
            }
            Finding::Truth(_) => Some("the model has not compared".into()),
        })?;
    }
    if judged.because.is_none()
        && let Some(sentence) = &route.sentence
    {
        let question = route.judge.as_deref().map(|model| Question::Sentence { model, sentence });
        judged.add(question, facts, shown, |finding| match finding {
            Finding::Truth(true) => None,
            Finding::Truth(false) => Some(format!("judged to be untrue: {sentence}")),
            Finding::Similarity(_) => Some("the model has not judged".into()),
        })?;
    }
    Ok(judged)
}

impl Judged {
    /// Takes in a condition by the answer to its question; `None` if no model is set. What is not judged does not hold.
    fn add<'r>(
        &mut self,
        question: Option<Question<'r>>,
        facts: &Facts,
        shown: &mut Vec<usize>,
        unmet: impl Fn(Finding) -> Option<String>,
    ) -> Result<(), Question<'r>> {
        let not_judged = |problem: &str| Some(format!("not judged: {problem}"));
        let Some(question) = question else {
            self.because = not_judged("no model is set that judges");
            return Ok(());
        };
        if facts.text.is_none() {
            self.because = not_judged("the request has no text of a user");
            return Ok(());
        }
        let (place, answer) = facts.answers.find(question).ok_or(question)?;
        self.because = match &answer.found {
            Ok(found) => unmet(found.finding),
            Err(problem) => not_judged(problem),
        };
        if !shown.contains(&place) {
            shown.push(place);
            self.judgements.push(judgement(question, answer, self.because.is_none()));
        }
        Ok(())
    }
}

fn judgement(question: Question<'_>, answer: &Answer, holds: bool) -> Judgement {
    let found = answer.found.as_ref().ok();
    Judgement {
        condition: match question {
            Question::Sentence { .. } => JudgedCondition::Sentence,
            Question::Similar { .. } => JudgedCondition::Similar,
        },
        model: question.model().to_owned(),
        holds: found.map(|_| holds),
        similarity: found.and_then(|found| match found.finding {
            Finding::Similarity(cosine) => Some((cosine * 1e4).round() / 1e4),
            Finding::Truth(_) => None,
        }),
        problem: answer.found.as_ref().err().map(|problem| problem.to_string()),
        ms: answer.ms,
        prompt_tokens: found.map_or(0, |found| found.prompt_tokens),
        completion_tokens: found.map_or(0, |found| found.completion_tokens),
    }
}

#[cfg(test)]
mod tests;
