//! The requested length of an answer, in OpenAI's protocols. It is a hint to the model in words: models here know no such setting.

use ipc_proto::generate::{Message, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The requested length of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are self-evident")]
pub enum Verbosity {
    Low,
    #[default]
    Medium,
    High,
}

impl Verbosity {
    /// Adds the hint to the system message at the beginning of a conversation. The default adds nothing.
    pub fn apply(self, messages: &mut Vec<Message>) {
        let hint = match self {
            Self::Low => "Answer briefly.",
            Self::Medium => return,
            Self::High => "Answer in detail.",
        };
        match messages.first_mut() {
            Some(first) if first.role == Role::System => first.content.push_text(&format!("\n\n{hint}")),
            _ => messages.insert(0, Message::text(Role::System, hint)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(verbosity: Verbosity, roles: &[Role]) -> Vec<(Role, String)> {
        let mut messages: Vec<_> = roles.iter().map(|role| Message::text(*role, "x")).collect();
        verbosity.apply(&mut messages);
        messages.iter().map(|message| (message.role, message.content.text().into_owned())).collect()
    }

    #[test]
    fn low_and_high_end_the_system_message_with_a_hint() {
        for (verbosity, text) in
            [(Verbosity::Low, "x\n\nAnswer briefly."), (Verbosity::High, "x\n\nAnswer in detail.")]
        {
            let expected = [(Role::System, text.to_owned()), (Role::User, "x".into())];
            assert_eq!(applied(verbosity, &[Role::System, Role::User]), expected);
        }
    }

    #[test]
    fn hint_is_the_system_message_where_there_is_none() {
        let expected = [(Role::System, "Answer briefly.".to_owned()), (Role::User, "x".into())];
        assert_eq!(applied(Verbosity::Low, &[Role::User]), expected);
    }

    #[test]
    fn medium_adds_nothing() {
        assert_eq!(applied(Verbosity::Medium, &[Role::User]), [(Role::User, "x".into())]);
    }
}
