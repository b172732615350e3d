//! The pages for operators: logs, settings, the first steps, and a request's cost.

use e2e::{Server, scripts};

use super::script;
use crate::managed::Program;

#[test]
fn logs_of_all_processes_are_filtered_followed_and_exported() {
    script("ui_admin.mjs", &Server::start(), "logs", &[]);
}

#[test]
fn server_without_a_model_says_what_to_do_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    // Neither has this user's cache a model.
    let server = Server::builder().models(folder.path()).env("HOME", path).env("HF_HOME", path);
    script("ui_admin.mjs", &server.start(), "first", &[]);
}

#[test]
fn settings_of_browser_and_server_are_shown_and_changed() {
    let server = Server::builder().config("# Mine.\ncors_origins = [\"http://a.test\"]\n").start();
    let config = server.home().join("config.toml");
    script("ui_admin.mjs", &server, "settings", &[config.to_str().unwrap()]);
}

#[test]
fn model_of_a_backend_is_marked_and_managed() {
    let program = Program::new(&[], "");
    script("ui_admin.mjs", &program.start(), "external", &[]);
}

#[test]
fn ten_thousand_requests_are_read_and_a_few_drawn() {
    script("ui_admin.mjs", &Server::start(), "rows", &[]);
}

#[test]
fn model_is_measured_and_measurements_are_kept_and_compared() {
    script("ui_bench.mjs", &Server::start(), "measure", &[]);
}

#[test]
fn pure_functions_of_the_page_give_the_examples() {
    scripts::run("ui_units.mjs", &[]);
}

#[test]
fn request_has_its_cost_where_it_is_known() {
    script("ui_admin.mjs", &Server::start(), "cost", &[]);
}
