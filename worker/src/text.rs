//! Converts between text and tokens: tokenizer, detokenizer, stop texts, grammars, parsers of reasoning and function calls, and
//! the model's text files.

pub mod detokenize;
pub mod grammar;
pub mod infill;
pub mod model_files;
pub mod model_formats;
pub mod output_parser;
pub mod reasoning;
pub mod sentence_transformers;
pub mod sink;
pub mod stop;
pub mod token_bytes;
pub mod tokenizer;
pub mod tool_parser;
