use ipc_proto::generate::{Message, Role};

use super::*;
use crate::text::model_formats::Overrides;
use crate::text::tokenizer::tests::model;

const CONTEXT: u32 = 100;
const WANTED: &dyn Fn() -> bool = &|| true;

fn limits(max_context: Option<u32>) -> Limits<'static> {
    Limits { max_context, wanted: WANTED }
}

fn smollm2() -> ModelFiles {
    ModelFiles::read(&model("SmolLM2-135M-Instruct")).unwrap()
}

fn chat(content: &str, sanitize_control_tokens: Option<bool>) -> Prompt {
    let message = Message { content: content.into(), ..Message::default() };
    Prompt::Chat(ChatPrompt { messages: vec![message], sanitize_control_tokens, ..ChatPrompt::default() })
}

fn text(prompt: &str) -> TokenizeRequest {
    TokenizeRequest {
        prompt: Prompt::Text(prompt.into()),
        add_special: true,
        parse_special: true,
        pieces: false,
    }
}

#[test]
fn render_of_a_chat_returns_the_prompt_of_the_model() {
    let files = smollm2();
    let rendered = render(&files, &chat("Hi", None), CONTEXT, WANTED).unwrap();
    assert!(
        rendered.text.ends_with("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
        "{rendered:?}"
    );
    assert_eq!(rendered.tokens, encode(&files, &chat("Hi", None), limits(None)).unwrap().tokens);
    assert_eq!(files.tokenizer.decode_all(&rendered.tokens), rendered.text);
    assert_eq!(rendered.max_context, CONTEXT);
    let template = rendered.template.unwrap();
    assert_eq!((&*template.name, &*template.file), ("default", "tokenizer_config.json"));
    assert!(template.adaptations.is_empty());
    assert_eq!(template.tool_format.name, "hermes");
    assert_eq!(template.tool_format.reason, "the chat template shows none, so this is the default");
}

#[test]
fn render_of_other_prompts_has_no_template() {
    let files = smollm2();
    let rendered = render(&files, &Prompt::Text("Hi".into()), CONTEXT, WANTED).unwrap();
    assert_eq!((&*rendered.text, rendered.template), ("Hi", None));
    let rendered = render(&files, &Prompt::Tokens(vec![1, 2]), CONTEXT, WANTED).unwrap();
    assert_eq!((&*rendered.text, rendered.tokens), ("<|im_start|><|im_end|>", vec![1, 2]));
}

#[test]
fn render_sanitizes_control_tokens_if_the_request_or_the_model_says_so() {
    let mut files = smollm2();
    let ends = |files: &ModelFiles, asked| {
        let rendered = render(files, &chat("a<|im_end|>b", asked), CONTEXT, WANTED).unwrap();
        assert!(rendered.text.contains("a<|im_end|>b"));
        assert_eq!(files.tokenizer.decode_all(&rendered.tokens), rendered.text);
        let ends = rendered.tokens.iter().filter(|token| **token == 2).count();
        (ends, rendered.template.unwrap().sanitized)
    };
    // The template ends the system's turn and the user's.
    assert_eq!(ends(&files, None), (3, 0));
    assert_eq!(ends(&files, Some(true)), (2, 1));
    files.sanitize_control_tokens = true;
    assert_eq!(ends(&files, None), (2, 1));
    assert_eq!(ends(&files, Some(false)), (3, 0));
}

#[test]
fn template_that_shortens_user_turns_is_known() {
    assert!(keeps_user_turns(&smollm2()));
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(model("SmolLM2-135M-Instruct")).unwrap().map(std::result::Result::unwrap) {
        std::os::unix::fs::symlink(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    for (template, keeps) in [
        ("{% for message in messages %}{{ message.content | trim }}{% endfor %}", true),
        ("{{ messages[-1].content[:1000] }}", false),
        ("{{ messages[-1].content | upper | replace('1', '') }}", false),
    ] {
        std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        assert_eq!(keeps_user_turns(&ModelFiles::read(folder.path()).unwrap()), keeps, "{template}");
    }
}

#[test]
fn model_setting_sanitizes_control_tokens() {
    let overrides = Overrides { sanitize_control_tokens: true, ..Overrides::default() };
    let files = ModelFiles::read_with(&model("SmolLM2-135M-Instruct"), overrides).unwrap();
    assert!(files.sanitize_control_tokens && !smollm2().sanitize_control_tokens);
}

#[test]
fn tokenize_parses_control_tokens_only_on_request() {
    let files = smollm2();
    let ids = |request: &TokenizeRequest| tokenize(&files, request, CONTEXT, WANTED).unwrap().tokens;
    assert_eq!(ids(&text("<|im_start|>"))[..], [1]);
    let plain = TokenizeRequest { parse_special: false, ..text("<|im_start|>") };
    assert!(!ids(&plain).contains(&1));
    assert_eq!(files.tokenizer.decode_all(&ids(&plain)), "<|im_start|>");
    let chat = TokenizeRequest { prompt: chat("Hi", None), ..plain };
    assert_eq!(ids(&chat), encode(&files, &chat.prompt, limits(None)).unwrap().tokens);
}

#[test]
fn tokenize_returns_pieces_that_concatenate_to_the_text() {
    let files = smollm2();
    let request = TokenizeRequest { pieces: true, ..text("Grüße \u{1f600}") };
    let tokenized = tokenize(&files, &request, CONTEXT, WANTED).unwrap();
    assert_eq!(tokenized.pieces.len(), tokenized.tokens.len());
    assert_eq!(tokenized.pieces.concat(), "Grüße \u{1f600}".as_bytes());
    assert_eq!(detokenize(&files, &tokenized.tokens).unwrap(), "Grüße \u{1f600}");
}

#[test]
fn detokenize_of_an_unknown_id_is_refused() {
    let error = detokenize(&smollm2(), &[1, 4_000_000_000]).unwrap_err();
    assert_eq!(error.field, Some(Field::Tokens));
    assert!(error.message.contains("4000000000"), "{error}");
}

/// A conversation of five questions, each of 20 words, with short answers.
fn long_chat(truncates: bool) -> Prompt {
    let mut messages = Vec::new();
    for number in 0..5 {
        messages.push(Message::text(Role::User, format!("Q{number}{}", " word".repeat(20))));
        messages.push(Message::text(Role::Assistant, format!("A{number}")));
    }
    messages.push(Message::text(Role::User, "Last?"));
    Prompt::Chat(ChatPrompt { messages, truncates, ..ChatPrompt::default() })
}

#[test]
fn conversation_that_fills_the_context_loses_its_oldest_turns_if_it_may() {
    let files = smollm2();
    let rendered = render(&files, &long_chat(true), CONTEXT, WANTED).unwrap();
    assert!(rendered.tokens.len() < CONTEXT as usize, "{}", rendered.text);
    assert!(rendered.text.contains("A4") && rendered.text.contains("Last?"), "{}", rendered.text);
    assert!(!rendered.text.contains("Q0"), "{}", rendered.text);
    assert_eq!(rendered.template.unwrap().adaptations.len(), 1);
    assert_eq!(encode(&files, &long_chat(true), limits(Some(CONTEXT))).unwrap().tokens, rendered.tokens);
    let full = render(&files, &long_chat(false), CONTEXT, WANTED).unwrap();
    assert!(full.tokens.len() > CONTEXT as usize && full.text.contains("Q0"), "{}", full.text);
    assert_eq!(render(&files, &long_chat(true), 1000, WANTED).unwrap().tokens, full.tokens);
}

/// A conversation of two questions, the first of this many words.
fn huge_chat(words: usize, truncates: bool) -> Prompt {
    let turns =
        [(Role::User, "word ".repeat(words)), (Role::Assistant, "Yes.".into()), (Role::User, "Last?".into())];
    let messages = turns.into_iter().map(|(role, text)| Message::text(role, text)).collect();
    Prompt::Chat(ChatPrompt { messages, truncates, ..ChatPrompt::default() })
}

#[test]
fn prompt_that_cannot_fit_is_refused_without_tokenising_it() {
    let files = smollm2();
    let refused = |prompt: &Prompt| encode(&files, prompt, limits(Some(CONTEXT))).unwrap_err();
    let text = Prompt::Text("word ".repeat(2_000_000));
    refused(&text);
    let start = std::time::Instant::now();
    for (prompt, field) in [(text, Field::Prompt), (huge_chat(2_000_000, false), Field::Messages)] {
        let error = refused(&prompt);
        assert_eq!((error.kind, error.field.as_ref()), (ErrorKind::ContextLength, Some(&field)));
        assert!(
            error.message.starts_with("prompt is too long: more than 125 tokens > 100 maximum"),
            "{error}"
        );
    }
    // Tokenising them takes seconds.
    assert!(start.elapsed().as_secs_f64() < 5.0, "{:?}", start.elapsed());
}

#[test]
fn huge_turn_is_left_out_of_a_conversation_that_may_be_shortened() {
    let files = smollm2();
    let encoded = encode(&files, &huge_chat(500_000, true), limits(Some(CONTEXT))).unwrap();
    let text = files.tokenizer.decode_all(&encoded.tokens);
    assert!(encoded.tokens.len() < CONTEXT as usize && text.contains("Last?"), "{text}");
}

#[test]
fn nothing_is_tokenised_for_a_client_that_has_gone() {
    let prompt = Prompt::Text("word ".repeat(100_000));
    let gone = Limits { max_context: None, wanted: &|| false };
    assert_eq!(encode(&smollm2(), &prompt, gone).unwrap_err().kind, ErrorKind::Cancelled);
}
