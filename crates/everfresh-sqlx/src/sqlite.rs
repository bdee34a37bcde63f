//! Sessions in a SQLite file.

mod end;
mod feed;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use everfresh::store::{
    Loaded, NewSession, Publication, Reservation, RevocationSink, Rotation, SessionRecord,
    SessionStore, StoreError, UpstreamTokenStore,
};
use everfresh::{Clock, SessionId};
use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::opening::{cant_migrate, cant_open, sqlite_remedy};
use crate::row::{BATCH, MAX_LIST, duration, integer, millis, record, sid};

/// How long a statement waits for another writer, and a caller for a connection.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// The table that records which migrations have been applied.
const MIGRATIONS: &str = "everfresh_migrations";

/// SQLite has one writer, so more than a few connections would only queue.
const CONNECTIONS: u32 = 4;

/// Stores sessions in a SQLite file.
///
/// The store is a cheap handle: clones share the connections.
#[derive(Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
    clock: Clock,
}

impl SqliteStore {
    /// Opens the file, creates it if it does not exist, and migrates its tables.
    ///
    /// # Errors
    /// The file can't be opened or written, is not a database, or was written by a newer version of
    /// everfresh.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let shown = format!("{:?}", path.as_ref());
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_LIMIT)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(BUSY_LIMIT)
            .connect_with(options)
            .await
            .map_err(|error| cant_open(&shown, error, sqlite_remedy))?;
        Self::with_pool(pool).await
    }

    /// Uses your own connections, to share them with the app's tables. Migrates everfresh's tables.
    ///
    /// Keep the three settings as [`open`](Self::open) has them: WAL, FULL, 5 s. Acknowledged
    /// changes survive a power failure only with `synchronous = FULL`. With a journal mode other
    /// than WAL, readers wait for writers. Without a `busy_timeout`, a second process on the file
    /// makes refreshes fail.
    ///
    /// # Errors
    /// The file can't be written, or was written by a newer version of everfresh.
    pub async fn with_pool(pool: SqlitePool) -> Result<Self, StoreError> {
        migrate(&pool).await?;
        Ok(Self { pool, clock: Clock::system() })
    }

    /// Sets the clock, for tests.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Waits until every statement has ended, and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn now(&self) -> Result<i64, StoreError> {
        millis(self.clock.now())
    }
}

/// Renames sqlx's default table of migrations to everfresh's. Files from before everfresh's table
/// had its own name record everfresh's migrations in sqlx's table. It is renamed only if it holds
/// everfresh's migrations alone, so that an app's migrations stay untouched. A second process finds
/// the table renamed. An error here is ignored, because the migration that follows reports it.
async fn take_over(pool: &SqlitePool, migrator: &Migrator) -> Result<(), sqlx::Error> {
    let there = "SELECT COUNT(*) FROM sqlite_master WHERE name = ?";
    let count = async |name| sqlx::query_scalar::<_, i64>(there).bind(name).fetch_one(pool).await;
    if count("_sqlx_migrations").await? == 0 || count(MIGRATIONS).await? > 0 {
        return Ok(());
    }
    let rows =
        sqlx::query_as::<_, (i64, Vec<u8>)>("SELECT version, checksum FROM _sqlx_migrations");
    let rows = rows.fetch_all(pool).await?;
    let ours = |(version, checksum): &(i64, Vec<u8>)| {
        migrator.iter().any(|one| one.version == *version && *one.checksum == **checksum)
    };
    if !rows.is_empty() && rows.iter().all(ours) {
        let rename = "ALTER TABLE _sqlx_migrations RENAME TO everfresh_migrations";
        sqlx::query(rename).execute(pool).await?;
    }
    Ok(())
}

/// Migrates the tables. If several processes open a new file at once, one of them makes the tables.
/// The others try again and find them.
async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    const TRIES: usize = 5;

    let mut migrator = sqlx::migrate!("migrations/sqlite");
    // The app may have its own migrations in the same file.
    migrator.dangerous_set_table_name(MIGRATIONS);
    let mut result = Ok(());
    for _ in 0..TRIES {
        let _ = take_over(pool, &migrator).await;
        result = migrator.run(pool).await;
        if result.is_ok() {
            break;
        }
    }
    result.map_err(|error| cant_migrate(error, "another file", sqlite_remedy))
}

