use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

use super::*;
use crate::store::folders::{Folder, Kept};
use crate::store::presets::Preset;

fn database() -> (TempDir, Db) {
    let home = tempfile::tempdir().unwrap();
    let db = Db::new(home.path());
    (home, db)
}

async fn put(db: &Db, owner: &str, (id, title, text): (&str, &str, &str), now: i64) -> ChatSummary {
    let body = json!({"turns": [{"text": text}]}).to_string();
    let chat = ChatChange { id, title, pinned: false, revision: 0, body: &body };
    db.store_chat(owner, &chat, now).await.unwrap().unwrap()
}

async fn ids(db: &Db, owner: &str, search: Option<&str>) -> Vec<String> {
    listed(db, owner, &ChatFilter { search, limit: 10, ..ChatFilter::default() }).await
}

async fn listed(db: &Db, owner: &str, filter: &ChatFilter<'_>) -> Vec<String> {
    let chats = db.chats(owner, filter).await.unwrap();
    chats.into_iter().map(|chat| chat.id).collect()
}

#[tokio::test]
async fn change_of_an_old_revision_is_refused() {
    let (_home, db) = database();
    let first = put(&db, "", ("a", "Title", "Hello"), 5).await;
    assert_eq!((first.revision, first.created_at_ms), (1, 5));
    let chat = ChatChange { id: "a", title: "New", pinned: true, revision: 1, body: "{}" };
    let second = db.store_chat("", &chat, 7).await.unwrap().unwrap();
    assert_eq!((second.revision, second.created_at_ms, second.updated_at_ms), (2, 5, 7));
    assert_eq!(db.store_chat("", &chat, 8).await.unwrap(), None, "another tab was faster");
    assert_eq!(db.store_chat("", &ChatChange { revision: 0, ..chat }, 8).await.unwrap(), None);
    assert_eq!(db.chat("", "a").await.unwrap().unwrap().summary, second);
}

#[tokio::test]
async fn owner_sees_only_its_own() {
    let (_home, db) = database();
    put(&db, "one", ("a", "Mine", "x"), 1).await;
    put(&db, "two", ("a", "Yours", "x"), 1).await;
    assert_eq!(db.chat("one", "a").await.unwrap().unwrap().summary.title, "Mine");
    assert!(db.delete_chat("one", "a").await.unwrap());
    assert_eq!(db.chat("one", "a").await.unwrap(), None);
    assert_eq!(ids(&db, "two", None).await, ["a"]);
    assert!(!db.delete_chat("three", "a").await.unwrap());
}

#[tokio::test]
async fn list_is_searched_and_paged_with_pinned_ones_first() {
    let (_home, db) = database();
    put(&db, "", ("a", "Rust", "About borrowing"), 1).await;
    put(&db, "", ("b", "Dinner", "A RECIPE for \"soup\""), 2).await;
    put(&db, "", ("c", "Other", "role model"), 3).await;
    assert_eq!(ids(&db, "", None).await, ["c", "b", "a"]);
    let pinned = db
        .mark_chat("", "a", &ChatLabels { pinned: Some(true), ..ChatLabels::default() })
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&*pinned.title, pinned.updated_at_ms, pinned.revision), ("Rust", 1, 2));
    assert_eq!(ids(&db, "", None).await, ["a", "c", "b"]);
    assert_eq!(ids(&db, "", Some("recipe for \"")).await, ["b"]);
    assert_eq!(ids(&db, "", Some("rust")).await, ["a"]);
    assert_eq!(ids(&db, "", Some("turns")).await, [""; 0], "names of fields are no text");
    let cursor = ChatCursor { pinned: true, updated_at_ms: 1, id: "a".into() };
    let filter = ChatFilter { after: Some(&cursor), limit: 1, ..ChatFilter::default() };
    assert_eq!(listed(&db, "", &filter).await, ["c"]);
    assert_eq!(db.chat_use("", "a").await.unwrap().chats, 2);
}

