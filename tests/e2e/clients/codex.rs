//! Codex, by the Responses API.

use std::process::Command;

use e2e::induction::{SCRIPTED, Script, Turn};
use serde_json::json;

use super::{Agent, FIRST_ANSWER, RESULT, SECOND_ANSWER, WORD, Workspace, mcp_server};

/// The configuration beyond the one that the documentation shows first.
pub(super) struct Codex {
    /// Lines before the first table.
    pub(super) settings: &'static str,
    /// The provider's `name`. Codex knows OpenAI and Azure by it.
    pub(super) provider: &'static str,
    /// Lines of the provider's table.
    pub(super) provider_settings: &'static str,
}

impl Default for Codex {
    fn default() -> Self {
        Self { settings: "", provider: "mlxd", provider_settings: "" }
    }
}

impl Agent for Codex {
    fn script(&self, _workspace: &Workspace) -> Script {
        let turns = vec![
            Turn::Call("exec_command", json!({"cmd": "cat note.txt"})),
            Turn::Call("exec_command", json!({"cmd": format!("echo '{RESULT}' > result.txt")})),
            Turn::Call("mcp__plants__describe_plant", json!({"plant": WORD})),
            Turn::Say(FIRST_ANSWER.into()),
            Turn::Say(SECOND_ANSWER.into()),
        ];
        Script { turns, aside: "A note", summary: None }
    }

    fn configure(&self, workspace: &Workspace) {
        let [command, arguments @ ..] = mcp_server(workspace);
        let Self { settings, provider, provider_settings } = self;
        let config = format!(
            "model = \"{SCRIPTED}\"\nmodel_provider = \"mlxd\"\ncheck_for_update_on_startup = false\n{settings}\
             [analytics]\nenabled = false\n\
             [features]\nplugins = false\nremote_plugin = false\napps = false\n\
             [model_providers.mlxd]\nname = {provider:?}\nbase_url = \"{}/v1\"\nwire_api = \"responses\"\n\
             {provider_settings}\
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
