//! Compaction by coding agents: the model sums up a session, and the session goes on from the summary.

use std::process::Command;

use e2e::induction::{Script, Summary, Turn};
use e2e::recorder::Exchange;
use serde_json::{Value, json};

use super::claude::ClaudeCode;
use super::codex::Codex;
use super::opencode::OpenCode;
use super::{Agent, BLOCK, FIRST_ANSWER, SECOND_ANSWER, Session, WORD, Workspace, run};

/// Occurs in the summary, and nowhere else in a conversation.
const MARK: &str = "the heliotrope was read and nothing is left to be done";
const SUMMARY: &str =
    "<summary>We looked at one note: the heliotrope was read and nothing is left to be done.</summary>";
/// Occurs in Claude Code's request for a summary. The others' are asides, or follow the first answer.
const ASKED: &str = "Respond with TEXT ONLY";
const CONTINUED: &str = "There is nothing left to be done.";

/// An agent whose session is compacted after the first answer.
struct Compacted<A> {
    agent: A,
    read: fn(&Workspace) -> Turn,
    /// The turn between the summary and the second answer, if any.
    between: Option<&'static str>,
}

/// Characters of the note. A digit is a token.
const DIGITS: usize = 9_000;

impl<A: Agent> Agent for Compacted<A> {
    fn script(&self, workspace: &Workspace) -> Script {
        let mut turns =
            vec![(self.read)(workspace), Turn::Say(FIRST_ANSWER.into()), Turn::Say(SUMMARY.into())];
        turns.extend(self.between.map(|text| Turn::Say(text.into())));
        turns.push(Turn::Say(SECOND_ANSWER.into()));
        Script { turns, aside: SUMMARY, summary: Some(Summary { words: MARK, asked_by: ASKED }) }
    }

    fn configure(&self, workspace: &Workspace) {
        self.agent.configure(workspace);
    }

    fn ask(&self, workspace: &Workspace, question: &str, continued: bool) -> Command {
        self.agent.ask(workspace, question, continued)
    }

    fn call_mark(&self) -> &'static str {
        self.agent.call_mark()
    }

    fn path(&self) -> &'static str {
        self.agent.path()
    }

    fn rest_of_note(&self) -> String {
        let line = "31415926535897932384626433832795028841971693993751\n";
        line.repeat(DIGITS.div_ceil(line.len()))
    }
}

/// The request that asks for the summary, and the turns of the conversation.
fn parts(session: &Session, sums_up: fn(&Value) -> bool) -> (&Exchange, Vec<&Exchange>) {
    let asked: Vec<_> = session.exchanges.iter().filter(|exchange| sums_up(&exchange.request)).collect();
    assert!(asked.len() == 1, "{}: {}", asked.len(), session.story());
    (asked[0], session.turns().filter(|exchange| !sums_up(&exchange.request)).collect())
}

/// The turn after the compaction has the summary, no longer the tool's result, and the prompt's beginning from the cache.
fn expect_compacted(session: &Session, turns: &[&Exchange], after: usize) {
    let text = |turn: usize| turns[turn].request.to_string();
    assert!(text(after - 1).contains("3141592653"), "{}", session.story());
    assert!(!text(after).contains("3141592653"), "{}", session.story());
    let (first, before, now) =
        (turns[0].prompt().unwrap(), turns[after - 1].prompt().unwrap(), turns[after].prompt().unwrap());
    assert!(now.tokens < before.tokens, "{}", session.story());
    // Tools and system message have not changed, and they are most of the first prompt.
    assert!(now.cached >= first.tokens * 3 / 4, "{}", session.story());
}

fn codex(provider: &'static str) -> Compacted<Codex> {
    Compacted {
        agent: Codex { settings: "model_auto_compact_token_limit = 14000\n", provider, ..Codex::default() },
        read: |_| Turn::Call("exec_command", json!({"cmd": "cat note.txt"})),
        between: None,
    }
}

