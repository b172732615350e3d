use ipc_proto::generate::Alternative;

use super::*;

#[test]
fn adjacent_parts_of_one_kind_are_joined() {
    let call = |id: &str| Part::Call { id: id.into(), name: "f".into() };
    let mut output = Output::default();
    for parts in [
        vec![Part::Reasoning("a".into()), Part::Reasoning("b".into())],
        vec![Part::Text("c".into())],
        vec![Part::Text("d".into()), call("1"), Part::Arguments("{".into())],
        vec![Part::Arguments("}".into()), call("2"), Part::Text("e".into())],
    ] {
        output.add(Delta { parts, ..Delta::default() });
    }
    let expected = [
        Part::Reasoning("ab".into()),
        Part::Text("cd".into()),
        call("1"),
        Part::Arguments("{}".into()),
        call("2"),
        Part::Text("e".into()),
    ];
    assert_eq!(output.parts, expected);
    assert_eq!(output.text(), "cde");
}

#[test]
fn logprobs_cover_only_tokens_of_the_answer() {
    let score = |bytes: &str| {
        let token = Alternative { bytes: bytes.into(), logprob: Some(-1.0) };
        TokenLogprob { token, top: Vec::new() }
    };
    let mut output = Output::default();
    for (parts, token) in [
        (vec![Part::Reasoning("a".into())], "a"),
        (vec![Part::Text("b".into())], "b"),
        // Text that is held back.
        (Vec::new(), "c"),
        (vec![Part::Arguments("d".into())], "d"),
    ] {
        output.add(Delta { parts, logprobs: vec![score(token)], ..Delta::default() });
    }
    assert_eq!(output.logprobs, [score("b"), score("c")]);
}
