//! Pages in a real browser. `cargo xtask test` skips these tests, and says so, where it finds no Chromium.

use e2e::{Server, places, scripts};

/// A page of this origin comes from a port that no other test uses.
const PAGE_PORT: u16 = 18_463;

fn open_page(server: &Server, expected: &str, port: u16) {
    let browser = std::env::var("MLXD_TEST_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    let port = port.to_string();
    scripts::run("foreign_page.mjs", &[&server.url(""), places::SMOLLM2, &browser, expected, &port]);
}

#[test]
fn page_of_another_origin_cannot_use_a_server_without_keys() {
    open_page(&Server::start(), "refused", PAGE_PORT);
}

#[test]
fn listed_page_can_use_a_server_without_keys() {
    let port = PAGE_PORT + 1;
    let config = format!("cors_origins = [\"http://localhost:{port}\"]");
    let server = Server::builder().models(&places::models()).config(&config).start();
    open_page(&server, "served", port);
}
