//! The table of stored prompts and outputs. A row goes with the row of its request.

use std::collections::HashMap;

use sqlx::QueryBuilder;

use crate::inference::content::StoredContent;
use crate::store::{Db, DbError};

/// The content of one request, on its way to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRow {
    /// The id of the request's row.
    pub request_id: String,
    /// Milliseconds since the epoch.
    pub started_at_ms: i64,
    /// The content.
    pub content: StoredContent,
}

impl Db {
    /// Inserts the contents of requests, at most 1,000, in one statement.
    ///
    /// # Errors
    /// The database refuses. Nothing was inserted.
    pub async fn insert_contents(&self, rows: &[ContentRow]) -> Result<(), DbError> {
        let mut insert =
            QueryBuilder::new("INSERT OR IGNORE INTO request_contents (request_id, started_at_ms, content) ");
        let texts = rows.iter().map(|row| serde_json::to_string(&row.content));
        let texts: Vec<String> =
            texts.collect::<Result<_, _>>().map_err(|e| sqlx::Error::Encode(e.into()))?;
        insert.push_values(rows.iter().zip(&texts), |mut values, (row, text)| {
            values.push_bind(&row.request_id).push_bind(row.started_at_ms).push_bind(text);
        });
        let insert = insert.build().persistent(false);
        insert.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// The stored contents among these requests, by their ids.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn contents(&self, ids: &[&str]) -> Result<HashMap<String, StoredContent>, DbError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut query =
            QueryBuilder::new("SELECT request_id, content FROM request_contents WHERE request_id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(*id);
        }
        query.push(")");
        let query = query.build_query_as::<(String, String)>().persistent(false);
        let rows = query.fetch_all(&self.reader().await?).await.map_err(|error| self.failed(error))?;
        let parse = |(id, text): (String, String)| Some((id, serde_json::from_str(&text).ok()?));
        Ok(rows.into_iter().filter_map(parse).collect())
    }

    /// Deletes the contents of requests that started at `latest_ms` or earlier, at most `limit`. Returns how many there were.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete_contents(&self, latest_ms: i64, limit: u32) -> Result<u64, DbError> {
        let text = "DELETE FROM request_contents WHERE rowid IN
            (SELECT rowid FROM request_contents WHERE started_at_ms <= ? ORDER BY started_at_ms LIMIT ?)";
        let delete = sqlx::query(text).bind(latest_ms).bind(limit);
        let done = delete.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::record::Record;

    fn row(id: &str, started_at_ms: i64) -> ContentRow {
        let content = StoredContent { request: format!("of {id}"), ..StoredContent::default() };
        ContentRow { request_id: id.into(), started_at_ms, content }
    }

    #[tokio::test]
    async fn content_goes_with_its_request_or_by_its_own_age() {
        let home = tempfile::tempdir().unwrap();
        let db = Db::new(home.path());
        let records = ["a", "b", "c"].map(|id| Record::example(id, 5));
        db.insert_requests(&records).await.unwrap();
        db.insert_contents(&[row("a", 5), row("b", 6)]).await.unwrap();
        let ids = ["a", "b", "c"];
        let found = db.contents(&ids).await.unwrap();
        assert_eq!((found.len(), &*found["a"].request), (2, "of a"));
        assert_eq!(db.delete_contents(5, 10).await.unwrap(), 1);
        assert_eq!(db.contents(&ids).await.unwrap().into_keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(db.delete_requests(5, 10).await.unwrap(), 3);
        assert!(db.contents(&ids).await.unwrap().is_empty());
        assert!(db.contents(&[]).await.unwrap().is_empty());
    }
}
