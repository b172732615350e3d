//! Drafts by prompt lookup: finds an earlier occurrence of the last tokens and proposes what followed it.
//!
//! Saxena 2023, "Prompt Lookup Decoding". The engine drops drafted tokens that the model does not sample itself, so drafts
//! change the speed and never the text.

/// Bounds of the suffix length that is looked up, in tokens. Shorter suffixes match often but predict little.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;

/// Up to `count` tokens that followed the last earlier occurrence of the suffix of `tokens`. The longest suffix that
/// occurs wins.
pub fn look_up(tokens: &[u32], count: usize) -> &[u32] {
    if count == 0 {
        return &[];
    }
    for length in (SHORTEST..=LONGEST).rev().filter(|length| *length < tokens.len()) {
        let (before, end) = tokens.split_at(tokens.len() - length);
        // The last occurrence other than the suffix itself.
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
