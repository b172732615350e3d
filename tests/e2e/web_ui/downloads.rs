//! The search and the downloads of the page, with answers that the browser's test gives in the server's place.

use super::script;
use e2e::Server;

#[test]
fn models_are_found_and_downloads_paused_resumed_and_cancelled() {
    script("ui_downloads.mjs", &Server::start(), "stub", &[]);
}

#[test]
fn hundreds_of_downloads_do_not_hang_the_page() {
    script("ui_downloads.mjs", &Server::start(), "many", &[]);
}

#[test]
fn page_says_that_a_server_downloads_nothing() {
    script("ui_downloads.mjs", &Server::start(), "absent", &[]);
}