impl SessionStore for SqliteStore {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        let row = new.into_record(self.clock.now());
        let attributes = serde_json::to_string(&row.attributes).map_err(StoreError::new)?;
        let upstream = match &row.upstream {
            None => None,
            Some(upstream) => Some((
                integer(upstream.seq)?,
                i64::from(upstream.tries),
                millis(upstream.reserved_at)?,
                millis(upstream.expires)?,
            )),
        };
        sqlx::query(
            "INSERT INTO everfresh_sessions (sid, subject, generation, key_id, confirmed, \
             rotated_at, created_at, idle_expires, absolute_expires, idle_lifetime, persistent, \
             claims, attributes, salt, up_seq, up_tries, up_claimed_at, up_sealed, up_expires) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.sid.as_bytes().to_vec())
        .bind(row.subject)
        .bind(integer(row.generation)?)
        .bind(i64::from(row.key_id))
        .bind(row.confirmed)
        .bind(millis(row.rotated_at)?)
        .bind(millis(row.created_at)?)
        .bind(millis(row.idle_expires)?)
        .bind(millis(row.absolute_expires)?)
        .bind(duration(row.idle_lifetime)?)
        .bind(row.persistent)
        .bind(row.claims)
        .bind(attributes)
        .bind(row.salt.to_vec())
        .bind(upstream.map(|(seq, ..)| seq))
        .bind(upstream.map(|(_, tries, ..)| tries))
        .bind(upstream.map(|(_, _, at, _)| at))
        .bind(row.upstream.as_ref().map(|upstream| upstream.sealed.clone()))
        .bind(upstream.map(|(.., expires)| expires))
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(StoreError::new)
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        let now = self.clock.now();
        let row = sqlx::query(
            "SELECT sid, subject, generation, key_id, confirmed, rotated_at, created_at, \
             idle_expires, absolute_expires, idle_lifetime, persistent, claims, attributes, salt, \
             up_seq, up_tries, up_claim, up_claimed_at, up_sealed, up_expires FROM everfresh_sessions WHERE sid = ? AND idle_expires > ?",
        )
        .bind(sid.as_bytes().to_vec())
        .bind(millis(now)?)
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::new)?;
        row.map(|row| Ok(Loaded::new(record(&row)?, now))).transpose()
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "UPDATE everfresh_sessions SET \
             confirmed = 0, generation = ?2, key_id = ?3, claims = coalesce(?4, claims), rotated_at = ?5, \
             idle_expires = CASE WHEN ?1 = ?2 OR NOT ?7 THEN idle_expires \
             ELSE min(?5 + idle_lifetime, absolute_expires) END \
             WHERE sid = ?6 AND generation = ?1 AND (?1 <> ?2 OR confirmed = 0) \
             AND idle_expires > ?5",
        )
        .bind(integer(rotation.from)?)
        .bind(integer(rotation.to)?)
        .bind(i64::from(rotation.key_id))
        .bind(rotation.claims)
        .bind(self.now()?)
        .bind(rotation.sid.as_bytes().to_vec())
        .bind(rotation.user_activity)
        .execute(&self.pool)
        .await
        .map_err(StoreError::new)?;
        Ok(changed.rows_affected() == 1)
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE everfresh_sessions SET confirmed = 1, \
             idle_expires = CASE WHEN ?3 THEN min(?4 + idle_lifetime, absolute_expires) \
             ELSE idle_expires END \
             WHERE sid = ?1 AND generation = ?2 AND (confirmed = 0 OR ?3) AND idle_expires > ?4",
        )
        .bind(sid.as_bytes().to_vec())
        .bind(integer(generation)?)
        .bind(user_activity)
        .bind(self.now()?)
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(StoreError::new)
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        Ok(self.end_one(sid).await?.is_some())
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut revoked = Vec::new();
        // Each batch is a separate transaction, so that other processes can write in between.
        loop {
            let some = self.end_some(subject, except).await?;
            let is_last = integer(some.len() as u64)? < BATCH;
            revoked.extend(some);
            if is_last {
                return Ok(revoked);
            }
        }
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT sid, subject, generation, key_id, confirmed, rotated_at, created_at, \
             idle_expires, absolute_expires, idle_lifetime, persistent, claims, attributes, salt, \
             up_seq, up_tries, up_claim, up_claimed_at, up_sealed, up_expires FROM everfresh_sessions WHERE subject = ? AND idle_expires > ? \
             ORDER BY rotated_at DESC, sid DESC LIMIT ?",
        )
        .bind(subject)
        .bind(self.now()?)
        .bind(MAX_LIST)
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::new)?;
        rows.iter().map(record).collect()
    }

    async fn newest(&self, subject: &str, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        let rows = sqlx::query(
            "SELECT sid FROM everfresh_sessions WHERE subject = ? AND idle_expires > ? \
             ORDER BY created_at DESC, sid DESC LIMIT ?",
        )
        .bind(subject)
        .bind(self.now()?)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::new)?;
        rows.iter().map(sid).collect()
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        let gone = sqlx::query(
            "DELETE FROM everfresh_sessions WHERE sid IN (SELECT sid FROM everfresh_sessions \
             WHERE idle_expires <= ? ORDER BY idle_expires LIMIT ?)",
        )
        .bind(self.now()?)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await
        .map_err(StoreError::new)?;
        self.forget_ends().await?;
        usize::try_from(gone.rows_affected()).map_err(StoreError::new)
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        self.tell(&sink).await
    }
}

