//! Parsers and writers that several protocols share: bodies, sampling, extensions, labels and field names.

pub mod answer;
pub mod body;
pub mod checks;
pub mod extensions;
pub mod field_names;
pub mod images;
pub mod keep_alive;
pub mod labels;
pub mod media;
pub mod model_choice;
pub mod original;
pub mod prompt_cache;
pub mod rate_limits;
pub mod reasoning;
pub mod sampling;
pub mod summary;
pub mod text_or;
pub mod token_limit;
pub mod unsupported;
pub mod verbosity;
