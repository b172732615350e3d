use serde_json::json;
use tempfile::TempDir;

use super::*;

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
    let chats = db.chats(owner, search, None, 10).await.unwrap();
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
    let pinned = db.mark_chat("", "a", None, Some(true)).await.unwrap().unwrap();
    assert_eq!((&*pinned.title, pinned.updated_at_ms, pinned.revision), ("Rust", 1, 2));
    assert_eq!(ids(&db, "", None).await, ["a", "c", "b"]);
    assert_eq!(ids(&db, "", Some("recipe for \"")).await, ["b"]);
    assert_eq!(ids(&db, "", Some("rust")).await, ["a"]);
    assert_eq!(ids(&db, "", Some("turns")).await, [""; 0], "names of fields are no text");
    let cursor = ChatCursor { pinned: true, updated_at_ms: 1, id: "a".into() };
    let rest = db.chats("", None, Some(&cursor), 1).await.unwrap();
    assert_eq!(rest[0].id, "c");
    assert_eq!(db.chat_use("", "a").await.unwrap().chats, 2);
}
