//! The table of API keys, and what the requests of each key have used.

use std::collections::HashMap;

use ipc_proto::gateway::{Dollars, NamePattern};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::access::budget::Limits;
use crate::access::key::{KeyRecord, Rights};
use crate::store::{Db, DbError};

impl Db {
    /// Inserts a new key.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn insert_key(&self, key: &KeyRecord) -> Result<(), DbError> {
        let text = "INSERT INTO keys (id, name, digest, last_four, scopes, models, local_only, priority, requests_per_minute, \
                    tokens_per_minute, tokens_per_day, tokens_per_month, cost_per_day_nanousd, cost_per_month_nanousd, \
                    store_content, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let Limits { requests_per_minute, tokens_per_minute, tokens_per_day, tokens_per_month, .. } =
            key.limits;
        let Limits { cost_per_day, cost_per_month, .. } = key.limits;
        let insert = sqlx::query(text)
            .bind(&key.id)
            .bind(&key.name)
            .bind(&key.digest[..])
            .bind(&key.last_four)
            .bind(json(&key.rights.scopes)?)
            .bind(json(&key.rights.models)?)
            .bind(key.rights.local_only)
            .bind(key.rights.priority.map(|class| json(&class)).transpose()?)
            .bind(requests_per_minute)
            .bind(tokens_per_minute)
            .bind(tokens_per_day.map(saturated))
            .bind(tokens_per_month.map(saturated))
            .bind(cost_per_day.map(|dollars| saturated(dollars.0)))
            .bind(cost_per_month.map(|dollars| saturated(dollars.0)))
            .bind(key.store_content)
            .bind(key.created_at)
            .bind(key.expires_at);
        insert.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// The database refuses, or a row is not as this version writes it.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, DbError> {
        let all = sqlx::query("SELECT * FROM keys ORDER BY created_at, rowid");
        let rows = all.fetch_all(&self.reader().await?).await.map_err(|error| self.failed(error))?;
        rows.iter().map(|row| record(row).map_err(DbError::from)).collect()
    }

    /// Marks a key as revoked at `now`, in seconds since the epoch. Returns false if there is no such key. The time of an earlier
    /// revocation stays.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn revoke_key(&self, id: &str, now: i64) -> Result<bool, DbError> {
        let text = "UPDATE keys SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?";
        let update = sqlx::query(text).bind(now).bind(id);
        let done = update.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores the last uses of keys, in seconds since the epoch.
    ///
    /// # Errors
    /// The database refuses. Some may be stored.
    pub async fn touch_keys(&self, uses: &[(String, i64)]) -> Result<(), DbError> {
        let writer = self.writer().await?;
        for (id, at) in uses {
            let text = "UPDATE keys SET last_used_at = MAX(COALESCE(last_used_at, 0), ?) WHERE id = ?";
            let update = sqlx::query(text).bind(at).bind(id);
            update.execute(&writer).await.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Tokens of prompts and outputs of each key's requests since a time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn tokens_by_key(&self, since_ms: i64) -> Result<HashMap<String, u64>, DbError> {
        let text = "SELECT key_id, SUM(prompt_tokens + completion_tokens) FROM requests \
                    WHERE key_id IS NOT NULL AND started_at_ms >= ? GROUP BY key_id";
        self.sums_by_key(text, since_ms).await
    }

    /// Cost of each key's requests since a time in milliseconds since the epoch, in billionths of a US dollar.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn costs_by_key(&self, since_ms: i64) -> Result<HashMap<String, u64>, DbError> {
        let text = "SELECT key_id, SUM(cost_nanousd) FROM requests \
                    WHERE key_id IS NOT NULL AND cost_nanousd IS NOT NULL AND started_at_ms >= ? GROUP BY key_id";
        self.sums_by_key(text, since_ms).await
    }

    async fn sums_by_key(&self, text: &'static str, since_ms: i64) -> Result<HashMap<String, u64>, DbError> {
        let query = sqlx::query_as(text).bind(since_ms);
        let rows: Vec<(String, i64)> =
            query.fetch_all(&self.reader().await?).await.map_err(|error| self.failed(error))?;
        Ok(rows.into_iter().map(|(id, sum)| (id, u64::try_from(sum).unwrap_or(0))).collect())
    }
}

fn record(row: &SqliteRow) -> Result<KeyRecord, sqlx::Error> {
    let digest: Vec<u8> = row.try_get("digest")?;
    let digest =
        digest.try_into().map_err(|_| sqlx::Error::Decode("a key's digest has not 32 bytes".into()))?;
    let priority: Option<String> = row.try_get("priority")?;
    let tokens = |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(i64::unsigned_abs));
    Ok(KeyRecord {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        digest,
        last_four: row.try_get("last_four")?,
        rights: Rights {
            scopes: parse(row.try_get("scopes")?)?,
            models: parse::<Vec<NamePattern>>(row.try_get("models")?)?,
            local_only: row.try_get("local_only")?,
            priority: priority.as_deref().map(parse).transpose()?,
        },
        limits: Limits {
            requests_per_minute: row.try_get("requests_per_minute")?,
            tokens_per_minute: row.try_get("tokens_per_minute")?,
            tokens_per_day: tokens("tokens_per_day")?,
            tokens_per_month: tokens("tokens_per_month")?,
            cost_per_day: tokens("cost_per_day_nanousd")?.map(Dollars),
            cost_per_month: tokens("cost_per_month_nanousd")?.map(Dollars),
        },
        store_content: row.try_get("store_content")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

fn json(value: &impl Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|e| sqlx::Error::Encode(e.into()))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn saturated(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
