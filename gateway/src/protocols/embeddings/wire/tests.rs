use super::*;

#[test]
fn input_of_every_type_is_deserialized() {
    let read = |text: &str| serde_json::from_str::<Input>(text);
    assert_eq!(read(r#""a""#).unwrap(), Input::Text("a".into()));
    assert_eq!(read(r#"["a", "b\n"]"#).unwrap(), Input::Texts(vec!["a".into(), "b\n".into()]));
    assert_eq!(read("[1, 2]").unwrap(), Input::Tokens(vec![1, 2]));
    assert_eq!(read("[[1], [], [2, 3]]").unwrap(), Input::Batch(vec![vec![1], vec![], vec![2, 3]]));
    assert_eq!(read("[]").unwrap(), Input::Texts(vec![]));
    for wrong in [
        "3",
        "null",
        "{}",
        "[1, \"a\"]",
        "[\"a\", [1]]",
        "[-1]",
        "[1.5]",
        "[4294967296]",
        "[[\"a\"]]",
        "[null]",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
