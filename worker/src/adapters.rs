//! Between text and tokens: chat template, tokenizer, stop texts.

pub mod chat_template;
pub mod detokenize;
pub mod model_files;
pub mod stop;
pub mod tokenizer;
