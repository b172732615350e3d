use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A reference: the text before the first complete stop text, the longest of several that end together.
fn naive(text: &str, stops: &[String]) -> (String, Option<usize>) {
    for end in text.char_indices().map(|(at, c)| at + c.len_utf8()) {
        let ends = stops.iter().enumerate().filter(|(_, stop)| text[..end].ends_with(*stop));
        if let Some((start, which)) = ends.map(|(which, stop)| (end - stop.len(), which)).min() {
            return (text[..start].to_owned(), Some(which));
        }
    }
    (text.to_owned(), None)
}

fn run(pieces: &[String], stops: &[String]) -> (String, Option<usize>) {
    let mut matcher = StopMatcher::new(stops.to_vec());
    let mut out = String::new();
    for piece in pieces {
        let found = matcher.push(piece);
        out += &found.text;
        if found.stopped.is_some() {
            return (out, found.stopped);
        }
    }
    (out + &matcher.finish(), None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn pieces_give_the_result_of_the_whole_text(
        pieces in vec("[abé]{0,5}", 0..12),
        stops in vec("[abé]{1,4}", 0..4),
    ) {
        prop_assert_eq!(run(&pieces, &stops), naive(&pieces.concat(), &stops));
    }

    #[test]
    fn held_text_is_a_prefix_of_the_stop_text(pieces in vec("[ab]{0,3}", 0..12), stop in "[ab]{1,6}") {
        let mut matcher = StopMatcher::new(vec![stop.clone()]);
        let (mut all, mut out) = (String::new(), String::new());
        for piece in &pieces {
            all += piece;
            let found = matcher.push(piece);
            out += &found.text;
            if found.stopped.is_some() {
                return Ok(());
            }
            prop_assert!(all.starts_with(&out));
            prop_assert!(stop.starts_with(&all[out.len()..]), "{all} {out}");
        }
    }
}

#[test]
fn partial_stop_text_is_released_on_a_mismatch() {
    let mut matcher = StopMatcher::new(vec!["</end>".into()]);
    assert_eq!(matcher.push("a </e").text, "a ");
    assert_eq!(matcher.push("m> b").text, "</em> b");
    assert_eq!(matcher.push(" </end").text, " ");
    assert_eq!(matcher.finish(), "</end");
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn reasoning_and_arguments_hold_no_stop_text() {
    let mut stops = AnswerStops::new(texts(&["stop", "\"city\""]));
    let parts = vec![
        Part::Reasoning("stop".into()),
        Part::Text("I call.".into()),
        Part::Call { id: "a".into(), name: "stop".into() },
        Part::Arguments("{\"city\": \"stop\"}".into()),
    ];
    assert_eq!(stops.push(parts.clone()), (parts, None));
    let found = stops.push(vec![Part::Text("now stop here".into()), Part::Reasoning("more".into())]);
    assert_eq!(found, (vec![Part::Text("now ".into())], Some(0)));
}

#[test]
fn stop_text_does_not_extend_across_a_call() {
    let mut stops = AnswerStops::new(texts(&["stop"]));
    let call = Part::Call { id: "a".into(), name: "f".into() };
    assert_eq!(stops.push(vec![Part::Text("so st".into())]), (vec![Part::Text("so ".into())], None));
    let released = vec![Part::Text("st".into()), call.clone()];
    assert_eq!(
        stops.push(vec![call, Part::Text("op".into())]),
        ([released, vec![Part::Text("op".into())]].concat(), None)
    );
    assert_eq!(stops.finish(), None);
}
