//! The rows of the request log that a gateway has written.

use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;

use super::fakes::Gateway;

impl Gateway {
    /// The number of retries of each recorded request.
    pub(crate) fn recoveries(&self) -> Vec<i64> {
        let file = self.home.path().join("mlxd.db");
        self.block_on(async move {
            let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap();
            let all = "SELECT recoveries FROM requests ORDER BY started_at_ms";
            sqlx::query_scalar(all).fetch_all(&pool).await.unwrap()
        })
    }

    /// The labels of the last request: sender, session and notes.
    pub(crate) fn labels(&self) -> [Option<String>; 3] {
        let file = self.home.path().join("mlxd.db");
        self.block_on(async move {
            let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap();
            let last = "SELECT sender, session, notes FROM requests ORDER BY started_at_ms DESC LIMIT 1";
            let (user, session, notes) = sqlx::query_as(last).fetch_one(&pool).await.unwrap();
            [user, session, notes]
        })
    }

    /// Waits for `count` records. Returns outcome and error of each.
    pub(crate) fn records(&self, count: usize) -> Vec<(String, Option<String>)> {
        let file = self.home.path().join("mlxd.db");
        self.block_on(async move {
            let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap();
            for _ in 0..500 {
                let all = "SELECT outcome, error FROM requests ORDER BY started_at_ms";
                let rows: Vec<_> = sqlx::query_as(all).fetch_all(&pool).await.unwrap();
                if rows.len() >= count {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("fewer than {count} records");
        })
    }
}
