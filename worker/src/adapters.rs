//! Between text and tokens: chat template, tokenizer, stop texts, grammars.

pub mod chat_template;
pub mod detokenize;
pub mod grammar;
pub mod model_files;
pub mod spelling;
pub mod stop;
pub mod tokenizer;
