//! Chat templates: from a conversation to the prompt that a model was trained on.
//!
//! The reference is `apply_chat_template` of Transformers: this crate renders the same text. If the reference raises an error, this crate
//! tries other forms of the same conversation and reports the changes.
//!
//! - [`Templates`] finds the templates of a model folder and chooses one for a request.
//! - [`ChatTemplate`] compiles and renders one template.
//! - [`ControlTokens`] finds control tokens in a client's text, which must be tokenised as plain text.
//!
//! Templates come with models and are untrusted programs: instructions, memory, depth and time are bounded.

mod assignments;
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
pub use template::{ChatTemplate, Rendered, STACK_BYTES};
pub use templates::{Purpose, Source, TemplateFile, Templates, read_template_files};
