use super::*;
use crate::adapters::tokenizer::tests::model;

/// MiniLM's tokenizer with two prompts, for texts of up to `max_tokens`.
fn reader(max_tokens: u32) -> Reader {
    let tokenizer = Arc::new(Tokenizer::read(&model("all-MiniLM-L6-v2")).unwrap());
    let prompts = [("query", "query: "), ("none", "")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let sentence = Sentence { prompts: prompts.into(), ..Sentence::default() };
    Reader { tokenizer, sentence, max_tokens, vocabulary: 30_522, width: 384, matryoshka: false }
}

fn embed(inputs: &[Input]) -> EmbedRequest {
    EmbedRequest { inputs: inputs.to_vec(), ..EmbedRequest::default() }
}

fn text(text: &str) -> Input {
    Input::Text(text.into())
}

#[test]
fn texts_get_special_tokens_and_prompts() {
    let reader = reader(16);
    let pieces = reader.pieces(embed(&[text("example sentence"), Input::Tokens(vec![7, 8])])).unwrap();
    assert_eq!(pieces[0].tokens, [101, 2742, 6251, 102]);
    assert_eq!(pieces[1].tokens, [7, 8], "token ids are taken as they are");
    let named = EmbedRequest { prompt_name: Some("query".into()), ..embed(&[text("example")]) };
    assert_eq!(reader.pieces(named).unwrap()[0].tokens, [101, 23_032, 1024, 2742, 102]);
}

#[test]
fn what_is_too_long_is_refused_or_cut() {
    let reader = reader(5);
    let long = [text("a b c d e"), Input::Tokens(vec![9; 7])];
    for input in &long {
        let error = reader.pieces(embed(std::slice::from_ref(input))).unwrap_err();
        assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::ContextLength, Some("input[0]")));
        assert!(error.message.contains("7 tokens") && error.message.contains("reads 5"), "{}", error.message);
    }
    let cut = reader.pieces(EmbedRequest { truncate: true, ..embed(&long) }).unwrap();
    assert_eq!(cut[0].tokens, [101, 1037, 1038, 1039, 102], "the last special token stays");
    assert_eq!(cut[1].tokens, [9; 5]);
}

#[test]
fn pairs_know_where_the_second_text_begins_and_the_longer_gives_first() {
    let documents = vec!["c d e f".into()];
    let request = RerankRequest { query: "a b".into(), documents, max_document_tokens: None, truncate: true };
    let pieces = reader(16).pairs(&request).unwrap();
    assert_eq!(pieces[0].tokens, [101, 1037, 1038, 102, 1039, 1040, 1041, 1042, 102]);
    assert_eq!(pieces[0].second, 4);
    let cut = reader(7).pairs(&request).unwrap();
    assert_eq!(cut[0].tokens, [101, 1037, 1038, 102, 1039, 1040, 102]);
    let refused = reader(7).pairs(&RerankRequest { truncate: false, ..request }).unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("documents[0]"));
}

/// The query stays whole, and a document that was cut counts as long as it is then.
#[test]
fn documents_are_cut_to_the_tokens_that_are_asked_for() {
    let documents = vec!["c d e f".into(), "c".into()];
    let request =
        RerankRequest { query: "a b".into(), documents, max_document_tokens: Some(2), truncate: false };
    let pieces = reader(7).pairs(&request).unwrap();
    assert_eq!(pieces[0].tokens, [101, 1037, 1038, 102, 1039, 1040, 102]);
    assert_eq!(pieces[1].tokens, [101, 1037, 1038, 102, 1039, 102]);
    assert_eq!((pieces[0].second, pieces[1].second), (4, 4));
    let whole = RerankRequest { max_document_tokens: Some(u32::MAX), ..request };
    assert_eq!(reader(16).pairs(&whole).unwrap()[0].tokens.len(), 9);
}

#[test]
fn what_the_model_does_not_have_is_named() {
    let reader = reader(16);
    for (request, field) in [
        (EmbedRequest { dimensions: Some(385), ..embed(&[text("a")]) }, "dimensions"),
        (EmbedRequest { dimensions: Some(100), ..embed(&[text("a")]) }, "dimensions"),
        (EmbedRequest { prompt_name: Some("x".into()), ..embed(&[text("a")]) }, "prompt_name"),
        (embed(&[Input::Tokens(vec![30_522])]), "input[0]"),
        (embed(&[text("a"), Input::Tokens(vec![])]), "input[1]"),
        (embed(&vec![Input::Tokens(vec![1]); 40_000]), "input"),
    ] {
        assert_eq!(reader.pieces(request).unwrap_err().param.as_deref(), Some(field));
    }
    assert!(reader.pieces(EmbedRequest { dimensions: Some(384), ..embed(&[text("a")]) }).is_ok());
    let matryoshka = Reader { matryoshka: true, ..reader };
    assert!(matryoshka.pieces(EmbedRequest { dimensions: Some(100), ..embed(&[text("a")]) }).is_ok());
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
