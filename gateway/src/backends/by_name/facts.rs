//! Gathers the facts about a generation that the conditions of its routes ask for.

use std::borrow::Cow;

use ipc_proto::gateway::Route;
use ipc_proto::generate::{ChatPrompt, Prompt, Role};
use serde_json::Value;

use crate::backends::GenerateAttempt;
use crate::fleet::{FleetClient, facts};
use crate::inference::excerpt::excerpt;
use crate::inference::images;
use crate::inference::names::Names;
use crate::inference::original::Original;
use crate::inference::routing::{Facts, draw};

/// The bytes of text that count as one token.
const BYTES_PER_TOKEN: usize = 4;
/// The types of parts of a message that are images, in the protocols of clients.
const IMAGE_TYPES: [&str; 3] = ["image", "image_url", "input_image"];

/// The facts about a generation.
pub(super) async fn of_generation(names: &Names, fleet: &FleetClient, attempt: &GenerateAttempt) -> Facts {
    let routes: Vec<&Route> = names.routes_of(&attempt.model).collect();
    let mut known = facts::of_call(names, fleet, &attempt.model, &attempt.course).await;
    // The neutral form of a request that has none is a stand-in.
    let original = attempt.original.as_deref();
    let body = original.filter(|_| asks_for_body(&routes, original)).and_then(parse);
    let neutral = original.is_none_or(|original| original.refused.is_none());
    known.has_tools = match &attempt.generation.prompt {
        Prompt::Chat(chat) if neutral => !chat.callable_tools().is_empty(),
        _ => {
            body.as_ref().is_some_and(|body| body["tools"].as_array().is_some_and(|tools| !tools.is_empty()))
        }
    };
    known.has_images = match &body {
        Some(body) if !neutral => has_images(body),
        _ => images::are_in(&attempt.generation.prompt),
    };
    known.prompt_tokens = Some(prompt_tokens(attempt));
    if routes.iter().any(|route| !route.split.is_empty()) {
        known.draw = draw(&attempt.request_id);
    }
    if routes.iter().any(|route| route.is_judged()) {
        let max_bytes = names.judge().max_prompt_bytes as usize;
        let text = match &body {
            Some(body) if !neutral => last_text_of(body),
            _ => last_text(&attempt.generation.prompt),
        };
        known.text = text.and_then(|text| excerpt(&text, max_bytes)).map(Into::into);
    }
    known
}

/// The last message of the user, or the text to continue.
fn last_text(prompt: &Prompt) -> Option<Cow<'_, str>> {
    match prompt {
        Prompt::Chat(chat) => {
            let mut turns = chat.messages.iter().rev();
            let last = turns.find(|turn| turn.role == Role::User && !turn.content.is_empty())?;
            Some(last.content.text())
        }
        Prompt::Text(text) => Some(Cow::Borrowed(text)),
        Prompt::Tokens(_) | Prompt::Infill { .. } => None,
    }
}

/// The last message of the user in a request that has no neutral form.
fn last_text_of(body: &Value) -> Option<Cow<'_, str>> {
    let text_of = |turn: &Value| match &turn["content"] {
        Value::String(text) => text.clone(),
        content => {
            let parts = content.as_array().into_iter().flatten();
            parts.filter_map(|part| part["text"].as_str()).collect()
        }
    };
    // Chat completions and Messages have messages, Responses has an input, which may be the text itself.
    if let Some(text) = body["input"].as_str() {
        return Some(Cow::Owned(text.to_owned()));
    }
    let turns = body["messages"].as_array().or_else(|| body["input"].as_array())?;
    let turns = turns.iter().rev().filter(|turn| turn["role"] == "user");
    turns.map(text_of).find(|text| !text.is_empty()).map(Cow::Owned)
}

/// About how many tokens the prompt of a generation has.
pub(in crate::backends) fn prompt_tokens(attempt: &GenerateAttempt) -> u32 {
    match attempt.original.as_deref() {
        // Its neutral form is a stand-in.
        Some(original) if original.refused.is_some() => tokens(original.body.len()),
        _ => estimate(&attempt.generation.prompt),
    }
}

fn asks_for_body(routes: &[&Route], original: Option<&Original>) -> bool {
    let is_refused = original.is_some_and(|original| original.refused.is_some());
    let asks = |route: &Route| route.has_tools.is_some() || route.has_images.is_some() || route.is_judged();
    is_refused && routes.iter().any(|route| asks(route))
}

fn parse(original: &Original) -> Option<Value> {
    serde_json::from_slice(&original.body).ok()
}