const QUESTIONS: [&str; 2] = ["What does note.txt say?", "What is that?"];

/// Codex writes the request for a summary itself, and the summary into a message.
#[test]
fn codex_session_is_compacted_by_codex() {
    let session = run(&codex("mlxd"), &QUESTIONS, false);
    session.expect_answers(&[FIRST_ANSWER, SECOND_ANSWER]);
    let (_, turns) = parts(&session, |request| request["tools"] == json!([]));
    assert_eq!(turns.len(), 3, "{}", session.story());
    assert!(turns[2].request.to_string().contains(MARK), "{}", session.story());
    expect_compacted(&session, &turns, 2);
}

/// Where the provider is OpenAI by name, the server writes the summary.
#[test]
fn codex_session_is_compacted_by_the_server() {
    let session = run(&codex("OpenAI"), &QUESTIONS, false);
    session.expect_answers(&[FIRST_ANSWER, SECOND_ANSWER]);
    let is_trigger = |item: &Value| item["type"] == "compaction_trigger";
    let (asked, turns) = parts(&session, |request| {
        request["input"]
            .as_array()
            .is_some_and(|items| items.iter().any(|item| item["type"] == "compaction_trigger"))
    });
    assert!(asked.request["input"].as_array().unwrap().last().is_some_and(is_trigger));
    assert_eq!(turns.len(), 3, "{}", session.story());
    let items = turns[2].request["input"].as_array().unwrap();
    assert!(items.iter().any(|item| item["type"] == "compaction"), "{}", session.story());
    expect_compacted(&session, &turns, 2);
    // The request for the summary has the conversation's beginning.
    let (before, asked) = (turns[1].prompt().unwrap(), asked.prompt().unwrap());
    assert!(asked.cached >= before.tokens * 9 / 10 - BLOCK, "{}", session.story());
}

#[test]
fn claude_code_session_is_compacted_by_command() {
    let agent = Compacted {
        agent: ClaudeCode,
        read: |workspace| {
            let note = workspace.work().join("note.txt").display().to_string();
            Turn::Call("Read", json!({"file_path": note}))
        },
        // Claude Code keeps the last answer beside the summary.
        between: Some(FIRST_ANSWER),
    };
    let session = run(&agent, &[QUESTIONS[0], "/compact", QUESTIONS[1]], false);
    session.expect_answers(&[FIRST_ANSWER, "compact_boundary", SECOND_ANSWER]);
    let (asked, turns) = parts(&session, |request| {
        let messages = request["messages"].as_array();
        messages.and_then(|all| all.last()).is_some_and(|last| last.to_string().contains(ASKED))
    });
    assert_eq!(turns.len(), 3, "{}", session.story());
    assert!(turns[2].request.to_string().contains(MARK), "{}", session.story());
    expect_compacted(&session, &turns, 2);
    let (before, asked) = (turns[1].prompt().unwrap(), asked.prompt().unwrap());
    assert!(asked.cached >= before.tokens * 9 / 10 - BLOCK, "{}", session.story());
}

#[test]
fn opencode_session_is_compacted_when_its_context_is_full() {
    let agent = Compacted {
        agent: OpenCode { context: 18_000 },
        read: |workspace| {
            let note = workspace.work().join("note.txt").display().to_string();
            Turn::Call("read", json!({"filePath": note}))
        },
        // OpenCode has the model go on.
        between: Some(CONTINUED),
    };
    let session = run(&agent, &QUESTIONS, false);
    session.expect_answers(&[CONTINUED, SECOND_ANSWER]);
    let (asked, turns) =
        parts(&session, |request| request.to_string().contains("context summarization agent"));
    assert!(asked.request.to_string().contains(WORD), "{}", session.story());
    assert_eq!(turns.len(), 4, "{}", session.story());
    assert!(turns[2].request.to_string().contains(MARK), "{}", session.story());
    expect_compacted(&session, &turns, 2);
}
