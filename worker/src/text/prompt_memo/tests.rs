use super::*;

struct Memo {
    memo: PromptMemo,
    start: Instant,
}

impl Memo {
    fn new() -> Self {
        Self { memo: PromptMemo::default(), start: Instant::now() }
    }

    /// Asks for a prompt `ms` milliseconds after the start. Returns whether it was tokenised.
    fn tokenizes(&self, ms: u64, scope: &str, text: &str) -> bool {
        let mut called = false;
        let expected =
            TokenizedPrompt { tokens: vec![text.len() as u32], output_format: OutputFormat::default() };
        let now = self.start + Duration::from_millis(ms);
        let tokenized = self.memo.get_or_tokenize_at(now, (scope, &Prompt::Text(text.into())), || {
            called = true;
            Ok::<_, ()>(expected.clone())
        });
        assert_eq!(tokenized, Ok(expected));
        called
    }
}

#[test]
fn prompt_is_tokenised_once_within_a_second() {
    let memo = Memo::new();
    assert!(memo.tokenizes(0, "a", "one"));
    assert!(!memo.tokenizes(1, "a", "one"));
    assert!(!memo.tokenizes(999, "a", "one"));
    assert!(memo.tokenizes(1000, "a", "one"), "the entry is too old");
}

#[test]
fn prompt_of_another_scope_is_tokenised_again() {
    let memo = Memo::new();
    assert!(memo.tokenizes(0, "a", "one"));
    assert!(memo.tokenizes(0, "b", "one"));
}

#[test]
fn full_memo_drops_the_oldest_prompt() {
    let memo = Memo::new();
    for text in ["one", "two", "three", "four"] {
        assert!(memo.tokenizes(0, "a", text) && !memo.tokenizes(1, "a", text));
    }
    assert!(memo.tokenizes(2, "a", "five"));
    assert!(memo.tokenizes(3, "a", "one"), "the oldest was dropped");
    assert!(!memo.tokenizes(4, "a", "five"));
}

#[test]
fn errors_are_not_kept() {
    let memo = PromptMemo::default();
    let fail = |error| memo.get_or_tokenize("a", &Prompt::Text("x".into()), || Err(error));
    assert_eq!((fail(1), fail(2)), (Err(1), Err(2)));
}
