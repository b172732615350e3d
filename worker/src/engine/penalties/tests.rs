use super::*;

fn adjusted(penalties: Penalties, prompt: &[u32], output: &[u32]) -> Vec<LogitAdjustment> {
    let mut adjustments = Adjustments::new(penalties, prompt);
    output.iter().for_each(|token| adjustments.push(*token));
    adjustments.current()
}

#[test]
fn default_penalties_adjust_nothing() {
    assert_eq!(adjusted(Penalties::default(), &[1, 2], &[3, 3]), []);
}

#[test]
fn each_penalty_applies_to_its_own_tokens() {
    let adjust = |token, bias, repetition, penalty| LogitAdjustment { token, bias, repetition, penalty };
    let repetition = Penalties { repetition: 1.5, ..Penalties::default() };
    let expected = [adjust(1, 0.0, 1.5, 0.0), adjust(2, 0.0, 1.5, 0.0), adjust(3, 0.0, 1.5, 0.0)];
    assert_eq!(adjusted(repetition, &[2, 1, 2], &[3]), expected);
    let output = Penalties { presence: 0.5, frequency: 0.25, ..Penalties::default() };
    let expected = [adjust(2, 0.0, 1.0, 0.75), adjust(3, 0.0, 1.0, 1.0)];
    assert_eq!(adjusted(output, &[1, 2], &[3, 2, 3]), expected);
    let all = Penalties { repetition: 2.0, presence: 1.0, frequency: 0.0, bias: vec![(9, -5.0), (3, 1.0)] };
    let expected = [adjust(1, 0.0, 2.0, 0.0), adjust(3, 1.0, 2.0, 1.0), adjust(9, -5.0, 1.0, 0.0)];
    assert_eq!(adjusted(all, &[1], &[3]), expected);
}
