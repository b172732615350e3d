//! Workers blame fields by the names that chat completions have; clients of other protocols are told their own. Pure.

use ipc_proto::Error;

/// Chat's names and those of Responses.
const RESPONSES: [(&str, &str); 3] =
    [("messages", "input"), ("response_format", "text.format"), ("max_tokens", "max_output_tokens")];
/// Chat's names and those of Messages.
const MESSAGES: [(&str, &str); 2] = [("response_format", "output_config.format"), ("stop", "stop_sequences")];

/// `error` for a client of Responses.
#[must_use]
pub fn of_responses(error: Error) -> Error {
    renamed(error, &RESPONSES)
}

/// `error` for a client of Messages.
#[must_use]
pub fn of_messages(error: Error) -> Error {
    renamed(error, &MESSAGES)
}

/// In its field, and where its message begins with that.
fn renamed(mut error: Error, names: &[(&str, &str)]) -> Error {
    let blamed = error.param.as_deref().and_then(|param| names.iter().find(|(name, _)| *name == param));
    let Some((from, to)) = blamed else { return error };
    if let Some(rest) = error.message.strip_prefix(from).filter(|rest| rest.starts_with([':', ' '])) {
        error.message = format!("{to}{rest}");
    }
    error.param = Some((*to).to_owned());
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_another_name_is_renamed() {
        let told = |error: Error| (error.param.unwrap_or_default(), error.message);
        let schema = Error::invalid("response_format", "response_format: no such keyword");
        let expected = ("text.format".into(), "text.format: no such keyword".into());
        assert_eq!(told(of_responses(schema.clone())), expected);
        let expected = ("output_config.format".into(), "output_config.format: no such keyword".into());
        assert_eq!(told(of_messages(schema)), expected);
        let long = Error::invalid("messages", "the prompt is too long");
        assert_eq!(told(of_responses(long.clone())), ("input".into(), "the prompt is too long".into()));
        assert_eq!(told(of_messages(long.clone())), told(long));
        let stop = Error::invalid("stop", "stopping is wrong");
        assert_eq!(told(of_messages(stop)), ("stop_sequences".into(), "stopping is wrong".into()));
    }
}
