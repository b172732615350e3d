//! Finds the newest turn of a conversation. Pure.
//!
//! The user's own media in the newest turn are refused where a model cannot read them, so that no answer pretends to have seen them.
//! A stand-in replaces all others: clients resend the history and the results of tools, and one image would end the conversation for
//! good.

use ipc_proto::generate::Role;

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The user.
    User,
    /// The result of a tool, or a message that contains one.
    Tool,
    /// The model.
    Assistant,
    /// Anything else, such as instructions.
    Other,
}

impl From<Role> for Author {
    fn from(role: Role) -> Self {
        match role {
            Role::System => Self::Other,
            Role::User => Self::User,
            Role::Assistant => Self::Assistant,
            Role::Tool => Self::Tool,
        }
    }
}

/// Returns the index of the first message in which the user's media are refused: the beginning of the newest turn. Returns the number
/// of messages if that turn answers the model's calls: then its media come from an agent's tools.
pub fn refused_from(authors: &[Author]) -> usize {
    let end = match authors {
        // The answer continues the last message, so the newest turn stands before it.
        [before @ .., Author::Assistant] => before.len(),
        all => all.len(),
    };
    let start = authors[..end].iter().rposition(|author| *author == Author::Assistant).map_or(0, |at| at + 1);
    if authors[start..end].contains(&Author::Tool) { authors.len() } else { start }
}

#[cfg(test)]
mod tests {
    use super::Author::{Assistant, Other, Tool, User};
    use super::*;

    #[test]
    fn newest_turn_of_the_user_is_refused() {
        for (authors, first) in [
            (&[User][..], 0),
            (&[Other, User], 0),
            (&[User, Assistant, User], 2),
            (&[User, Assistant, User, Other, User], 2),
            (&[User, Assistant], 0),
            (&[User, Assistant, User, Assistant], 2),
        ] {
            assert_eq!(refused_from(authors), first, "{authors:?}");
        }
    }

    #[test]
    fn turn_that_answers_calls_is_not_refused() {
        for authors in [
            &[User, Assistant, Tool][..],
            &[User, Assistant, Tool, User],
            &[User, Assistant, Tool, Assistant],
        ] {
            assert_eq!(refused_from(authors), authors.len(), "{authors:?}");
        }
    }
}
