//! Codex, by the Responses API.

use std::process::Command;

use e2e::induction::{SCRIPTED, Script, Turn};
use serde_json::json;

use super::{Agent, FIRST_ANSWER, RESULT, SECOND_ANSWER, WORD, Workspace, mcp_server};

pub(super) struct Codex;

impl Agent for Codex {
    fn script(&self, _workspace: &Workspace) -> Script {
        let turns = vec![
            Turn::Call("exec_command", json!({"cmd": "cat note.txt"})),
            Turn::Call("exec_command", json!({"cmd": format!("echo '{RESULT}' > result.txt")})),
            Turn::Call("mcp__plants__describe_plant", json!({"plant": WORD})),
            Turn::Say(FIRST_ANSWER.into()),
            Turn::Say(SECOND_ANSWER.into()),
        ];
        Script { turns, aside: "A note" }
    }

    fn configure(&self, workspace: &Workspace) {
        let [command, arguments @ ..] = mcp_server(workspace);
        let config = format!(
            "model = \"{SCRIPTED}\"\nmodel_provider = \"mlxd\"\ncheck_for_update_on_startup = false\n\
             [analytics]\nenabled = false\n\
             [features]\nplugins = false\nremote_plugin = false\napps = false\n\
             [model_providers.mlxd]\nname = \"mlxd\"\nbase_url = \"{}/v1\"\nwire_api = \"responses\"\n\
             [mcp_servers.plants]\ncommand = {command:?}\nargs = {arguments:?}\n",
            workspace.base
        );
        std::fs::write(workspace.home().join("config.toml"), config).unwrap();
    }

    fn ask(&self, workspace: &Workspace, question: &str, continued: bool) -> Command {
        let mut codex = workspace.program("codex");
        codex.env("CODEX_HOME", workspace.home());
        codex.arg("exec");
        if continued {
            codex.args(["resume", "--last"]);
        }
        codex.args([
            "--json",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            question,
        ]);
        codex
    }

    fn call_mark(&self) -> &'static str {
        "response.function_call_arguments.delta"
    }

    fn path(&self) -> &'static str {
        "/v1/responses"
    }
}
