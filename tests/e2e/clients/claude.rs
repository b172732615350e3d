//! Claude Code, by the Messages API.

use std::process::Command;

use e2e::induction::{SCRIPTED, Script, Turn};
use serde_json::json;

use super::{Agent, FIRST_ANSWER, RESULT, SECOND_ANSWER, WORD, Workspace, mcp_server};

pub(super) struct ClaudeCode;

impl Agent for ClaudeCode {
    fn script(&self, workspace: &Workspace) -> Script {
        let note = workspace.work().join("note.txt").display().to_string();
        let turns = vec![
            Turn::Call("Read", json!({"file_path": note})),
            Turn::Call("Bash", json!({"command": format!("echo '{RESULT}' > result.txt")})),
            Turn::Call("mcp__plants__describe_plant", json!({"plant": WORD})),
            Turn::Say(FIRST_ANSWER.into()),
            Turn::Say(SECOND_ANSWER.into()),
        ];
        Script { turns, aside: "A note", summary: None }
    }

    fn configure(&self, _workspace: &Workspace) {}

    fn ask(&self, workspace: &Workspace, question: &str, continued: bool) -> Command {
        let mut claude = workspace.program("claude");
        claude.args(["-p", question, "--output-format", "stream-json", "--verbose", "--model", SCRIPTED]);
        claude.args(["--allowedTools", "Read,Bash,mcp__plants__describe_plant"]);
        let [command, arguments @ ..] = mcp_server(workspace);
        let servers = json!({"mcpServers": {"plants": {"command": command, "args": arguments}}});
        claude.args(["--strict-mcp-config", "--mcp-config", &servers.to_string()]);
        if continued {
            claude.arg("--continue");
        }
        claude.env("ANTHROPIC_BASE_URL", &workspace.base).env("ANTHROPIC_AUTH_TOKEN", "none");
        claude.env("ANTHROPIC_SMALL_FAST_MODEL", SCRIPTED).env("ANTHROPIC_DEFAULT_HAIKU_MODEL", SCRIPTED);
        for switch in [
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "DISABLE_TELEMETRY",
            "DISABLE_ERROR_REPORTING",
            "DISABLE_AUTOUPDATER",
        ] {
            claude.env(switch, "1");
        }
        claude
    }

    fn call_mark(&self) -> &'static str {
        "input_json_delta"
    }

    fn path(&self) -> &'static str {
        "/v1/messages"
    }
}
