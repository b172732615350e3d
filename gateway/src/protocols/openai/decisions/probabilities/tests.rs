use super::*;
use crate::protocols::openai::decisions::wire::ChoiceValue;

fn question(kind: Kind) -> ValidQuestion {
    ValidQuestion { name: Some("q".into()), text: String::new(), kind }
}

fn choice(values: &[&str]) -> ValidQuestion {
    question(Kind::Choice(values.iter().map(|value| ChoiceValue::Text((*value).into())).collect()))
}

#[test]
fn predicate_is_the_share_of_yes() {
    let answer = decide(&question(Kind::Predicate), &[0.3f64.ln(), 0.1f64.ln()]);
    let Answer::Predicate { name, probability } = answer else { panic!() };
    assert_eq!(name.as_deref(), Some("q"));
    assert!((probability - 0.75).abs() < 1e-12, "{probability}");
}

#[test]
fn choice_is_the_likeliest_value() {
    let answer = decide(&choice(&["a", "b", "c"]), &[0.1f64.ln(), 0.3f64.ln(), 0.1f64.ln()]);
    let Answer::Choice { choice, confidence, probabilities, .. } = answer else { panic!() };
    assert_eq!(choice, ChoiceValue::Text("b".into()));
    let shares: Vec<f64> = probabilities.iter().map(|one| one.probability).collect();
    assert!(shares.iter().zip([0.2, 0.6, 0.2]).all(|(a, b)| (a - b).abs() < 1e-12), "{shares:?}");
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!((0.1..0.2).contains(&confidence), "{confidence}");
}

#[test]
fn score_is_the_mean_of_the_levels() {
    let levels = ["low", "mid", "high"].map(str::to_owned).to_vec();
    let answer = decide(&question(Kind::Score(levels)), &[0.25f64.ln(), 0.25f64.ln(), 0.5f64.ln()]);
    let Answer::Score { score, probabilities, .. } = answer else { panic!() };
    assert!((score - 1.25).abs() < 1e-12, "{score}");
    assert_eq!((probabilities[2].value, &*probabilities[2].label), (2, "high"));
}

#[test]
fn confidence_is_0_for_equal_answers_and_1_for_a_certain_one() {
    let confidence = |logprobs: &[f64]| match decide(&choice(&["a", "b"]), logprobs) {
        Answer::Choice { confidence, choice, .. } => (confidence, choice),
        other => panic!("{other:?}"),
    };
    let first = ChoiceValue::Text("a".into());
    assert_eq!(confidence(&[-3.0, -3.0]), (0.0, first.clone()));
    assert_eq!(confidence(&[-1.0, f64::NEG_INFINITY]), (1.0, first));
}

/// Products of many small probabilities underflow.
#[test]
fn very_unlikely_answers_are_compared() {
    let Answer::Predicate { probability, .. } = decide(&question(Kind::Predicate), &[-2000.0, -2001.0])
    else {
        panic!()
    };
    assert!((probability - 1.0 / (1.0 + (-1.0f64).exp())).abs() < 1e-12, "{probability}");
}
