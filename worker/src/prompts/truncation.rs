//! Leaves out the oldest turns of a conversation that does not fit the context. Pure.
//!
//! System messages and the newest user message stay. A call stays with its result or goes with it. The rest begins with a user
//! message, because templates expect one after the system message.

use ipc_proto::Result;
use ipc_proto::generate::{ChatPrompt, Message, Role};

use super::EncodedChat;

/// A shortened conversation leaves this part of the context for the output: an eighth.
const OUTPUT_PART: usize = 8;
/// Turns are left out in steps of this part of the context: a quarter. A conversation that grows turn by turn then keeps its
/// beginning for a while, and with it the prefix cache.
const STEP_PART: usize = 4;

/// Returns the prompt without the oldest turns, or `full` if no shorter one fits `context`, in tokens. `encode` makes the prompt
/// of a conversation.
///
/// # Errors
/// Those of `encode`.
pub(super) fn shorten(
    chat: &ChatPrompt,
    full: EncodedChat,
    context: usize,
    encode: impl Fn(&ChatPrompt) -> Result<EncodedChat>,
) -> Result<EncodedChat> {
    let cuts = cuts(&chat.messages);
    let target = target(full.length, context);
    let mut found = None;
    // A later cut leaves a shorter prompt. If none reaches the target, the last one is tried last.
    let (mut low, mut high) = (0, cuts.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let mut shortened = encode(&without_oldest(chat, cuts[middle]))?;
        let length = shortened.length;
        if length <= target {
            high = middle;
        } else {
            low = middle + 1;
        }
        if length <= target || (low == cuts.len() && length < context) {
            let note = format!("the oldest turns are left out: all have {} tokens", full.length);
            shortened.template.adaptations.push(note);
            found = Some(shortened);
        }
    }
    Ok(found.unwrap_or(full))
}

/// The length in tokens that a shortened prompt should have at most.
fn target(full: usize, context: usize) -> usize {
    let limit = context - context / OUTPUT_PART;
    let step = (context / STEP_PART).max(1);
    full.saturating_sub(full.saturating_sub(limit).div_ceil(step) * step)
}

/// The indices before which all messages may be left out, in order.
fn cuts(messages: &[Message]) -> Vec<usize> {
    let Some(newest) = messages.iter().rposition(|message| message.role == Role::User) else {
        return Vec::new();
    };
    let begins = |(at, message): (usize, &Message)| match message.role {
        Role::User => Some(at),
        // A call and its results follow the newest question. The last ones stay.
        Role::Assistant if at > newest => Some(at),
        _ => None,
    };
    messages.iter().enumerate().filter_map(begins).collect()
}

/// The conversation without the messages before `cut` that may be left out.
fn without_oldest(chat: &ChatPrompt, cut: usize) -> ChatPrompt {
    let newest = chat.messages.iter().rposition(|message| message.role == Role::User);
    let mut messages: Vec<Message> = Vec::new();
    for (at, message) in chat.messages.iter().enumerate() {
        if at < cut && Some(at) != newest && message.role != Role::System {
            continue;
        }
        match messages.last_mut() {
            // Models expect one system message at the beginning.
            Some(last) if message.role == Role::System && last.role == Role::System => {
                last.content.push_text("\n\n");
                last.content.append(&message.content);
            }
            _ => messages.push(message.clone()),
        }
    }
    ChatPrompt { messages, ..chat.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [(char, Role); 4] =
        [('s', Role::System), ('u', Role::User), ('a', Role::Assistant), ('t', Role::Tool)];

    /// A conversation of these roles: `s`, `u`, `a` and `t`, each with its index as the text.
    fn chat(roles: &str) -> ChatPrompt {
        let message = |(at, role): (usize, char)| {
            let (_, role) = ROLES.iter().find(|(name, _)| *name == role).unwrap();
            Message::text(*role, at.to_string())
        };
        ChatPrompt { messages: roles.chars().enumerate().map(message).collect(), ..ChatPrompt::default() }
    }

    /// A prompt of ten tokens for each message.
    fn encode(chat: &ChatPrompt) -> Result<EncodedChat> {
        let texts: Vec<_> = chat.messages.iter().map(|message| message.content.text()).collect();
        let length = 10 * texts.len();
        Ok(EncodedChat { text: texts.join(" "), tokens: vec![0; length], length, ..EncodedChat::default() })
    }

    fn shortened(roles: &str, context: usize) -> String {
        let chat = chat(roles);
        shorten(&chat, encode(&chat).unwrap(), context, encode).unwrap().text
    }

    #[test]
    fn cut_is_before_a_user_message_or_a_call_after_the_newest_one() {
        for (roles, expected) in [
            ("suaua", vec![1, 3, 4]),
            ("auau", vec![1, 3]),
            ("suatuatat", vec![1, 4, 5, 7]),
            ("uatt", vec![0, 1]),
            ("sa", vec![]),
        ] {
            assert_eq!(cuts(&chat(roles).messages), expected, "{roles}");
        }
    }

    #[test]
    fn system_messages_newest_question_and_last_call_stay() {
        let kept = |roles: &str, cut| encode(&without_oldest(&chat(roles), cut)).unwrap().text;
        assert_eq!(kept("suaua", 3), "0 3 4");
        assert_eq!(kept("suatuatat", 7), "0 4 7 8");
        assert_eq!(kept("suasua", 4), "0\n\n3 4 5");
    }

    #[test]
    fn oldest_turns_are_left_out_in_steps() {
        let turns = |count| shortened(&format!("s{}u", "ua".repeat(count)), 400);
        // 420 tokens: one step of 100 leaves at most 350.
        assert!(turns(20).starts_with("0 11 12 "), "{}", turns(20));
        // With the next turn the rest still begins there.
        assert!(turns(21).starts_with("0 11 12 "), "{}", turns(21));
        assert!(turns(22).starts_with("0 21 22 "), "{}", turns(22));
    }

    #[test]
    fn what_does_not_reach_the_step_but_fits_is_taken() {
        // The question and its last call have 30 tokens, above the 28 that leave room for an output.
        assert_eq!(shortened("uauatatat", 31), "2 7 8");
    }

    #[test]
    fn conversation_that_fits_nohow_is_unchanged() {
        assert_eq!(shortened("uaua", 15), "0 1 2 3");
        assert_eq!(shortened("sss", 15), "0 1 2");
    }
}
