//! Refuses prompts that certainly do not fit a model's context, before they cost the worker anything.

use ipc_proto::generate::{ChatPrompt, Message, Prompt, Role};
use ipc_proto::worker::{ModelInfo, TokenBound};
use ipc_proto::{Error, Field, Result};

/// Checks that the prompt may fit. The worker counts exactly.
///
/// # Errors
/// The prompt certainly has a quarter more tokens than fit.
pub(super) fn check(model: &ModelInfo, prompt: &Prompt) -> Result<()> {
    let Some(bound) = &model.token_bound else { return Ok(()) };
    // For a prompt that is a little too long, the worker's error has the exact number.
    let most = model.max_context.saturating_add(model.max_context / 4);
    let exceeded = |parts: &[&str]| bound.is_exceeded(parts.iter().copied(), most as usize);
    let (field, is_hopeless) = match prompt {
        Prompt::Text(text) => (Field::Prompt, exceeded(&[text])),
        Prompt::Infill { before, after } => (Field::Prompt, exceeded(&[before, after])),
        Prompt::Tokens(_) => return Ok(()),
        Prompt::Chat(chat) => {
            (Field::Messages, model.keeps_user_turns && chat_is_hopeless(bound, chat, most as usize))
        }
    };
    if is_hopeless {
        return Err(Error::too_long(field, format_args!("more than {most}"), model.max_context));
    }
    Ok(())
}

/// Templates may drop turns and trim texts, but keep the words of the last user turn.
fn chat_is_hopeless(bound: &TokenBound, chat: &ChatPrompt, most: usize) -> bool {
    let bound = TokenBound { skips_space: true, ..bound.clone() };
    let is_user = |message: &&Message| message.role == Role::User;
    let Some(last) = chat.messages.iter().rfind(is_user).filter(|_| !chat.truncates) else { return false };
    bound.is_exceeded(last.content.texts(), most)
}

#[cfg(test)]
mod tests {
    use ipc_proto::ErrorKind;
    use ipc_proto::worker::ModelKind;

    use super::*;

    /// A context of 8 tokens of up to 4 bytes, so that more than 10 tokens are hopeless.
    fn model() -> ModelInfo {
        ModelInfo {
            architecture: "llama".into(),
            kind: ModelKind::Generate,
            max_context: 8,
            has_chat_template: true,
            weight_bytes: 0,
            token_bound: Some(TokenBound { bytes: 4, untokenized: Vec::new(), skips_space: false }),
            keeps_user_turns: true,
        }
    }

    fn chat(turns: &[(Role, &str)]) -> ChatPrompt {
        let messages = turns.iter().map(|(role, text)| Message::text(*role, *text)).collect();
        ChatPrompt { messages, ..ChatPrompt::default() }
    }

    #[test]
    fn hopeless_texts_are_refused_with_both_numbers() {
        let error = check(&model(), &Prompt::Text("a".repeat(44))).unwrap_err();
        assert_eq!((error.kind, error.field), (ErrorKind::ContextLength, Some(Field::Prompt)));
        assert!(
            error.message.starts_with("prompt is too long: more than 10 tokens > 8 maximum"),
            "{}",
            error.message
        );
        check(&model(), &Prompt::Text("a".repeat(43))).unwrap();
        let infill = Prompt::Infill { before: "a".repeat(22), after: "a".repeat(22) };
        check(&model(), &infill).unwrap_err();
    }

    #[test]
    fn only_words_of_the_last_user_turn_count_in_a_chat() {
        let long = "a".repeat(44);
        let refused = |chat| check(&model(), &Prompt::Chat(chat)).is_err();
        assert!(refused(chat(&[(Role::System, "Hi"), (Role::User, &long), (Role::Assistant, "Hm")])));
        assert!(!refused(chat(&[(Role::User, &" ".repeat(100))])));
        for role in [Role::System, Role::Assistant, Role::Tool] {
            assert!(!refused(chat(&[(role, &long), (Role::User, "Hi")])), "{role:?}");
        }
        assert!(!refused(chat(&[(Role::User, &long), (Role::User, "Hi")])));
    }

    #[test]
    fn chat_that_the_worker_may_shorten_is_not_refused() {
        let long = chat(&[(Role::User, &"a".repeat(44))]);
        check(&model(), &Prompt::Chat(ChatPrompt { truncates: true, ..long.clone() })).unwrap();
        check(&ModelInfo { keeps_user_turns: false, ..model() }, &Prompt::Chat(long.clone())).unwrap();
        check(&ModelInfo { token_bound: None, ..model() }, &Prompt::Chat(long)).unwrap();
    }
}