/// Whether a message of a request has an image.
fn has_images(body: &Value) -> bool {
    let items = |list: &'static str| body[list].as_array().into_iter().flatten();
    // Chat completions and Messages have messages, Responses has an input. Results of tools there have an output.
    let parts = items("messages").chain(items("input")).flat_map(|message| {
        let parts = |field: &'static str| message[field].as_array().into_iter().flatten();
        parts("content").chain(parts("output"))
    });
    let is_image = |part: &Value| part["type"].as_str().is_some_and(|kind| IMAGE_TYPES.contains(&kind));
    // Results of tools in Messages have parts of their own.
    parts
        .into_iter()
        .any(|part| is_image(part) || part["content"].as_array().into_iter().flatten().any(is_image))
}

/// About how many tokens a prompt has.
fn estimate(prompt: &Prompt) -> u32 {
    match prompt {
        Prompt::Chat(chat) => tokens(chat_bytes(chat)),
        Prompt::Text(text) => tokens(text.len()),
        Prompt::Tokens(tokens) => u32::try_from(tokens.len()).unwrap_or(u32::MAX),
        Prompt::Infill { before, after } => tokens(before.len() + after.len()),
    }
}

fn chat_bytes(chat: &ChatPrompt) -> usize {
    let calls = |message: &ipc_proto::generate::Message| -> usize {
        message.tool_calls.iter().map(|call| call.name.len() + call.arguments.len()).sum()
    };
    let messages: usize =
        chat.messages.iter().map(|message| message.content.text().len() + calls(message)).sum();
    let tools: usize = chat
        .tools
        .iter()
        .map(|tool| {
            let description = tool.description.as_deref().map_or(0, str::len);
            tool.name.len() + description + tool.parameters().map_or(0, str::len)
        })
        .sum();
    messages + tools
}

fn tokens(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use ipc_proto::generate::Message;
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_found_in_messages_and_results() {
        for part in [
            json!({"type": "image_url", "image_url": {"url": "x"}}),
            json!({"type": "image", "source": {}}),
            json!({"type": "tool_result", "content": [{"type": "image"}]}),
        ] {
            assert!(has_images(&json!({"messages": [{"content": "x"}, {"content": [part]}]})), "{part}");
        }
        for item in [
            json!({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}),
            json!({"type": "function_call_output", "output": [{"type": "input_image", "image_url": "x"}]}),
        ] {
            assert!(has_images(&json!({"input": [item]})), "{item}");
        }
        let text = json!({"messages": [{"content": [{"type": "text", "text": "image"}]}], "type": "image"});
        assert!(!has_images(&text));
    }

    #[test]
    fn last_words_of_the_user_are_judged() {
        let turn = |role: Role, text: &str| Message::text(role, text);
        let messages = vec![
            turn(Role::User, "first"),
            turn(Role::Assistant, "hm"),
            turn(Role::User, "second"),
            turn(Role::Assistant, "calls"),
            turn(Role::Tool, "a result"),
            turn(Role::User, ""),
        ];
        let chat = Prompt::Chat(ChatPrompt { messages, ..ChatPrompt::default() });
        assert_eq!(last_text(&chat).as_deref(), Some("second"));
        assert_eq!(last_text(&Prompt::Text("go on".into())).as_deref(), Some("go on"));
        assert_eq!(last_text(&Prompt::Tokens(vec![1])), None);
        let body = json!({"messages": [{"role": "user", "content": "first"},
            {"role": "user", "content": [{"type": "text", "text": "sec"}, {"type": "image"}, {"text": "ond"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "x"}]}, {"role": "assistant", "content": "y"}]});
        assert_eq!(last_text_of(&body).as_deref(), Some("second"));
        assert_eq!(last_text_of(&json!({"messages": []})), None);
        let input = json!([{"role": "user", "content": [{"type": "input_text", "text": "second"}]}, {"type": "reasoning"}]);
        assert_eq!(last_text_of(&json!({"input": input})).as_deref(), Some("second"));
        assert_eq!(last_text_of(&json!({"input": "all"})).as_deref(), Some("all"));
    }

    #[test]
    fn prompt_has_a_token_for_four_bytes() {
        let chat = ChatPrompt {
            messages: vec![Message::text(Role::User, "a".repeat(401))],
            ..ChatPrompt::default()
        };
        assert_eq!(estimate(&Prompt::Chat(chat)), 101);
        assert_eq!(estimate(&Prompt::Tokens(vec![1; 7])), 7);
        assert_eq!(estimate(&Prompt::Text(String::new())), 0);
    }
}
