use proptest::prelude::*;

use super::*;

/// The text of arguments that arrive in these pieces, and the pieces of it.
fn decoded<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, bool) {
    let mut input = TextInput::default();
    let mut text: String = pieces.into_iter().map(|piece| input.push(piece)).collect();
    let done = input.is_done();
    text += &input.finish();
    (text, done)
}

#[test]
fn escapes_become_characters() {
    for (arguments, text) in [
        (r#"{"input": "a\nb\t\"c\"\\ \/ \u00e9 \ud83d\ude00"}"#, "a\nb\t\"c\"\\ / é 😀"),
        (" {\n\"input\" : \"x\" }", "x"),
        (r#"{"input":""}"#, ""),
        (r#"{"input": "\ud83d!"}"#, "\u{fffd}!"),
        (r#"{"input": "\ud83d\n"}"#, "\u{fffd}\n"),
        (r#"{"input": "\ud83d\u0041"}"#, "\u{fffd}A"),
        (r#"{"input": "\ude00"}"#, "\u{fffd}"),
    ] {
        assert_eq!(decoded([arguments]), (text.into(), true), "{arguments}");
    }
}

#[test]
fn cut_off_arguments_give_whole_characters_and_are_not_done() {
    for (arguments, text) in [
        (r#"{"inp"#, ""),
        (r#"{"input": "a\"#, "a"),
        (r#"{"input": "a\u00"#, "a"),
        (r#"{"input": "a\ud83d\u"#, "a"),
    ] {
        assert_eq!(decoded([arguments]), (text.into(), false), "{arguments}");
    }
}

#[test]
fn arguments_of_another_form_are_the_text() {
    for (arguments, text) in
        [("{}", ""), (r#"{"a": 1, "input": "x"}"#, "x"), (r#"{"a": 1}"#, r#"{"a": 1}"#), ("ls -l", "ls -l")]
    {
        assert_eq!(decoded([arguments]).0, text, "{arguments}");
    }
}

proptest! {
    #[test]
    fn any_text_survives_any_pieces(text in "\\PC{0,12}|[\\x00-\\x1f\"\\\\é😀a]{0,12}", cut in 1_usize..5) {
        let arguments = arguments(&text);
        let chars: Vec<char> = arguments.chars().collect();
        let pieces: Vec<String> = chars.chunks(cut).map(|piece| piece.iter().collect()).collect();
        prop_assert_eq!(decoded(pieces.iter().map(String::as_str)), (text, true));
    }

    #[test]
    fn any_arguments_do_not_panic(arguments in "\\{\"input\": \"[\\\\ud8-f0-9\"naé]{0,20}") {
        decoded([&*arguments]);
    }
}
