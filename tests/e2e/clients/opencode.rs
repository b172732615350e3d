//! OpenCode, by chat completions.

use std::process::Command;

use e2e::induction::{SCRIPTED, Script, Turn};
use serde_json::json;

use super::{Agent, FIRST_ANSWER, RESULT, SECOND_ANSWER, WORD, Workspace, mcp_server};

pub(super) struct OpenCode {
    /// The model's context, as OpenCode knows it.
    pub(super) context: u32,
}

impl Default for OpenCode {
    fn default() -> Self {
        Self { context: 32_768 }
    }
}

impl Agent for OpenCode {
    fn script(&self, workspace: &Workspace) -> Script {
        let note = workspace.work().join("note.txt").display().to_string();
        let turns = vec![
            Turn::Call("read", json!({"filePath": note})),
            Turn::Call(
                "bash",
                json!({"command": format!("echo '{RESULT}' > result.txt"), "description": "Writes the result"}),
            ),
            Turn::Call("plants_describe_plant", json!({"plant": WORD})),
            Turn::Say(FIRST_ANSWER.into()),
            Turn::Say(SECOND_ANSWER.into()),
        ];
        Script { turns, aside: "A note", summary: None }
    }

    fn configure(&self, workspace: &Workspace) {
        let limit = json!({"context": self.context, "output": 4096});
        let provider = json!({"npm": "@ai-sdk/openai-compatible", "name": "mlxd",
            "options": {"baseURL": format!("{}/v1", workspace.base), "apiKey": "none"},
            "models": {SCRIPTED: {"name": "Scripted", "tool_call": true, "limit": limit}}});
        let config = json!({"$schema": "https://opencode.ai/config.json", "autoupdate": false, "share": "disabled",
            "provider": {"mlxd": provider}, "model": format!("mlxd/{SCRIPTED}"), "permission": "allow",
            "mcp": {"plants": {"type": "local", "command": mcp_server(workspace), "enabled": true}}});
        std::fs::write(workspace.work().join("opencode.json"), config.to_string()).unwrap();
        // OpenCode fetches its own plugin library from npm, with no switch against it, unless it finds it installed.
        let own = workspace.home().join(".config/opencode");
        std::fs::create_dir_all(own.join("node_modules")).unwrap();
        let lock =
            json!({"lockfileVersion": 3, "packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}});
        std::fs::write(own.join("package-lock.json"), lock.to_string()).unwrap();
    }

    fn ask(&self, workspace: &Workspace, question: &str, continued: bool) -> Command {
        let mut opencode = workspace.program("opencode");
        opencode.args(["run", "--format", "json", "--model", &format!("mlxd/{SCRIPTED}")]);
        if continued {
            opencode.arg("--continue");
        }
        opencode.arg(question);
        for switch in [
            "OPENCODE_DISABLE_AUTOUPDATE",
            "OPENCODE_DISABLE_MODELS_FETCH",
            "OPENCODE_DISABLE_LSP_DOWNLOAD",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS",
        ] {
            opencode.env(switch, "1");
        }
        opencode
    }

    fn call_mark(&self) -> &'static str {
        "\"tool_calls\":[{"
    }

    fn path(&self) -> &'static str {
        "/v1/chat/completions"
    }
}
