//! Measures constrained decoding for the models in a folder: preparing the vocabulary, compiling, masks.
//! `cargo run --release -p worker --example grammar_cost -- .mlx/models/*`

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::path::Path;
use std::time::{Duration, Instant};

use ipc_proto::generate::Constraint;
use worker::text::model_files::ModelFiles;

const SCHEMA: &str = r##"{"type":"object","properties":{"id":{"type":"integer","minimum":1,"maximum":99999},
    "name":{"type":"string","maxLength":80},"kind":{"enum":["person","company","place"]},
    "tags":{"type":"array","items":{"type":"string"},"maxItems":8},
    "address":{"$ref":"#/$defs/address"},"score":{"type":"number","minimum":0,"maximum":1}},
    "required":["id","name","kind","tags","address","score"],"additionalProperties":false,
    "$defs":{"address":{"type":"object","properties":{"street":{"type":"string"},"zip":{"type":"string",
    "pattern":"^[0-9]{5}$"},"city":{"type":"string"}},"required":["street","city"],"additionalProperties":false}}}"##;
const TEXT: &str = r#"{"id": 4711, "name": "Grace Brewster Hopper", "kind": "person", "tags": ["navy", "COBOL", "compilers"],
 "address": {"street": "1 Main Street, third floor", "zip": "22201", "city": "Arlington"}, "score": 0.875}"#;

fn main() -> Result<(), String> {
    for folder in std::env::args().skip(1) {
        let files = ModelFiles::read(Path::new(&folder))?;
        let start = Instant::now();
        files.grammars.prepare()?;
        println!("{folder}: {} tokens prepared in {:?}", files.vocabulary, start.elapsed());
        for constraint in [Constraint::JsonObject, Constraint::JsonSchema(SCHEMA.into())] {
            for round in ["first", "second"] {
                masks(&files, &constraint, round)?;
            }
        }
    }
    Ok(())
}

fn masks(files: &ModelFiles, constraint: &Constraint, round: &str) -> Result<(), String> {
    let start = Instant::now();
    let mut matcher = files.grammars.compile(constraint)?;
    let compiled = start.elapsed();
    let mut words = vec![0; files.grammars.mask_words()];
    let (mut took, mut pushed) = (Vec::new(), Duration::ZERO);
    for token in files.tokenizer.encode(TEXT, false)? {
        let start = Instant::now();
        matcher.mask(&mut words)?;
        took.push(start.elapsed());
        let start = Instant::now();
        matcher.push(token)?;
        pushed += start.elapsed();
    }
    took.sort();
    let (middle, most) = (took[took.len() / 2], took[took.len() - 1]);
    let mean = took.iter().sum::<Duration>() / took.len() as u32;
    let push = pushed / took.len() as u32;
    println!(
        "  {round}: compiled in {compiled:?}; {} masks: mean {mean:?}, median {middle:?}, most {most:?}; push {push:?}",
        took.len()
    );
    Ok(())
}
