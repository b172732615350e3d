use super::*;

/// `top` = 1 with several positions once aborted the process.
#[test]
fn most_likely_returns_the_top_tokens_of_each_position() {
    let logprobs = Array::from_slice(&[-1.0f32, -3.0, -2.0, -6.0, -5.0, -4.0], &[2, 3]);
    let all = [vec![(0, -1.0), (2, -2.0), (1, -3.0)], vec![(2, -4.0), (1, -5.0), (0, -6.0)]];
    for top in 0..=3 {
        let actual = ScoredTokens { from: vec![0, 1], top }.most_likely(&logprobs).unwrap();
        let expected: Vec<Vec<(u32, f32)>> = all.iter().map(|position| position[..top].to_vec()).collect();
        assert_eq!(actual, expected);
    }
}
