use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use self::schemas::{SCHEMAS, valid};
use super::*;
use crate::text::detokenize::Detokenizer;
use crate::text::token_bytes::TokenBytes;
use crate::text::tokenizer::tests::{byte_fallback, model, smollm2};

mod random;
mod schemas;

/// A tokenizer and its grammars.
pub(super) struct Subject {
    tokenizer: Arc<Tokenizer>,
    pub(super) grammars: Grammars,
    /// Tokens that close strings, objects and lists.
    closers: Vec<u32>,
}

fn subject(tokenizer: Tokenizer, eos: &[u32], rows: u32) -> Subject {
    let tokenizer = Arc::new(tokenizer);
    let grammars = Grammars::new(Arc::clone(&tokenizer), Arc::new(eos.iter().copied().collect()), rows);
    let closing =
        ["\"", "}", "]", "null", "0", ")", "<0x22>", "<0x7D>", "<0x5D>", "<0x6E>", "<0x30>", "<0x29>"];
    let closers = closing.iter().filter_map(|token| tokenizer.id(token)).collect();
    Subject { tokenizer, grammars, closers }
}

pub(super) static SMOLLM2: LazyLock<Subject> = LazyLock::new(|| subject(smollm2(), &[0, 2], 49152));
/// A model whose weights have more rows than its tokenizer has tokens.
static QWEN: LazyLock<Subject> = LazyLock::new(|| {
    let tokenizer = Tokenizer::read(&model("toy-qwen2")).unwrap();
    subject(tokenizer, &[151_643, 151_645], 151_936)
});
/// A tokenizer like SentencePiece's. Its decoder drops the first space.
static PIECES: LazyLock<Subject> = LazyLock::new(|| subject(byte_fallback(), &[1], 300));

fn all() -> [&'static Subject; 3] {
    [&SMOLLM2, &QWEN, &PIECES]
}

impl Subject {
    fn ends(&self, token: u32) -> bool {
        self.grammars.eos.contains(&token)
    }

    fn matcher(&self, constraint: &Constraint) -> Matcher {
        self.grammars.compile(constraint).unwrap()
    }

    fn allowed(&self, matcher: &mut Matcher) -> Vec<u32> {
        let mut words = vec![u32::MAX; self.grammars.mask_words()];
        matcher.mask(&mut words).unwrap();
        let bits = |(at, word): (usize, &u32)| {
            let word = *word;
            (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u32 * 32 + bit)
        };
        words.iter().enumerate().flat_map(bits).collect()
    }

    /// The text that a client receives for these tokens.
    fn streamed(&self, tokens: &[u32]) -> String {
        let mut detokenizer = Detokenizer::new(Arc::clone(&self.tokenizer));
        let mut text: String = tokens.iter().filter_map(|token| detokenizer.push(*token)).collect();
        text += &detokenizer.finish();
        text
    }

    /// Pushes random allowed tokens: `free` of any kind, then preferably closing ones. The result omits the end token.
    fn walk(&self, matcher: &mut Matcher, seed: u64, free: usize) -> Vec<u32> {
        let mut random = seed;
        let mut pick = |from: &[u32]| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            from[(random >> 33) as usize % from.len()]
        };
        let mut tokens = Vec::new();
        for step in 0..6000 {
            let allowed = self.allowed(matcher);
            assert!(!allowed.is_empty(), "after {:?}", self.streamed(&tokens));
            let (ends, text): (Vec<u32>, Vec<u32>) = allowed.iter().partition(|token| self.ends(**token));
            let may_end = !ends.is_empty();
            assert_eq!(matcher.may_end(), may_end);
            if may_end && (step >= free || text.is_empty()) {
                let eos = ends[0];
                matcher.push(eos).unwrap();
                assert!(matcher.is_complete() && matcher.push(eos).is_err());
                return tokens;
            }
            let closing: Vec<u32> =
                text.iter().copied().filter(|token| self.closers.contains(token)).collect();
            // Not always: a number within an object ends only with a comma.
            let soon = step >= free && step % 3 != 0 && !closing.is_empty();
            let token = pick(if soon { &closing } else { &text });
            assert_eq!(matcher.valid(&[token]), Ok(1));
            matcher.push(token).unwrap();
            tokens.push(token);
        }
        panic!("no end: {}", self.streamed(&tokens));
    }

    /// Whether the constraint accepts a whole text in the tokenizer's own tokens.
    pub(super) fn accepts(&self, constraint: &Constraint, text: &str) -> bool {
        let tokens = self.tokenizer.encode(text, false).unwrap();
        let mut matcher = self.matcher(constraint);
        let fits = matcher.valid(&tokens).unwrap() == tokens.len();
        let pushed = tokens.iter().all(|token| matcher.push(*token).is_ok());
        assert_eq!(fits, pushed);
        pushed && matcher.may_end()
    }
}

