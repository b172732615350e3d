use super::*;
use crate::text::tokenizer::tests::model;

/// MiniLM's tokenizer with two prompts, for texts of up to `max_tokens`.
fn encoder(max_tokens: u32) -> EncoderModel {
    let tokenizer = Arc::new(Tokenizer::read(&model("all-MiniLM-L6-v2")).unwrap());
    let prompts = [("query", "query: "), ("none", "")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let config = SentenceConfig { prompts: prompts.into(), ..SentenceConfig::default() };
    EncoderModel { tokenizer, config, max_tokens, vocabulary: 30_522, width: 384, matryoshka: false }
}

impl EncoderModel {
    fn embed_all(&self, request: EmbedRequest) -> Result<Vec<EncoderInput>> {
        self.embed_inputs(request, &|| true)
    }

    fn rerank_all(&self, request: &RerankRequest) -> Result<Vec<EncoderInput>> {
        self.rerank_inputs(request, &|| true)
    }
}

fn embed(inputs: &[Input]) -> EmbedRequest {
    EmbedRequest { inputs: inputs.to_vec(), ..EmbedRequest::default() }
}

fn text(text: &str) -> Input {
    Input::Text(text.into())
}

#[test]
fn embed_inputs_get_special_tokens_and_prompts() {
    let encoder = encoder(16);
    let inputs = encoder.embed_all(embed(&[text("example sentence"), Input::Tokens(vec![7, 8])])).unwrap();
    assert_eq!(inputs[0].tokens, [101, 2742, 6251, 102]);
    assert_eq!(inputs[1].tokens, [7, 8], "token ids are taken as they are");
    let refused = encoder.embed_all(embed(&[Input::Tokens(vec![30_522])])).unwrap_err();
    assert!(refused.message.contains("below 30522, not at 30522"), "{refused}");
    assert!(refused.message.contains("check_embedding_ctx_length=False"), "{refused}");
    let named = EmbedRequest { prompt_name: Some("query".into()), ..embed(&[text("example")]) };
    assert_eq!(encoder.embed_all(named).unwrap()[0].tokens, [101, 23_032, 1024, 2742, 102]);
}

#[test]
fn prompt_for_a_purpose_is_the_first_that_the_model_has() {
    let prompts = [("passage", "passage: "), ("document", ""), ("query", "q: ")];
    let prompts = prompts.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let config = SentenceConfig {
        prompts: prompts.into(),
        default_prompt: Some("query".into()),
        ..SentenceConfig::default()
    };
    let encoder = EncoderModel { config, ..encoder(16) };
    let prompt = |candidates: &[&str]| {
        let candidates: Vec<String> = candidates.iter().map(|name| (*name).into()).collect();
        encoder.find_prompt(None, &candidates).unwrap()
    };
    assert_eq!(prompt(&["search_document", "document", "passage"]), "passage: ");
    assert_eq!(prompt(&["document"]), "");
    assert_eq!(prompt(&["clustering"]), "q: ", "the default prompt");
    assert_eq!(encoder.find_prompt(Some("query"), &["passage".into()]).unwrap(), "q: ");
}

#[test]
fn long_inputs_are_refused_or_truncated() {
    let encoder = encoder(5);
    let long = [text("a b c d e"), Input::Tokens(vec![9; 7])];
    for input in &long {
        let error = encoder.embed_all(embed(std::slice::from_ref(input))).unwrap_err();
        assert_eq!((error.kind, error.field), (ErrorKind::ContextLength, Some(Field::Input(0))));
        assert!(
            error.message.contains("7 tokens")
                && error.message.contains("maximum context length is 5 tokens"),
            "{}",
            error.message
        );
    }
    let cut = encoder.embed_all(EmbedRequest { truncate: true, ..embed(&long) }).unwrap();
    assert_eq!(cut[0].tokens, [101, 1037, 1038, 1039, 102], "the last special token stays");
    assert_eq!(cut[1].tokens, [9; 5]);
}

#[test]
fn inputs_are_truncated_to_the_limit_of_the_request() {
    let limited = |max_tokens: u32| EmbedRequest {
        truncate: true,
        max_tokens: Some(max_tokens),
        ..embed(&[text("a b c d e"), Input::Tokens(vec![9; 7])])
    };
    let cut = encoder(16).embed_all(limited(4)).unwrap();
    assert_eq!((&*cut[0].tokens, &*cut[1].tokens), (&[101, 1037, 1038, 102][..], &[9; 4][..]));
    let cut = encoder(5).embed_all(limited(100)).unwrap();
    assert_eq!((cut[0].tokens.len(), cut[1].tokens.len()), (5, 5), "the model's limit holds");
}

#[test]
fn rerank_inputs_mark_the_second_text_and_truncate_the_longer_one() {
    let documents = vec!["c d e f".into()];
    let request = RerankRequest { query: "a b".into(), documents, max_document_tokens: None, truncate: true };
    let inputs = encoder(16).rerank_all(&request).unwrap();
    assert_eq!(inputs[0].tokens, [101, 1037, 1038, 102, 1039, 1040, 1041, 1042, 102]);
    assert_eq!(inputs[0].second_start, 4);
    let cut = encoder(7).rerank_all(&request).unwrap();
    assert_eq!(cut[0].tokens, [101, 1037, 1038, 102, 1039, 1040, 102]);
    let refused = encoder(7).rerank_all(&RerankRequest { truncate: false, ..request }).unwrap_err();
    assert_eq!(refused.field, Some(Field::Document(0)));
}

/// The query keeps its length. The check of the total length follows the truncation.
#[test]
fn documents_are_truncated_to_max_document_tokens() {
    let documents = vec!["c d e f".into(), "c".into()];
    let request =
        RerankRequest { query: "a b".into(), documents, max_document_tokens: Some(2), truncate: false };
    let inputs = encoder(7).rerank_all(&request).unwrap();
    assert_eq!(inputs[0].tokens, [101, 1037, 1038, 102, 1039, 1040, 102]);
    assert_eq!(inputs[1].tokens, [101, 1037, 1038, 102, 1039, 102]);
    assert_eq!((inputs[0].second_start, inputs[1].second_start), (4, 4));
    let whole = RerankRequest { max_document_tokens: Some(u32::MAX), ..request };
    assert_eq!(encoder(16).rerank_all(&whole).unwrap()[0].tokens.len(), 9);
}

#[test]
fn unsupported_values_name_their_field() {
    let encoder = encoder(16);
    for (request, field) in [
        (EmbedRequest { dimensions: Some(385), ..embed(&[text("a")]) }, Field::Dimensions),
        (EmbedRequest { dimensions: Some(100), ..embed(&[text("a")]) }, Field::Dimensions),
        (EmbedRequest { prompt_name: Some("x".into()), ..embed(&[text("a")]) }, Field::PromptName),
        (embed(&[Input::Tokens(vec![30_522])]), Field::Input(0)),
        (embed(&[text("a"), Input::Tokens(vec![])]), Field::Input(1)),
        (embed(&vec![Input::Tokens(vec![1]); 40_000]), Field::Inputs),
    ] {
        assert_eq!(encoder.embed_all(request).unwrap_err().field, Some(field));
    }
    assert!(encoder.embed_all(EmbedRequest { dimensions: Some(384), ..embed(&[text("a")]) }).is_ok());
    let matryoshka = EncoderModel { matryoshka: true, ..encoder };
    assert!(matryoshka.embed_all(EmbedRequest { dimensions: Some(100), ..embed(&[text("a")]) }).is_ok());
}

#[test]
fn shortened_vectors_have_length_one() {
    let mut vectors = vec![vec![3.0, 4.0, 12.0]];
    shorten(&mut vectors, Some(2));
    assert_eq!(vectors, [[0.6, 0.8]]);
    let mut whole = vec![vec![3.0, 4.0]];
    shorten(&mut whole, Some(2));
    shorten(&mut whole, None);
    assert_eq!(whole, [[3.0, 4.0]], "nothing was cut");
}

#[test]
fn rest_of_a_huge_text_is_not_tokenised() {
    let encoder = encoder(16);
    let huge = [text(&"word ".repeat(3_000_000))];
    let error = encoder.embed_all(embed(&huge)).unwrap_err();
    assert_eq!((error.kind, error.field), (ErrorKind::ContextLength, Some(Field::Input(0))));
    assert!(error.message.starts_with("it has more than 1"), "{}", error.message);
    let cut = EmbedRequest { truncate: true, ..embed(&huge) };
    let short = EmbedRequest { truncate: true, ..embed(&[text(&"word ".repeat(20))]) };
    let tokens = |request| encoder.embed_all(request).unwrap().remove(0).tokens;
    assert_eq!(tokens(cut), tokens(short));
}
