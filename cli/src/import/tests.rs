use super::*;
use crate::import::plan::Left;

#[test]
fn words_for_a_search_lack_format_and_packing() {
    for (name, expected) in [
        ("/gguf/Strange-Model-7B-Q4_K_M.gguf", "Strange-Model-7B"),
        ("org/Strange-GGUF:Q4", "Strange"),
        ("rare:7b", "rare"),
        ("Qwen3-Coder.Q8_0.gguf", "Qwen3-Coder"),
        ("plain", "plain"),
    ] {
        assert_eq!(words(name), expected);
    }
}

#[test]
fn yaml_problem_has_its_line_and_quotes_nothing() {
    let problem = yaml("a: 1\nkey: \"sk-secret\n").unwrap_err();
    assert!(problem.starts_with("line ") && !problem.contains("secret"), "{problem}");
    assert_eq!(yaml("a: [1, two]").unwrap(), serde_json::json!({"a": [1, "two"]}));
}

#[test]
fn report_says_what_would_happen_and_what_not() {
    let outcome = Outcome {
        taken: vec!["folder of models /m".into()],
        left: vec![Left { what: "old.gguf".into(), why: "it is a GGUF file".into() }],
        pulls: vec!["org/m".into()],
        ..Outcome::default()
    };
    let (place, path) = (Path::new("/u/.omlx"), Path::new("/u/.mlxd/config.toml"));
    let text = report(place, &outcome, &[], (path, true));
    assert_eq!(
        text,
        "read: /u/.omlx\n\nwould be taken over:\n  folder of models /m\n\nnot taken over:\n  old.gguf: it is a GGUF file\n\n\
         models to download:\n  mlxd pull org/m\n\nnothing is changed: without --print it goes into /u/.mlxd/config.toml\n"
    );
    let text = report(place, &outcome, &["/l is linked".into()], (path, false));
    assert!(text.contains("\ntaken over:\n") && text.contains("links:\n  /l is linked\n"), "{text}");
    assert!(report(place, &Outcome::default(), &[], (path, false)).ends_with("nothing to take over\n"));
}
