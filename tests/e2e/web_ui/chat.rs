//! Files of questions, folders, presets, and two models beside each other on the chat page.

use e2e::Server;

use super::script;

#[test]
fn files_of_text_are_dropped_pasted_chosen_and_become_part_of_the_question() {
    script("ui_chat.mjs", &Server::start(), "files", &[]);
}

#[test]
fn images_go_to_models_that_say_they_take_them() {
    script("ui_chat.mjs", &Server::start(), "images", &[]);
}

#[test]
fn chats_are_put_into_folders_that_are_made_renamed_and_deleted() {
    script("ui_chat.mjs", &Server::start(), "folders", &[]);
}

#[test]
fn preset_is_saved_chosen_updated_renamed_and_deleted() {
    script("ui_chat.mjs", &Server::start(), "presets", &[]);
}

#[test]
fn two_models_answer_beside_each_other() {
    script("ui_chat.mjs", &Server::start(), "beside", &[]);
}

#[test]
fn two_answers_go_on_when_their_page_closes_and_are_stopped_together() {
    script("ui_chat.mjs", &Server::start(), "besideLong", &[]);
}
