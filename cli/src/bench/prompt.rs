//! Prompts of a given length in tokens, none of which begins like another. Pure.

/// Frequent words: most tokenizers have one token for each with its space.
const WORDS: [&str; 48] = [
    "the", "time", "water", "of", "and", "house", "to", "in", "is", "you", "that", "it", "he", "was", "for",
    "on", "are", "with", "as", "his", "they", "at", "be", "this", "from", "have", "or", "by", "one", "had",
    "not", "but", "what", "all", "were", "when", "we", "there", "can", "an", "your", "which", "their",
    "said", "if", "do", "will", "each",
];
/// Words of the prompt that shows how many tokens a word takes.
pub(super) const PROBE: usize = 200;

/// A text of this many words. Texts of different seeds differ from the first words on.
pub(super) fn words(count: usize, seed: u64) -> String {
    // Knuth's multiplier of a linear congruential generator; the high bits are the good ones.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = format!("{state:x}");
    for _ in 1..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(' ');
        text.push_str(WORDS[(state >> 33) as usize % WORDS.len()]);
    }
    text
}

/// The words for a prompt of `tokens`, if a probe of [`PROBE`] words has `probed` tokens.
pub(super) fn length(tokens: u32, probed: u32) -> usize {
    let words = u64::from(tokens) * PROBE as u64 / u64::from(probed.max(1));
    words.max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_have_their_length_and_begin_differently() {
        let texts: Vec<String> = (0..100).map(|seed| words(50, seed)).collect();
        let mut firsts: Vec<&str> = texts.iter().map(|text| text.split(' ').next().unwrap()).collect();
        assert!(texts.iter().all(|text| text.split(' ').count() == 50));
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 100);
        assert_eq!(words(50, 7), words(50, 7));
        assert_ne!(words(50, 7).split_once(' ').unwrap().1, words(50, 8).split_once(' ').unwrap().1);
    }

    #[test]
    fn web_ui_measures_with_the_same_words() {
        let source = include_str!("../../../ui/src/lib/bench.ts");
        let list = source.split("const WORDS = (").nth(1).unwrap().split(')').next().unwrap();
        let words: Vec<&str> = list.split(['\'', '+', ' ', '\n']).filter(|word| !word.is_empty()).collect();
        assert_eq!(words, WORDS);
        assert!(source.contains(&format!("PROBE = {PROBE};")));
    }

    #[test]
    fn length_follows_the_probe() {
        assert_eq!(length(1000, 200), 1000);
        assert_eq!(length(1000, 400), 500);
        assert_eq!((length(1, 4000), length(10, 0)), (1, 2000));
    }
}
