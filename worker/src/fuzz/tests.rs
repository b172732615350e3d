use std::path::Path;

use proptest::prelude::*;

/// Building blocks of outputs and schemas, in addition to arbitrary bytes.
const PIECES: [&str; 40] = [
    "<tool_call>",
    "</tool_call>",
    "{\"name\": ",
    "\"f\"",
    ", \"arguments\": ",
    "{\"a\": \"x\"}",
    "}",
    "]",
    "[",
    "{",
    "<function=f>",
    "</function>",
    "<parameter=a>",
    "</parameter>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|tool_call|>",
    "f(a=",
    ")",
    "'x'",
    "<start_function_call>call:f{a:",
    "<escape>",
    "<think>",
    "</think>",
    "[THINK]",
    "<|channel|>",
    "commentary to=functions.f",
    "<|message|>",
    "<|end|>",
    "```",
    "\n",
    "\"",
    ",",
    "\"properties\": {\"a\": ",
    "\"type\": ",
    "\"string\"",
    "\"$ref\": \"#/$defs/a\"",
    "\"$defs\": {\"a\": ",
    "\"allOf\": [",
    "\"pattern\": \"^a$\"",
];

fn data() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    (prop::collection::vec(any::<u8>(), 3), prop::collection::vec(piece, 0..16))
        .prop_map(|(head, pieces)| [head, pieces.concat()].concat())
}

/// The seeds of a fuzz target, from `fuzz/seeds`.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| std::fs::read(path).unwrap()).collect()
}

/// Runs each seed, and every prefix of it: text that is cut off within a format is the hardest to parse.
#[test]
fn seeds_and_their_prefixes_pass() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 4] = [
        ("output", super::output),
        ("schema", super::schema),
        ("conversation", super::conversation),
        ("image", super::image),
    ];
    for (target, run) in targets {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target}");
        for seed in seeds {
            (0..=seed.len()).for_each(|end| run(&seed[..end]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_outputs_pass(data in data()) {
        super::output(&data);
    }

    #[test]
    fn random_schemas_pass(data in data()) {
        super::schema(&data);
    }

    #[test]
    fn random_conversations_pass(data in data()) {
        super::conversation(&data);
    }

    /// Seeds of which some bytes are others.
    #[test]
    fn damaged_images_pass(seed in any::<prop::sample::Index>(), changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..8)) {
        let seeds = seeds("image");
        let mut data = seed.get(&seeds).clone();
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        super::image(&data);
    }
}
