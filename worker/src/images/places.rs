//! Puts the text of each image in its place in a rendered prompt. Pure.

use std::ops::Range;

/// A prompt's text, and the byte ranges of control tokens that the client wrote, which are no control tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// The text.
    pub text: String,
    /// In order.
    pub sanitized: Vec<Range<usize>>,
}

/// `text` with one of `texts` in the place of each `placeholder`, in order. One that the client wrote is none.
///
/// # Errors
/// The number of placeholders, if there is not one for each text.
pub fn filled(text: Text, placeholder: &str, texts: &[&str]) -> Result<Text, usize> {
    let Text { text, sanitized } = text;
    let is_clients = |at: usize| sanitized.iter().any(|range| range.contains(&at));
    let places: Vec<usize> =
        text.match_indices(placeholder).map(|(at, _)| at).filter(|at| !is_clients(*at)).collect();
    if places.len() != texts.len() {
        return Err(places.len());
    }
    let mut clients = sanitized.into_iter().peekable();
    let mut filled = Text::default();
    let mut from = 0;
    for (at, replacement) in places.into_iter().zip(texts) {
        push(&mut filled, &text, from..at, &mut clients);
        filled.text.push_str(replacement);
        from = at + placeholder.len();
    }
    push(&mut filled, &text, from..text.len(), &mut clients);
    Ok(filled)
}

/// Appends a range of `text` with the client's control tokens in it.
fn push(
    filled: &mut Text,
    text: &str,
    range: Range<usize>,
    clients: &mut std::iter::Peekable<impl Iterator<Item = Range<usize>>>,
) {
    let start = filled.text.len();
    while let Some(own) = clients.next_if(|own| own.end <= range.end) {
        filled.sanitized.push(start + own.start - range.start..start + own.end - range.start);
    }
    filled.text.push_str(&text[range]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_gets_its_text_and_the_clients_tokens_move() {
        let text = Text { text: "a<i>b<i>c<i>d</s>".into(), sanitized: vec![5..8, 13..17] };
        let filled = filled(text, "<i>", &["<i><i>", ""]).unwrap();
        assert_eq!(filled.text, "a<i><i>b<i>cd</s>");
        let clients: Vec<&str> = filled.sanitized.iter().map(|range| &filled.text[range.clone()]).collect();
        assert_eq!(clients, ["<i>", "</s>"]);
        assert_eq!(filled.sanitized[0], 8..11);
    }

    #[test]
    fn places_without_text_are_counted() {
        let text = Text { text: "<i><i>".into(), sanitized: Vec::new() };
        assert_eq!(filled(text.clone(), "<i>", &["x"]), Err(2));
        assert_eq!(filled(text, "<i>", &[]), Err(2));
        assert_eq!(filled(Text::default(), "<i>", &[]), Ok(Text::default()));
    }
}
