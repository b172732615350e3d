//! Between text and tokens: chat template, tokenizer, stop texts, grammars, reasoning and function calls, and
//! sentence-transformers' files.

pub mod detokenize;
pub mod dialect;
pub mod grammar;
pub mod infill;
pub mod model_files;
pub mod reading;
pub mod reasoning;
pub mod recent;
pub mod sentence;
pub mod spelling;
pub mod stop;
pub mod tokenizer;
pub mod tool_parser;
