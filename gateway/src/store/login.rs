//! The tables of the sign-in: the password's hash, the one-time link, and the sessions.

use secrecy::SecretSlice;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::access::secret::Digest;
use crate::access::sessions::{LoginRecord, SessionRecord};
use crate::access::token;
use crate::store::{Db, DbError};

/// A change of the sign-in. Dropping it changes nothing.
#[derive(Debug)]
pub struct LoginChange {
    db: Db,
    connection: SqliteConnection,
}

impl Db {
    /// The sign-in without the password's hash.
    ///
    /// # Errors
    /// The database refuses, or a row is not as this version writes it.
    pub async fn login(&self) -> Result<LoginRecord, DbError> {
        // One transaction, so that password and sessions belong together.
        let mut reading = self.reader().await?.begin().await.map_err(|error| self.failed(error))?;
        read(&mut reading).await.map_err(|error| self.failed(error))
    }

    /// The hash of the password.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn password(&self) -> Result<Option<String>, DbError> {
        let query = sqlx::query_scalar("SELECT password FROM login");
        let row: Option<Option<String>> =
            query.fetch_optional(&self.reader().await?).await.map_err(|error| self.failed(error))?;
        Ok(row.flatten())
    }

    /// Whether the one-time link of this digest is valid at `now`, in seconds since the epoch.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn link_is_valid(&self, digest: &Digest, now: i64) -> Result<bool, DbError> {
        let text = "SELECT COUNT(*) FROM login WHERE link_digest = ? AND link_expires_at > ?";
        let query = sqlx::query_scalar(text).bind(&digest[..]).bind(now);
        let found: i64 = query.fetch_one(&self.reader().await?).await.map_err(|error| self.failed(error))?;
        Ok(found > 0)
    }

    /// Stores the last uses of sessions, in seconds since the epoch.
    ///
    /// # Errors
    /// The database refuses. Some may be stored.
    pub async fn touch_sessions(&self, uses: &[(String, i64)]) -> Result<(), DbError> {
        let writer = self.writer().await?;
        for (id, at) in uses {
            let text = "UPDATE sessions SET last_used_at = MAX(last_used_at, ?) WHERE id = ?";
            let update = sqlx::query(text).bind(at).bind(id);
            update.execute(&writer).await.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Begins a change of the sign-in. Waits for other changes.
    ///
    /// # Errors
    /// The database refuses, or is locked for too long, or there are no random bytes.
    pub async fn change_login(&self) -> Result<LoginChange, DbError> {
        let connection = self.dedicated().await?;
        let mut change = LoginChange { db: self.clone(), connection };
        change.run(sqlx::query("BEGIN IMMEDIATE")).await?;
        let secret = token::generate_secret().map_err(std::io::Error::other)?;
        let begin = sqlx::query("INSERT OR IGNORE INTO login (only_row, secret) VALUES (1, ?)");
        change.run(begin.bind(&secret[..])).await?;
        Ok(change)
    }
}

type Statement<'a> = sqlx::query::Query<'a, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl LoginChange {
    /// Replaces the password's hash, or removes it.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn set_password(&mut self, hash: Option<&str>, now: i64) -> Result<(), DbError> {
        let set = sqlx::query("UPDATE login SET password = ?, changed_at = ?").bind(hash).bind(now);
        self.run(set).await.map(drop)
    }

    /// Replaces the one-time link.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn set_link(&mut self, digest: &Digest, expires_at: i64) -> Result<(), DbError> {
        let set = sqlx::query("UPDATE login SET link_digest = ?, link_expires_at = ?");
        self.run(set.bind(&digest[..]).bind(expires_at)).await.map(drop)
    }

    /// Uses up the link of this digest. Returns false if it is not valid at `now`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take_link(&mut self, digest: &Digest, now: i64) -> Result<bool, DbError> {
        let text = "UPDATE login SET link_digest = NULL, link_expires_at = NULL \
                    WHERE link_digest = ? AND link_expires_at > ?";
        Ok(self.run(sqlx::query(text).bind(&digest[..]).bind(now)).await? > 0)
    }

    /// Removes the link, whether or not it was used.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn forget_link(&mut self) -> Result<(), DbError> {
        let forget = sqlx::query("UPDATE login SET link_digest = NULL, link_expires_at = NULL");
        self.run(forget).await.map(drop)
    }

    /// Adds a session. Those that are over go, and the least used ones above `most`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn add_session(
        &mut self,
        session: &SessionRecord,
        idle: i64,
        most: usize,
    ) -> Result<(), DbError> {
        let now = session.created_at;
        let over = sqlx::query("DELETE FROM sessions WHERE expires_at <= ? OR last_used_at <= ?");
        self.run(over.bind(now).bind(now - idle)).await?;
        let text = "DELETE FROM sessions WHERE id NOT IN \
                    (SELECT id FROM sessions ORDER BY last_used_at DESC, rowid DESC LIMIT ?)";
        let room = i64::try_from(most.saturating_sub(1)).unwrap_or(0);
        self.run(sqlx::query(text).bind(room)).await?;
        let text = "INSERT INTO sessions (id, digest, name, created_at, expires_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?)";
        let insert = sqlx::query(text)
            .bind(&session.id)
            .bind(&session.digest[..])
            .bind(&session.name)
            .bind(session.created_at)
            .bind(session.expires_at)
            .bind(session.last_used_at);
        self.run(insert).await.map(drop)
    }

    /// Ends a session. Returns false if there is no such one.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn end_session(&mut self, id: &str) -> Result<bool, DbError> {
        Ok(self.run(sqlx::query("DELETE FROM sessions WHERE id = ?").bind(id)).await? > 0)
    }

    /// Ends all sessions but one.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn end_others(&mut self, kept: Option<&str>) -> Result<(), DbError> {
        let end = sqlx::query("DELETE FROM sessions WHERE id <> COALESCE(?, '')").bind(kept);
        self.run(end).await.map(drop)
    }

    /// Makes the change. It is on the disk afterwards.
    ///
    /// # Errors
    /// The database refuses. Nothing has changed.
    pub async fn commit(mut self) -> Result<(), DbError> {
        self.run(sqlx::query("COMMIT")).await.map(drop)
    }

    /// The number of rows that a statement has changed.
    async fn run(&mut self, statement: Statement<'_>) -> Result<u64, DbError> {
        let done = statement.execute(&mut self.connection).await.map_err(|error| self.db.failed(error))?;
        Ok(done.rows_affected())
    }
}

async fn read(from: &mut SqliteConnection) -> Result<LoginRecord, sqlx::Error> {
    let query = sqlx::query("SELECT secret, password IS NOT NULL AS has_password FROM login");
    let Some(row) = query.fetch_optional(&mut *from).await? else { return Ok(LoginRecord::default()) };
    let secret: Vec<u8> = row.try_get("secret")?;
    let rows = sqlx::query("SELECT * FROM sessions ORDER BY created_at, rowid").fetch_all(from).await?;
    Ok(LoginRecord {
        has_password: row.try_get("has_password")?,
        secret: Some(SecretSlice::from(secret)),
        sessions: rows.iter().map(session).collect::<Result<_, _>>()?,
    })
}

fn session(row: &SqliteRow) -> Result<SessionRecord, sqlx::Error> {
    let digest: Vec<u8> = row.try_get("digest")?;
    let digest =
        digest.try_into().map_err(|_| sqlx::Error::Decode("a session's digest has not 32 bytes".into()))?;
    Ok(SessionRecord {
        id: row.try_get("id")?,
        digest,
        name: row.try_get("name")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}