impl UpstreamTokenStore for SqliteStore {
    async fn reserve(&self, reservation: Reservation) -> Result<bool, StoreError> {
        let now = self.now()?;
        let changed = sqlx::query(
            "UPDATE everfresh_sessions SET up_claim = ?3, up_claimed_at = ?5, \
             up_tries = up_tries + 1 WHERE sid = ?1 AND up_seq = ?2 AND idle_expires > ?5 AND \
             CASE WHEN ?4 IS NULL THEN up_tries = 0 ELSE up_tries > 0 AND up_claim = ?4 END",
        )
        .bind(reservation.sid.as_bytes().to_vec())
        .bind(integer(reservation.seq)?)
        .bind(reservation.id.to_vec())
        .bind(reservation.replaces.map(|(replaces, _)| replaces.to_vec()))
        .bind(now)
        .execute(&self.pool)
        .await
        .map_err(StoreError::new)?;
        Ok(changed.rows_affected() == 1)
    }

    async fn release(&self, reservation: Reservation) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "UPDATE everfresh_sessions SET up_tries = up_tries - 1, \
             up_claim = CASE WHEN up_tries = 1 THEN NULL ELSE ?4 END, \
             up_claimed_at = coalesce(?5, up_claimed_at) \
             WHERE sid = ?1 AND up_seq = ?2 AND up_claim = ?3 AND up_tries > 0",
        )
        .bind(reservation.sid.as_bytes().to_vec())
        .bind(integer(reservation.seq)?)
        .bind(reservation.id.to_vec())
        .bind(reservation.replaces.map(|(replaces, _)| replaces.to_vec()))
        .bind(reservation.replaces.map(|(_, at)| millis(at)).transpose()?)
        .execute(&self.pool)
        .await
        .map_err(StoreError::new)?;
        Ok(changed.rows_affected() == 1)
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.end_one(sid).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let upstream = new.tokens.into_stored(now);
        let changed = sqlx::query(
            "UPDATE everfresh_sessions SET up_seq = up_seq + 1, up_tries = 0, up_claim = NULL, \
             up_claimed_at = ?3, up_sealed = ?4, up_expires = ?5, claims = coalesce(?6, claims) \
             WHERE sid = ?1 AND up_seq = ?2 AND idle_expires > ?3",
        )
        .bind(new.sid.as_bytes().to_vec())
        .bind(integer(new.seq)?)
        .bind(millis(now)?)
        .bind(upstream.sealed)
        .bind(millis(upstream.expires)?)
        .bind(new.claims)
        .execute(&self.pool)
        .await
        .map_err(StoreError::new)?;
        Ok(changed.rows_affected() == 1)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