pub(super) fn schema(text: &str) -> Constraint {
    Constraint::JsonSchema(text.into())
}

/// Checks the text of a random walk against its schema.
fn check(schema: &str, text: &str) {
    let schema: Value = serde_json::from_str(schema).unwrap();
    match serde_json::from_str::<Value>(text) {
        Ok(value) => assert!(valid(&schema, &value, &schema), "{text} is not of {schema}"),
        // A random exponent may exceed the range of numbers. The text is still JSON.
        Err(error) => assert!(error.to_string().contains("number out of range"), "{text}: {error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20, ..ProptestConfig::with_cases(44) })]

    #[test]
    fn allowed_tokens_produce_json_of_the_schema(seed: u64, at in 0..SCHEMAS.len(), free in 0usize..50) {
        for subject in all() {
            let mut matcher = subject.matcher(&schema(SCHEMAS[at]));
            let tokens = subject.walk(&mut matcher, seed, free);
            check(SCHEMAS[at], &subject.streamed(&tokens));
        }
    }

    #[test]
    fn matcher_supports_rollback_clone_and_rebuild(seed: u64, at in 0..SCHEMAS.len(), back in 1usize..6) {
        for subject in [&*SMOLLM2, &*PIECES] {
            let mut matcher = subject.matcher(&schema(SCHEMAS[at]));
            let fresh = matcher.clone();
            let tokens = subject.walk(&mut matcher, seed, 12);
            // The end token is one of the removed tokens.
            let keep = tokens.len().saturating_sub(back - 1);
            matcher.rollback(tokens.len() - keep + 1).unwrap();
            let mut rebuilt = fresh.clone();
            tokens[..keep].iter().for_each(|token| rebuilt.push(*token).unwrap());
            prop_assert_eq!(subject.allowed(&mut matcher), subject.allowed(&mut rebuilt));
            prop_assert_eq!(rebuilt.valid(&tokens[keep..]), Ok(tokens.len() - keep));
            let rest = subject.walk(&mut matcher, seed ^ 1, 3);
            check(SCHEMAS[at], &subject.streamed(&[&tokens[..keep], &rest].concat()));
        }
    }

    #[test]
    fn push_agrees_with_valid(tokens in prop::collection::vec(prop_oneof![0u32..310, any::<u32>()], 1..40)) {
        for subject in [&*SMOLLM2, &*PIECES] {
            let mut matcher = subject.matcher(&Constraint::JsonObject);
            for token in &tokens {
                let before = matcher.clone().valid(&[*token]).unwrap();
                let taken = matcher.push(*token).is_ok();
                prop_assert_eq!(taken, before == 1);
                subject.allowed(&mut matcher);
            }
        }
    }

    #[test]
    fn allowed_tokens_match_a_regular_expression(seed: u64, free in 0usize..20) {
        for subject in all() {
            let mut matcher = subject.matcher(&Constraint::Regex("(ab|é)+[0-9]{2,3} ?".into()));
            let tokens = subject.walk(&mut matcher, seed, free);
            let text = subject.streamed(&tokens);
            let rest = text.trim_start_matches(['a', 'b', 'é']);
            let digits = rest.strip_suffix(' ').unwrap_or(rest);
            prop_assert!((2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()), "{}", text);
            let letters = text[..text.len() - rest.len()].replace("ab", "").replace('é', "");
            prop_assert!(letters.is_empty() && rest.len() < text.len(), "{}", text);
        }
    }

    #[test]
    fn allowed_tokens_match_a_lark_grammar(seed: u64, free in 0usize..20) {
        let grammar = "start: sum\nsum: value (\"+\" value)*\nvalue: NUMBER | \"(\" sum \")\"\nNUMBER: /[0-9]{1,4}/\n";
        for subject in all() {
            let mut matcher = subject.matcher(&Constraint::Lark(grammar.into()));
            let tokens = subject.walk(&mut matcher, seed, free);
            let text = subject.streamed(&tokens);
            let count = |c| text.matches(c).count();
            prop_assert_eq!(count('('), count(')'), "{}", &text);
            prop_assert!(text.bytes().all(|b| b"0123456789+()".contains(&b)) && !text.contains("++"), "{}", text);
        }
    }
}

#[test]
fn constraints_accept_and_refuse_texts() {
    let object = schema(SCHEMAS[1]);
    for subject in all() {
        assert!(subject.accepts(&object, r#"{"name": "Zoë \"Z\"", "age": 31}"#));
        assert!(subject.accepts(&object, "{\n  \"name\": \"x\",\n  \"age\": 3\n}"));
        assert!(!subject.accepts(&object, r#"{"name": "x", "age": 3.5}"#));
        assert!(!subject.accepts(&object, r#"{"name": "x"}"#));
        assert!(!subject.accepts(&object, r#"{"name": "x", "age": 3, "b": 1}"#));
        assert!(subject.accepts(&Constraint::JsonObject, r#"{"a": [1, {"b": null}]}"#));
        assert!(!subject.accepts(&Constraint::JsonObject, "[1]"));
        assert!(subject.accepts(&Constraint::Regex("^[a-c]+/x$".into()), "abc/x"));
        assert!(!subject.accepts(&Constraint::Regex("[a-c]+".into()), "abd"));
    }
}

#[test]
fn forced_text_uses_the_usual_tokenisation() {
    let constraint = schema(r#"{"const":"a fairly long text, and all of it is known: grün"}"#);
    for subject in all() {
        let mut matcher = subject.matcher(&constraint);
        let tokens = subject.walk(&mut matcher, 7, 100);
        let text = subject.streamed(&tokens);
        assert_eq!(text, r#""a fairly long text, and all of it is known: grün""#);
        let own = subject.tokenizer.encode(&text, false).unwrap();
        let same = tokens.iter().zip(&own).filter(|(a, b)| a == b).count();
        assert!(same * 10 >= own.len() * 8, "{tokens:?} {own:?}");
    }
}

#[test]
fn space_that_the_decoder_drops_is_not_part_of_the_grammar() {
    let spaced = Constraint::Regex("( x|y)".into());
    for seed in 0..8 {
        for subject in all() {
            let mut matcher = subject.matcher(&spaced);
            let tokens = subject.walk(&mut matcher, seed, 9);
            assert!(matches!(subject.streamed(&tokens).as_str(), " x" | "y"));
        }
    }
}

#[test]
fn special_tokens_and_missing_rows_are_never_text() {
    let anything = Constraint::Regex("(.|\n)*".into());
    for subject in all() {
        let allowed = subject.allowed(&mut subject.matcher(&anything));
        assert!(allowed.iter().all(|token| {
            subject.ends(*token)
                || subject.tokenizer.token(*token).is_some() && !subject.tokenizer.is_special(*token)
        }));
        let most = allowed.len() as f64 > 0.9 * f64::from(subject.tokenizer.vocabulary());
        assert!(most || subject.grammars.tokens == 300);
    }
}

#[test]
fn token_bytes_agree_with_the_decoder() {
    for subject in all() {
        let token_bytes = TokenBytes::from_decoder(&subject.tokenizer.decoder()).unwrap();
        let before = subject.tokenizer.encode("a", false).unwrap();
        let start = subject.tokenizer.decode(&before).len();
        for token in (0..subject.tokenizer.vocabulary()).filter(|token| !subject.tokenizer.is_special(*token))
        {
            let Some(text) = subject.tokenizer.token(token) else { continue };
            let decoded = subject.tokenizer.decode(&[before.as_slice(), &[token]].concat());
            let bytes = token_bytes.bytes(&text);
            if let Ok(text) = str::from_utf8(&bytes) {
                assert_eq!(&decoded[start..], text, "token {token}");
            }
        }
    }
}

#[test]
fn unsupported_constraint_names_its_problem() {
    let error = |constraint: &Constraint| SMOLLM2.grammars.compile(constraint).unwrap_err();
    let schema = |text: &str| error(&schema(text));
    for (text, part) in [
        (r#"{"type":"array","uniqueItems":true}"#, "\"uniqueItems\""),
        (r#"{"properties":{"a":{"not":{"const":1}}}}"#, "\"not\""),
        (r#"{"$schema":"http://json-schema.org/draft-04/schema#","if":{},"type":"object"}"#, "\"if\""),
        (r#"{"x-guidance":{"lenient":true},"not":{}}"#, "x-guidance"),
        (r#"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#, "anyOf"),
        (r##"{"$ref":"#/$defs/gone"}"##, "$defs"),
        (r#"{"$ref":"http://example.com/schema"}"#, "http://example.com/schema"),
        (r#"{"type":"integer","minimum":3,"maximum":2}"#, "minimum (3)"),
        (r#"{"type":"string","pattern":"a(?=b)"}"#, "pattern that cannot be used: look-around"),
        ("[]", "object or boolean"),
        ("{", "no JSON"),
    ] {
        let error = schema(text);
        assert!(error.starts_with("the JSON schema") && error.contains(part), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let regex = error(&Constraint::Regex("a\\b".into()));
    assert!(regex.starts_with("the regular expression cannot be used: ") && regex.contains("\\b"), "{regex}");
    let lark = error(&Constraint::Lark("start: foo".into()));
    assert!(lark.starts_with("the grammar") && lark.contains("foo"), "{lark}");
    let endless = error(&Constraint::Regex("a{1000000}".into()));
    assert!(
        endless.starts_with("the regular expression cannot be used: ") && !endless.contains('\n'),
        "{endless}"
    );
    let large = error(&Constraint::Lark(" ".repeat(300_000)));
    assert_eq!(large, "the grammar is larger than 256 KiB");
}

#[test]
fn refused_schema_names_keyword_and_place() {
    let tags = r#"{"type":"array","uniqueItems":true}"#;
    for (text, keyword, place) in [
        (
            format!(r#"{{"properties":{{"user":{{"properties":{{"tags":{tags}}}}}}}}}"#),
            "uniqueItems",
            "user.tags",
        ),
        (
            format!(
                r##"{{"properties":{{"a":{{"items":{{"$ref":"#/$defs/T"}}}}}},"$defs":{{"T":{tags}}}}}"##
            ),
            "uniqueItems",
            "a[]",
        ),
        (r#"{"prefixItems":[{},{"additionalProperties":{"not":{"const":1}}}]}"#.into(), "not", "[1].*"),
        (
            r#"{"type":"object","properties":{"n":{"type":"integer","minimum":3,"maximum":2}},"required":["n"]}"#.into(),
            "minimum",
            "n",
        ),
        (
            r#"{"properties":{"c":{"anyOf":[{"type":"null"},{"type":"string","pattern":"(?=a)"}]}}}"#.into(),
            "pattern",
            "c",
        ),
        (
            r#"{"properties":{"n":{"type":"number","minimum":0},"u":{"oneOf":[{"type":"integer"},{"type":"number"}]}}}"#
                .into(),
            "oneOf",
            "u",
        ),
    ] {
        let error = SMOLLM2.grammars.compile(&schema(&text)).expect_err(&text);
        assert!(error.contains(keyword) && error.ends_with(&format!(" (at \"{place}\")")), "{text}: {error}");
    }
}

#[test]
fn deeply_nested_constraints_do_not_crash() {
    let nested = |open: &str, close: &str, times| [open.repeat(times), close.repeat(times)].join("1");
    let chain = |item: &dyn Fn(usize) -> String| -> String { (0..8000).map(item).collect() };
    let terminals = chain(&|at| format!("A{at}: (A{} \"x\")?\n", at + 1));
    let rules = chain(&|at| format!("a{at}: \"x\" a{} | \"y\"\n", at + 1));
    for constraint in [
        schema(&nested(r#"{"properties":{"a":"#, "}}", 60).replace('1', "{}")),
        schema(&nested(r#"{"anyOf":[{"type":"null"},{"items":"#, "}]}", 40).replace('1', "{}")),
        Constraint::Regex(nested("(", ")", 100_000)),
        Constraint::Regex(nested("(a", ")?", 240)),
        Constraint::Lark(format!("start: {}", nested("(", ")", 100_000).replace('1', "\"a\""))),
        Constraint::Lark(format!("start: A0\n{terminals}A8000: \"z\"\n")),
        Constraint::Lark(format!("start: a0\n{rules}a8000: \"z\"\n")),
    ] {
        if let Ok(mut matcher) = SMOLLM2.grammars.compile(&constraint) {
            for _ in 0..20 {
                let mut words = vec![0; SMOLLM2.grammars.mask_words()];
                if matcher.mask(&mut words).is_err() || matcher.is_complete() {
                    break;
                }
                let at = words.iter().position(|word| *word != 0).unwrap();
                matcher.push(at as u32 * 32 + words[at].trailing_zeros()).unwrap();
            }
        }
    }
}

#[test]
fn lark_rule_can_demand_the_end() {
    let mut matcher = SMOLLM2.matcher(&Constraint::Lark("start: t\nt[stop=\"\"]: /[a-z]+/\n".into()));
    let token = SMOLLM2.tokenizer.encode("abc", false).unwrap()[0];
    matcher.push(token).unwrap();
    assert!(SMOLLM2.allowed(&mut matcher).contains(&0));
    matcher.push(0).unwrap();
    assert!(matcher.is_complete());
}

#[test]
fn rollback_beyond_the_start_is_refused() {
    let mut matcher = SMOLLM2.matcher(&Constraint::JsonObject);
    let brace = SMOLLM2.tokenizer.id("{").unwrap();
    matcher.push(brace).unwrap();
    assert!(matcher.rollback(2).is_err());
    matcher.rollback(1).unwrap();
    assert!(matcher.rollback(1).is_err() && matcher.push(brace).is_ok());
}

#[test]
fn long_forced_text_is_tokenised_once() {
    let long = "all of this is known beforehand; ".repeat(600);
    let mut matcher = SMOLLM2.matcher(&schema(&serde_json::json!({ "const": long }).to_string()));
    let start = std::time::Instant::now();
    let tokens = SMOLLM2.walk(&mut matcher, 0, 0);
    assert_eq!(SMOLLM2.streamed(&tokens), format!("\"{long}\""));
    // Tokenising the rest at each step would take quadratic time.
    assert!(tokens.len() > 3000 && start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn unknown_decoder_is_refused() {
    for decoder in [Value::Null, serde_json::json!({"type": "WordPiece", "prefix": "##", "cleanup": true})] {
        assert!(TokenBytes::from_decoder(&decoder).unwrap_err().contains("decoder"));
    }
}

#[test]
fn matcher_without_end_tokens_completes() {
    let grammars = Grammars::new(Arc::clone(&SMOLLM2.tokenizer), Arc::default(), 49152);
    let mut matcher = grammars.compile(&schema(r#"{"const":1}"#)).unwrap();
    let one = SMOLLM2.tokenizer.id("1").unwrap();
    assert!(matcher.push(u32::MAX).is_err() && matcher.push(one).is_ok() && matcher.is_complete());
    let mut words = vec![1; grammars.mask_words()];
    matcher.mask(&mut words).unwrap();
    assert!(words.iter().all(|word| *word == 0));
}
