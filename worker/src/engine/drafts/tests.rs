use proptest::prelude::*;

use super::*;

#[test]
fn look_up_returns_what_followed_the_longest_suffix() {
    let text = [1, 2, 3, 4, 5, 6, 9, 2, 3];
    assert_eq!(look_up(&text, 3), [4, 5, 6]);
    assert_eq!(look_up(&text, 1), [4]);
    assert_eq!(look_up(&text, 0), [0; 0]);
    // The longest suffix wins, and its last occurrence.
    assert_eq!(look_up(&[1, 2, 3, 7, 2, 3, 8, 1, 2, 3], 1), [7]);
    assert_eq!(look_up(&[2, 3, 7, 2, 3, 8, 2, 3], 1), [8]);
    assert_eq!(look_up(&[1, 2, 3], 4), [0; 0]);
    // A run of one token continues.
    assert_eq!(look_up(&[5, 5, 5, 5], 4), [5]);
    assert_eq!(look_up(&[], 4), [0; 0]);
}

proptest! {
    #[test]
    fn drafts_are_a_substring_of_the_text(tokens in prop::collection::vec(0u32..4, 0..40), count in 0usize..8) {
        let drafts = look_up(&tokens, count);
        prop_assert!(drafts.len() <= count);
        if !drafts.is_empty() {
            prop_assert!(tokens.windows(drafts.len()).any(|window| window == drafts));
        }
    }
}
