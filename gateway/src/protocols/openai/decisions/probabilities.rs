//! From log probabilities of answers to decisions. Pure.

use super::questions::{Kind, ValidQuestion};
use super::wire::{Answer, ChoiceProbability, LevelProbability};

/// The decision of a question, from the log probability of each of its answers: their probabilities, normalised over the answers.
pub fn decide(question: &ValidQuestion, logprobs: &[f64]) -> Answer {
    let probabilities = normalize(logprobs);
    let (name, confidence) = (question.name.clone(), confidence(&probabilities));
    match &question.kind {
        Kind::Predicate => {
            Answer::Predicate { name, probability: probabilities.first().copied().unwrap_or_default() }
        }
        Kind::Choice(values) => {
            let all = values.iter().cloned().zip(probabilities);
            let all: Vec<_> =
                all.map(|(value, probability)| ChoiceProbability { value, probability }).collect();
            // Of equally likely values the first is chosen.
            let best = all.iter().rev().max_by(|a, b| a.probability.total_cmp(&b.probability));
            let choice = best.map_or_else(|| values[0].clone(), |best| best.value.clone());
            Answer::Choice { name, choice, confidence, probabilities: all }
        }
        Kind::Score(labels) => {
            let score = probabilities.iter().enumerate().map(|(value, share)| value as f64 * share).sum();
            let level = |(value, (label, probability)): (usize, (&String, f64))| LevelProbability {
                label: label.clone(),
                value,
                probability,
            };
            let all = labels.iter().zip(probabilities).enumerate().map(level).collect();
            Answer::Score { name, score, confidence, probabilities: all }
        }
    }
}

/// Probabilities that sum to 1.
fn normalize(logprobs: &[f64]) -> Vec<f64> {
    let largest = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return vec![1.0 / logprobs.len() as f64; logprobs.len()];
    }
    let shares: Vec<f64> = logprobs.iter().map(|logprob| (logprob - largest).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

/// 1 minus the entropy, relative to that of equally likely answers.
fn confidence(probabilities: &[f64]) -> f64 {
    let entropy: f64 =
        probabilities.iter().filter(|share| **share > 0.0).map(|share| -share * share.ln()).sum();
    let largest = (probabilities.len() as f64).ln();
    if largest > 0.0 { (1.0 - entropy / largest).clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests;
