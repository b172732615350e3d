//! Names of the neutral fields in each protocol, and error messages with these names. Pure.

use std::borrow::Cow;

use ipc_proto::{Error, ErrorKind, Field};

/// Returns a field's name in one protocol.
pub type FieldNames = fn(&Field) -> Cow<'_, str>;

/// Returns the name in chat completions, completions, embeddings and the prompt endpoints.
pub fn chat(field: &Field) -> Cow<'_, str> {
    match field {
        Field::Model => "model".into(),
        Field::Messages => "messages".into(),
        Field::Prompt => "prompt".into(),
        Field::Suffix => "suffix".into(),
        Field::Tools => "tools".into(),
        Field::ToolChoice => "tool_choice".into(),
        Field::OutputFormat => "response_format".into(),
        Field::Choices => "n".into(),
        Field::StopTokens => "stop_token_ids".into(),
        Field::LogitBias => "logit_bias".into(),
        Field::Tokens => "tokens".into(),
        Field::Input(at) => format!("input[{at}]").into(),
        Field::Inputs => "input".into(),
        Field::Document(at) => format!("documents[{at}]").into(),
        Field::Dimensions => "dimensions".into(),
        Field::PromptName => "prompt_name".into(),
        Field::Generated => "generated".into(),
        Field::Named(name) => name.as_str().into(),
    }
}

/// Returns the name in Responses.
pub fn responses(field: &Field) -> Cow<'_, str> {
    match field {
        Field::Messages => "input".into(),
        Field::OutputFormat => "text.format".into(),
        field => chat(field),
    }
}

/// Returns the name in Messages.
pub fn messages(field: &Field) -> Cow<'_, str> {
    match field {
        Field::OutputFormat => "output_config.format".into(),
        field => chat(field),
    }
}

/// Returns the name in Ollama's API.
pub fn ollama(field: &Field) -> Cow<'_, str> {
    match field {
        Field::OutputFormat => "format".into(),
        field => chat(field),
    }
}

/// Returns the name of the field that `error` blames.
pub fn param(error: &Error, names: FieldNames) -> Option<String> {
    error.field.as_ref().map(|field| names(field).into_owned())
}

/// Returns the message of `error`. A neutral field's name is put before it, unless the message contains it already.
pub fn message(error: &Error, names: FieldNames) -> String {
    match &error.field {
        None | Some(Field::Named(_)) => error.message.clone(),
        Some(Field::Messages | Field::Prompt) if error.kind == ErrorKind::ContextLength => {
            error.message.clone()
        }
        Some(field) => format!("{}: {}", names(field), error.message),
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::Origin;

    use super::*;

    #[test]
    fn neutral_field_is_named_as_in_each_protocol() {
        let schema = Error::invalid(Field::OutputFormat, "no such keyword");
        for (names, name) in [
            (chat as FieldNames, "response_format"),
            (responses, "text.format"),
            (messages, "output_config.format"),
            (ollama, "format"),
        ] {
            assert_eq!(param(&schema, names).as_deref(), Some(name));
            assert_eq!(message(&schema, names), format!("{name}: no such keyword"));
        }
    }

    #[test]
    fn named_field_keeps_its_message() {
        let error = Error::invalid("stop", "stop: at most 16 texts");
        assert_eq!(
            (param(&error, responses).as_deref(), &*message(&error, responses)),
            (Some("stop"), "stop: at most 16 texts")
        );
    }

    #[test]
    fn context_length_message_has_no_field_name() {
        let long = Error::new(ErrorKind::ContextLength, Origin::Client, "the prompt has 9 tokens")
            .with_field(Field::Messages);
        assert_eq!(
            (param(&long, responses).as_deref(), &*message(&long, responses)),
            (Some("input"), "the prompt has 9 tokens")
        );
    }
}
