//! Codex with a catalogue: it sends `apply_patch` as a custom tool, whose calls are text under a grammar.

use std::process::Command;

use e2e::http;
use e2e::induction::{Script, Turn};
use serde_json::json;

use super::codex::Codex;
use super::{Agent, FIRST_ANSWER, SECOND_ANSWER, Workspace, run};

/// Replaces the note's word and adds a file.
const PATCH: &str = "*** Begin Patch\n*** Update File: note.txt\n@@\n-heliotrope\n+mauve \"or\" \\violet\n\
    *** Add File: result.txt\n+patched\n*** End Patch\n";

/// Codex with the catalogue that `docs/src/clients.md` has a user fetch.
struct Catalogued(Codex);

impl Agent for Catalogued {
    fn script(&self, _workspace: &Workspace) -> Script {
        let turns = vec![
            Turn::Call("apply_patch", json!({"input": PATCH})),
            Turn::Call("exec_command", json!({"cmd": "cp note.txt asked.txt"})),
            Turn::Say(FIRST_ANSWER.into()),
            Turn::Say(SECOND_ANSWER.into()),
        ];
        Script { turns, aside: "A note", summary: None }
    }

    fn configure(&self, workspace: &Workspace) {
        self.0.configure(workspace);
        let catalogue = http::get(&format!("{}/v1/models?client_version=0.171.0", workspace.base)).unwrap();
        std::fs::write(workspace.home().join("mlxd.json"), catalogue.body.to_string()).unwrap();
    }

    fn ask(&self, workspace: &Workspace, question: &str, continued: bool) -> Command {
        self.0.ask(workspace, question, continued)
    }

    fn call_mark(&self) -> &'static str {
        "response.custom_tool_call_input.delta"
    }

    fn path(&self) -> &'static str {
        self.0.path()
    }
}

fn session_patches_files(kills: bool) {
    let agent = Catalogued(Codex { settings: "model_catalog_json = \"mlxd.json\"\n", ..Codex::default() });
    let session = run(&agent, &["Replace the word in note.txt.", "What is that?"], kills);
    session.expect_answers(&[FIRST_ANSWER, SECOND_ANSWER]);
    session.expect_cached();
    assert!(session.written == ["patched", "mauve \"or\" \\violet"], "{:?}", session.written);
    let first = session.turns().next().unwrap();
    let tools = first.request["tools"].as_array().unwrap();
    let patches = tools.iter().find(|tool| tool["name"] == "apply_patch").unwrap();
    assert_eq!((&patches["type"], &patches["format"]["syntax"]), (&json!("custom"), &json!("lark")));
    assert_eq!(session.turns().count(), 4, "{}", session.story());
}

#[test]
fn codex_session_patches_files_by_a_custom_tool() {
    session_patches_files(false);
}

#[test]
fn codex_session_with_a_patch_survives_a_killed_worker() {
    session_patches_files(true);
}
