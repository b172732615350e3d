//! The pages of providers and routes.

use e2e::Server;
use e2e::places::{self, SHALLOW};

use super::script;

const KEY: &str = "sk-upstream-0123456789abcdef";

#[test]
fn provider_is_tested_made_changed_and_removed_and_its_key_is_never_shown() {
    let upstream = Server::builder().models(&places::models()).env("MLXD_API_KEYS", KEY).start();
    let far = upstream.url("/v1");
    let fixed = format!(
        "[providers.fixed]\nkind = \"openai-compatible\"\nurl = \"{far}\"\nmodels = [\"{SHALLOW}\"]\n"
    );
    let server = Server::builder().models(&places::models()).config(&fixed).start();
    script("ui_routing.mjs", &server, "providers", &[&far, KEY]);
}

#[test]
fn routes_are_made_ordered_changed_and_removed() {
    let config = format!(
        "[[routes]]\nname = \"fast\"\nmodel = \"fast\"\ntargets = [\"{SHALLOW}\"]\n[roles]\nfast = [\"{SHALLOW}\"]\n[judge]\ntimeout_ms = 60000\n"
    );
    let server = Server::builder().models(&places::models()).config(&config).start();
    script("ui_routing.mjs", &server, "routes", &[]);
}
