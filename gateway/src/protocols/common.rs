//! Parsers and writers that several protocols share: bodies, sampling, extensions, labels and field names.

pub mod answer;
pub mod body;
pub mod checks;
pub mod extensions;
pub mod field_names;
pub mod keep_alive;
pub mod labels;
pub mod media;
pub mod rate_limits;
pub mod reasoning;
pub mod sampling;
pub mod unsupported;
