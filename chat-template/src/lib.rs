//! Chat templates: from a conversation to the prompt that a model was trained on.
//!
//! The reference is Transformers' `apply_chat_template`: where it renders a conversation, this crate renders the same text. Where it
//! raises an error, the crate tries other ways to write the same conversation and reports which one it took.
//!
//! - [`Templates`] finds the templates of a model folder and picks one for a request.
//! - [`ChatTemplate`] compiles and renders one template.
//! - [`ControlTokens`] keeps control tokens in a client's text from being read as control tokens.
//!
//! Templates come with models and are untrusted programs: instructions, recursion and time are bounded.

mod control_tokens;
mod conversation;
mod environment;
mod python;
mod template;
mod templates;
mod values;

pub use control_tokens::ControlTokens;
pub use conversation::Adaptation;
pub use environment::Clock;
pub use template::{ChatTemplate, Rendered};
pub use templates::{Purpose, Source, TemplateFile, Templates, read_template_files};
