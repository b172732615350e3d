//! Signing in, in a browser.

use e2e::Server;
use e2e::places;

use super::script;

#[test]
fn password_is_set_by_a_link_and_sessions_end_elsewhere_without_a_loss() {
    let server = Server::builder().models(&places::models()).config("require_login = true\n").start();
    let link = server.mlxd(&["login", "link", "--json"]);
    let link: serde_json::Value = serde_json::from_str(&link).unwrap();
    script("ui_login.mjs", &server, "life", &[link["url"].as_str().unwrap()]);
}

#[test]
fn first_password_closes_an_open_server_and_its_page_goes_on() {
    script("ui_login.mjs", &Server::start(), "open", &[]);
}
