//! The page of usage, with logs that the browser's test gives in the server's place, and with a real one.

use e2e::Server;

use super::script;

#[test]
fn usage_is_summed_by_model_key_provider_and_day_and_exported() {
    script("ui_usage.mjs", &Server::start(), "sums", &[]);
}

#[test]
fn long_log_is_read_in_bounded_parts() {
    script("ui_usage.mjs", &Server::start(), "bounds", &[]);
}

#[test]
fn requests_of_a_server_are_counted() {
    script("ui_usage.mjs", &Server::start(), "real", &[]);
}
