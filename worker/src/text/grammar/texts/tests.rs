use ipc_proto::generate::Constraint;
use proptest::prelude::*;
use serde_json::Value;

use super::super::tests::SMOLLM2;
use super::*;

/// A grammar in the manner of agents' patches: marked lines of any text, an import, aliases, an optional last line break.
const EDITS: &str = r#"
start: open edit+ close
open: "=== Edits" LF
close: "=== Done" LF?
# A comment with "quotes" and /slashes/.
edit: make | remove | change
make: "=== New: " path LF new_line+
remove: "=== Gone: " path LF
change: "=== Old: " path LF move? lines?
move: "=== To: " path LF
path: /(.+)/
new_line: "+" /(.*)/ LF -> line
lines: (place | line)+ last?
place: ("@" | "@ " /(.+)/) LF
line: ("+" | "-" | " ") /(.*)/ LF
last: "=== Last" LF

%import common.LF
"#;

fn lark(text: &str) -> TextGrammar {
    TextGrammar::Lark(text.into())
}

/// A constraint to texts of a grammar as a call writes them: raw between marks, or a JSON string.
fn constraint(grammar: &TextGrammar, form: TextForm) -> Result<Constraint, String> {
    let terminal = text_terminal("t", grammar, "OF", form)?;
    let start = if form == TextForm::Raw { r#""<" OF ">""# } else { r#""\"" OF "\"""# };
    Ok(Constraint::Lark(format!("start: WHOLE\nWHOLE: {start}\n{terminal}")))
}

fn written(text: &str, form: TextForm) -> String {
    if form == TextForm::Raw { format!("<{text}>") } else { Value::from(text).to_string() }
}

/// Whether a grammar accepts a text, in either form.
fn accepts(grammar: &TextGrammar, text: &str) -> bool {
    let form = |form| SMOLLM2.accepts(&constraint(grammar, form).unwrap(), &written(text, form));
    let (raw, json) = (form(TextForm::Raw), form(TextForm::Json));
    assert_eq!(raw, json, "{text:?} in {grammar:?}");
    json
}

#[test]
fn grammar_of_edits_accepts_edits() {
    let edits = "=== Edits\n=== Old: a \"b\\c\".txt\n=== To: é\n@ f(\"x\")\n-\t\\n\n+\n=== Last\n=== New: x\n+{\"a\": 1}\n=== Done";
    for text in [edits, &format!("{edits}\n")] {
        assert!(accepts(&lark(EDITS), text), "{text}");
    }
    for text in ["", "=== Edits\n=== Done", &edits.replace("=== To", "=== Too"), &format!("{edits}\n\n")] {
        assert!(!accepts(&lark(EDITS), text), "{text}");
    }
}

/// Every construct, with texts that match and texts that do not.
#[test]
fn constructs_of_lark_keep_their_meaning() {
    let cases: [(&str, &[&str], &[&str]); 17] = [
        ("start: \"a\\n\\\"\\\\\\x41\"", &["a\n\"\\A"], &["a", "a\\n"]),
        ("start: \"ab\"i", &["ab", "AB", "aB"], &["b"]),
        ("start: \"a\"..\"c\"", &["a", "b"], &["d", "-", "ab"]),
        ("start: /a.c/ /a.c/s", &["a\"ca\nc", "a\\ca\tc"], &["a\nca\nc"]),
        ("start: /[^a]/ /\\s/ /\\\\/ /\\//", &["\n\n\\/", "\u{1}\t\\/", "é \\/"], &["a \\/", "b \\\\"]),
        ("start: /A+/i /x y/x", &["aAxy"], &["aAx y"]),
        ("start: (\"a\" | \"b\")* [\"c\"]", &["", "abac", "c"], &["ca"]),
        ("start: \"a\"{2,3} \"b\"~2 \"c\"~1..2", &["aabbc", "aaabbcc"], &["abbc", "aabc", "aabbccc"]),
        ("start: \"a\"{2,} \"b\"{,2}", &["aa", "aaaabb"], &["ab", "aabbb"]),
        ("start: A \"\\n\"\nA: /[a-z\"]+/ & ~/.*ab.*/", &["ba\n", "a\"\n"], &["cabc\n"]),
        ("start: ~/a|\"/", &["", "b", "a\"", "\\", "\n"], &["a", "\""]),
        ("start: one\n  | two\n\none: \"1\" -> x\n?two: \"2\"\n", &["1", "2"], &["12"]),
        ("start: \"a\" /b+/ \"\\n\"\n%ignore /[ \\t]/", &["ab\n", " a\t bb \n "], &["ab b\n"]),
        (
            "start: _x Y\n_x: \"x\"\nY: \"y\"\n%import common.WS -> GAP\n%ignore GAP",
            &["xy", "x \n\ty\n"],
            &["x_y"],
        ),
        (
            "start: (INT | ESCAPED_STRING)+\n%import common (INT, ESCAPED_STRING)",
            &["12", "\"a\\\"\"3"],
            &["\"", "a"],
        ),
        ("start: x | y\nx: \"\"\ny: /\"/ x /\"/", &["", "\"\""], &["\""]),
        ("start: \"// no comment\" /#/ # one\n", &["// no comment#"], &["// no comment"]),
    ];
    for (grammar, good, bad) in cases {
        for text in good {
            assert!(accepts(&lark(grammar), text), "{text:?} in {grammar}");
        }
        for text in bad {
            assert!(!accepts(&lark(grammar), text), "{text:?} in {grammar}");
        }
    }
}

#[test]
fn regular_expression_matches_the_whole_text() {
    let pattern = TextGrammar::Regex(r#"^(\w+|"[^"]*")\n?$"#.into());
    for (text, fits) in [("ab\n", true), ("\"a\nb\"", true), ("a b", false), ("\"a", false)] {
        assert_eq!(accepts(&pattern, text), fits, "{text:?}");
    }
}

#[test]
fn unusable_grammar_is_refused_with_the_tools_name() {
    let nested: String = (0..300).map(|at| format!("a{at}: a{}\n", at + 1)).collect();
    let nested = format!("start: a0\n{nested}a300: \"x\"\n");
    for (grammar, word) in [
        (lark("start: \"a\" start | \"b\""), "\"start\""),
        (lark("start: a\na: \"(\" b \")\"\nb: a | \"x\""), "\"a\""),
        (lark("start: x"), "x"),
        (lark("begin: \"x\""), "start"),
        (lark("start: \"x"), "lexer"),
        (lark("start: %json {}"), "%json"),
        (lark("start: <[7]>"), "<[7]>"),
        (lark("start: x\nx[lazy]: /a*/"), "[lazy]"),
        (lark("start: WORDY\n%import common.WORDY"), "WORDY"),
        (lark("start: /a\\bc/"), "lookaround"),
        (lark("start: /(/"), "unclosed group"),
        (lark(&nested), "256"),
        (TextGrammar::Regex("a(?=b)".into()), "look"),
        (TextGrammar::Regex("x".repeat(MAX_TEXT + 1)), "256 KiB"),
    ] {
        let error = text_terminal("edit \"it\"", &grammar, "OF", TextForm::Json).unwrap_err();
        assert!(error.starts_with("the grammar of the tool \"edit \\\"it\\\"\" "), "{error}");
        assert!(error.contains(word), "{error} names {word}");
    }
}

fn line() -> impl Strategy<Value = String> {
    "[a\"\\\\\t\u{1}\u{7f}é😀/{}]{0,6}"
}

/// A text of [`EDITS`].
fn edits() -> impl Strategy<Value = String> {
    let path = line().prop_map(|text| format!("p{text}"));
    let lines = prop::collection::vec(("[+\\- ]", line()), 1..4).prop_map(|lines| {
        lines.into_iter().map(|(sign, text)| format!("{sign}{text}\n")).collect::<String>()
    });
    let edit = (path, lines, 0..4_usize).prop_map(|(path, lines, kind)| match kind {
        0 => format!("=== Gone: {path}\n"),
        1 => format!("=== New: {path}\n+{lines}").replace("\n-", "\n+").replace("\n ", "\n+"),
        2 => format!("=== Old: {path}\n=== To: {path}\n@ {path}\n{lines}"),
        _ => format!("=== Old: {path}\n@\n{lines}=== Last\n"),
    });
    prop::collection::vec(edit, 1..3).prop_map(|all| format!("=== Edits\n{}=== Done", all.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A text matches the rewritten grammar exactly if it matches the original one.
    #[test]
    fn rewritten_grammar_accepts_the_same_texts(
        text in edits(),
        at in any::<prop::sample::Index>(),
        edit in "[=+\"\\\\\n]{0,2}",
        removed in 0..3_usize,
    ) {
        prop_assert!(accepts(&lark(EDITS), &text), "{}", text);
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let end = chars.len().min(at + removed);
        chars.splice(at..end, edit.chars());
        let edited: String = chars.into_iter().collect();
        let original = SMOLLM2.accepts(&Constraint::Lark(EDITS.into()), &edited);
        prop_assert_eq!(accepts(&lark(EDITS), &edited), original, "{}", edited);
    }

    /// No escape but the expected one is accepted.
    #[test]
    fn escaped_text_has_one_form(text in line()) {
        let json = constraint(&lark("start: /(?s:.*)/"), TextForm::Json).unwrap();
        prop_assert!(SMOLLM2.accepts(&json, &written(&text, TextForm::Json)));
        for other in ["\\/", "\\u0061", "\\", "\u{1}", "\"", "\n"] {
            let quoted = format!("\"{other}\"");
            prop_assert!(!SMOLLM2.accepts(&json, &quoted), "{}", quoted);
        }
    }

    #[test]
    fn any_grammar_is_compiled_or_refused(text in "start: [a-z\"/\\[\\](){}|&~*+?%.:\n ]{0,24}") {
        let _ = text_terminal("t", &lark(&text), "OF", TextForm::Json);
    }
}
