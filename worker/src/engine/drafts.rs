//! Drafts by looking up the text's own end in the text: what came after it last time may come again. A pure function.
//!
//! Saxena 2023, "Prompt Lookup Decoding". A drafted token that the model would not have chosen itself is dropped, so drafts
//! change the speed and never the text.

/// Tokens of the end that are looked up, at most and at least: short ones are found often and lead nowhere.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;

/// Up to `count` tokens that followed the last occurrence of the end of `tokens`; the longest end that occurs counts.
pub fn look_up(tokens: &[u32], count: usize) -> &[u32] {
    if count == 0 {
        return &[];
    }
    for length in (SHORTEST..=LONGEST).rev().filter(|length| *length < tokens.len()) {
        let (before, end) = tokens.split_at(tokens.len() - length);
        // The last one that ends before the end itself begins to repeat.
        let found = tokens[..tokens.len() - 1].windows(length).rposition(|window| window == end);
        if let Some(at) = found.filter(|at| *at < before.len()) {
            let after = at + length;
            return &tokens[after..tokens.len().min(after + count)];
        }
    }
    &[]
}

#[cfg(test)]
mod tests;
