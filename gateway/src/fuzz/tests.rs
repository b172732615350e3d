use proptest::prelude::*;

/// Valid bodies, one for each endpoint. Small changes of them reach deep into the parsers.
const SEEDS: [&str; 12] = [
    include_str!("../../../fuzz/seeds/request/chat"),
    include_str!("../../../fuzz/seeds/request/completions"),
    include_str!("../../../fuzz/seeds/request/responses"),
    include_str!("../../../fuzz/seeds/request/responses_count"),
    include_str!("../../../fuzz/seeds/request/messages"),
    include_str!("../../../fuzz/seeds/request/messages_count"),
    include_str!("../../../fuzz/seeds/request/embeddings"),
    include_str!("../../../fuzz/seeds/request/rerank"),
    include_str!("../../../fuzz/seeds/request/cohere_embed"),
    include_str!("../../../fuzz/seeds/request/ollama_chat"),
    include_str!("../../../fuzz/seeds/request/ollama_generate"),
    include_str!("../../../fuzz/seeds/request/decisions"),
];

#[test]
fn seeds_are_valid_requests() {
    for (which, seed) in SEEDS.into_iter().enumerate() {
        assert_eq!(usize::from(seed.as_bytes()[0] % 12), which);
        assert!(crate::fuzz::request(seed.as_bytes()), "{seed}");
    }
}

#[test]
fn stream_seed_prefixes_keep_their_texts() {
    let seed = include_bytes!("../../../fuzz/seeds/stream/mixed");
    (0..=seed.len()).for_each(|end| crate::fuzz::stream(&seed[..end]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn changed_requests_are_valid_or_refused(which in 0..12usize, changes in prop::collection::vec((any::<prop::sample::Index>(), 0..8usize,
        prop::sample::select(vec!["", "\"", "{", "}", "[", "]", "null", "-1", "1e999", "\\", ",", "true", "[]", "{}", "\"x\"", "\u{e9}"])), 0..6)) {
        let mut body = SEEDS[which].to_owned();
        for (place, length, text) in changes {
            let start = body.floor_char_boundary(1 + place.index(body.len() - 1));
            let end = body.floor_char_boundary((start + length).min(body.len()));
            body.replace_range(start..end, text);
        }
        crate::fuzz::request(body.as_bytes());
    }

    #[test]
    fn streams_keep_their_texts(data in prop::collection::vec(any::<u8>(), 0..120)) {
        crate::fuzz::stream(&data);
    }
}