#[tokio::test]
async fn chats_are_moved_into_folders_and_outlive_them() {
    let (_home, db) = database();
    for (owner, id) in [("", "a"), ("", "b"), ("two", "a")] {
        put(&db, owner, (id, id, "x"), 1).await;
    }
    assert_eq!(db.store_folder("", "f", "Work", 9).await.unwrap(), Kept::Yes);
    let to = |folder| ChatLabels { folder: Some(folder), ..ChatLabels::default() };
    let moved = db.mark_chat("", "a", &to("f")).await.unwrap().unwrap();
    assert_eq!((&*moved.folder, moved.updated_at_ms), ("f", 1));
    assert_eq!(db.mark_chat("two", "a", &to("f")).await.unwrap(), None, "another owner's folder");
    let in_folder = |folder| ChatFilter { folder: Some(folder), limit: 9, ..ChatFilter::default() };
    assert_eq!(listed(&db, "", &in_folder("f")).await, ["a"]);
    assert_eq!(listed(&db, "", &in_folder("")).await, ["b"]);
    assert_eq!(ids(&db, "", None).await, ["b", "a"], "all are found");
    // A new text leaves the conversation where it is.
    let chat = ChatChange { id: "a", title: "A", pinned: false, revision: moved.revision, body: "{}" };
    assert_eq!(db.store_chat("", &chat, 2).await.unwrap().unwrap().folder, "f");
    assert_eq!(db.folders("").await.unwrap(), [Folder { id: "f".into(), name: "Work".into(), chats: 1 }]);
    assert!(!db.delete_folder("two", "f").await.unwrap());
    assert!(db.delete_folder("", "f").await.unwrap());
    assert_eq!(listed(&db, "", &in_folder("")).await, ["a", "b"]);
    assert_eq!(db.mark_chat("", "a", &to("f")).await.unwrap(), None, "the folder is gone");
}

#[tokio::test]
async fn names_of_folders_are_unique_and_their_number_is_bounded() {
    let (_home, db) = database();
    assert_eq!(db.store_folder("", "f", "work", 2).await.unwrap(), Kept::Yes);
    assert_eq!(db.store_folder("", "g", "work", 2).await.unwrap(), Kept::NameTaken);
    assert_eq!(db.store_folder("two", "g", "work", 2).await.unwrap(), Kept::Yes);
    assert_eq!(db.store_folder("", "g", "Art", 2).await.unwrap(), Kept::Yes);
    assert_eq!(db.store_folder("", "h", "More", 2).await.unwrap(), Kept::Full);
    assert_eq!(db.store_folder("", "f", "Work", 2).await.unwrap(), Kept::Yes, "another name needs no room");
    let names: Vec<_> = db.folders("").await.unwrap().into_iter().map(|folder| folder.name).collect();
    assert_eq!(names, ["Art", "Work"]);
}

#[tokio::test]
async fn presets_are_kept_by_owner() {
    let (_home, db) = database();
    let preset =
        |id: &str, name: &str, body: &str| Preset { id: id.into(), name: name.into(), body: body.into() };
    let poet = preset("p", "Poet", "{\"system\": \"Rhyme\"}");
    assert_eq!(db.store_preset("", &poet, 2).await.unwrap(), Kept::Yes);
    assert_eq!(db.store_preset("", &preset("q", "Poet", "{}"), 2).await.unwrap(), Kept::NameTaken);
    let renamed = preset("p", "Bard", "{}");
    assert_eq!(db.store_preset("", &renamed, 1).await.unwrap(), Kept::Yes);
    assert_eq!(db.store_preset("", &poet, 1).await.unwrap(), Kept::Yes);
    assert_eq!(db.store_preset("", &preset("q", "Q", "{}"), 1).await.unwrap(), Kept::Full);
    assert_eq!(db.presets("").await.unwrap(), [poet]);
    assert_eq!(db.presets("two").await.unwrap(), []);
    assert!(!db.delete_preset("two", "p").await.unwrap() && db.delete_preset("", "p").await.unwrap());
}

/// Conversations from before there were folders are in none.
#[tokio::test]
async fn earlier_conversations_stay() {
    let (home, db) = database();
    put(&db, "", ("a", "Title", "Hello"), 5).await;
    db.close().await;
    let path = home.path().join("mlxd.db");
    let mut before = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let undo = "DROP TABLE folders; DROP TABLE presets; DROP INDEX chats_by_folder; ALTER TABLE chats DROP COLUMN folder;
                DELETE FROM _sqlx_migrations WHERE version = 80;";
    sqlx::raw_sql(undo).execute(&mut before).await.unwrap();
    before.close().await.unwrap();
    let chat = db.chat("", "a").await.unwrap().unwrap();
    assert_eq!((&*chat.summary.folder, chat.summary.updated_at_ms), ("", 5));
    assert!(chat.body.contains("Hello"));
}
