use ipc_proto::generate::{Tool, ToolCall, ToolChoice};

use super::*;

fn summary(kept_bytes: usize, before_question: bool) -> Summary {
    Summary { text: "S".into(), kept_bytes, before_question }
}

/// A conversation of these roles: `s`, `u`, `a` and `t`, each with its index as the text.
fn conversation(roles: &str) -> Vec<Message> {
    let role = |name| match name {
        's' => Role::System,
        'u' => Role::User,
        'a' => Role::Assistant,
        _ => Role::Tool,
    };
    roles.chars().enumerate().map(|(at, name)| Message::text(role(name), at.to_string())).collect()
}

/// The texts after the summary was applied; the summary's own is `S`.
fn applied(summary: &Summary, roles: &str) -> String {
    let mut messages = conversation(roles);
    summary.apply(&mut messages);
    let texts = messages.iter().map(|message| message.content.text().trim_start_matches(HEAD).to_owned());
    texts.collect::<Vec<_>>().join(" ")
}

#[test]
fn summary_replaces_answers_calls_and_results() {
    assert_eq!(applied(&summary(100, false), "suatau"), "0 1 5 S");
    assert_eq!(applied(&summary(100, false), ""), "S");
}

#[test]
fn summary_stands_before_a_question_it_does_not_cover() {
    assert_eq!(applied(&summary(100, true), "suau"), "0 1 S 3");
    // A client that has left out what is before the item has no question there.
    assert_eq!(applied(&summary(100, true), "s"), "0 S");
}

#[test]
fn only_the_newest_user_messages_are_kept() {
    assert_eq!(applied(&summary(2, false), "uauau"), "2 4 S");
    assert_eq!(applied(&summary(0, true), "uauau"), "S 4");
}

#[test]
fn later_summary_replaces_an_earlier_one() {
    let mut messages = conversation("ua");
    summary(100, false).apply(&mut messages);
    messages.extend(conversation("a"));
    Summary { text: "T".into(), ..summary(100, false) }.apply(&mut messages);
    let texts: Vec<_> = messages.iter().map(|message| message.content.text().into_owned()).collect();
    assert_eq!(texts, ["0".to_owned(), format!("{HEAD}T")]);
    assert_eq!(kept_texts(&messages, 100), ["0"]);
}

#[test]
fn sealed_summary_can_be_opened_and_foreign_ones_cannot() {
    let summary = summary(7, true);
    assert_eq!(Summary::open(&summary.seal()), Some(summary));
    for foreign in ["gAAAAAB", "", &sealed::seal("reasoning")] {
        assert_eq!(Summary::open(foreign), None, "{foreign}");
    }
}

#[test]
fn transcript_has_every_turn_but_system_messages() {
    let mut messages = conversation("sua");
    let call = ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into() };
    messages[2].tool_calls.push(call);
    messages.push(Message::result(Some("c".into()), Some("f".into()), "r"));
    assert_eq!(
        transcript(&messages),
        "User: 1\n\nAssistant: 2\n\nAssistant calls f: {}\n\nResult of f: r\n\n"
    );
}

#[test]
fn turn_that_summarises_calls_nothing_and_does_not_think() {
    let chat = ChatPrompt {
        messages: conversation("ua"),
        tools: vec![Tool { name: "f".into(), ..Tool::default() }],
        tool_choice: ToolChoice::Required,
        template_kwargs: Some(r#"{"x":1,"enable_thinking":true}"#.into()),
        truncates: true,
        ..ChatPrompt::default()
    };
    let turn = ordinary_turn(&chat);
    assert_eq!(turn.messages.last(), Some(&Message::text(Role::User, INSTRUCTION)));
    // The tools stay in the prompt, which is cached.
    assert_eq!((&turn.tools, &turn.tool_choice), (&chat.tools, &ToolChoice::Auto));
    assert!(turn.callable_tools().is_empty() && !turn.truncates);
    let kwargs: Value = serde_json::from_str(&turn.template_kwargs.unwrap()).unwrap();
    assert_eq!(kwargs, serde_json::json!({"x": 1, "enable_thinking": false, "thinking": false}));
    let part = part_turn(&chat, Some("S"), "more").messages.remove(0).content.text().into_owned();
    assert!(part.starts_with(HEAD) && part.contains("more") && part.ends_with(INSTRUCTION), "{part}");
}
