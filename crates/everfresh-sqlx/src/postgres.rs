//! Sessions in PostgreSQL.

use std::fmt;
use std::time::Duration;

use everfresh::store::{
    Loaded, NewSession, Publication, Reservation, RevocationSink, Rotation, SessionRecord,
    SessionStore, StoreError, UpstreamTokenStore,
};
use everfresh::{Clock, SessionId};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions as _, Connection as _, Postgres};

use crate::opening::{cant_migrate, cant_open, cant_read, postgres_remedy};
use crate::row::{Columns as _, MAX_LIST, duration, integer, millis, record, sid, time};

/// How long a statement may take, and how long a caller waits for a connection.
const LIMIT: Duration = Duration::from_secs(3);

/// The server cancels a statement that takes too long and reports that. If the server does not
/// respond at all, the connection is given up this much later.
const GRACE: Duration = Duration::from_secs(1);

/// How many connections one node has.
const CONNECTIONS: u32 = 10;

/// A connection that was idle for longer is tested before it is used.
const FRESH: Duration = Duration::from_secs(1);

/// How long that test may take. If all connections of a pool are dead, all of them can be tested
/// while one caller waits.
const TRY: Duration = Duration::from_millis(250);

/// The form of an address.
const ADDRESS: &str = "postgres://user:password@host:port/database";

/// How many rows a sweep examines in one statement, so that each statement stays short.
const SWEEP_BATCH: usize = 1000;

type Statement = Query<'static, Postgres, PgArguments>;

/// The server's time in milliseconds, at the start of the statement, so that the whole statement
/// uses one time. The first parameter is NULL except in tests.
macro_rules! now {
    () => {
        "coalesce($1::bigint, floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint)"
    };
}

macro_rules! columns {
    () => {
        "sid, subject, generation, key_id, confirmed, rotated_at, created_at, idle_expires, \
         absolute_expires, idle_lifetime, persistent, claims, attributes, salt, up_seq, up_tries, \
         up_claim, up_claimed_at, up_sealed, up_expires"
    };
}

// After the macros, because the module uses them.
mod end;
mod feed;
mod giving_up;

use giving_up::{GivenUp, cant_serve};

/// Stores sessions in PostgreSQL.
///
/// The store is a cheap handle: clones share the connections.
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    given_up: GivenUp,
    /// A test's clock, in place of the server's.
    clock: Option<Clock>,
}

impl PostgresStore {
    /// Connects to `postgres://[user[:password]@]host[:port]/database`, with up to 10 connections,
    /// and migrates the tables. If the user has no right to create tables, another user has to run
    /// the migrations first.
    ///
    /// Each connection has a `statement_timeout` and an `idle_in_transaction_session_timeout` of
    /// 3 s, and the isolation level `read committed`, which rule 1 of this crate needs. `PgBouncer`
    /// accepts no such options at the start of a connection. With it, use
    /// [`with_pool`](Self::with_pool), and set the options for the role or the database.
    ///
    /// `PgBouncer` has to be in session mode. Its transaction mode supports neither the prepared
    /// statements that every step uses (before its version 1.21) nor `LISTEN`, by which a node
    /// learns of sessions that other nodes end. The node would miss all of them without an error.
    ///
    /// If a server reports that it can't serve (read-only after a failover, shutting down), the
    /// store closes that connection and all connections that were made before the report. The next
    /// caller makes a new connection.
    ///
    /// # Errors
    /// The address is invalid, the server can't be reached or refuses the connection, or the tables
    /// were made by a newer version of everfresh.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let limit = LIMIT.as_millis().to_string();
        let given_up = GivenUp::default();
        let before = given_up.clone();
        let options: PgConnectOptions = url.parse().map_err(|error| cant_read(ADDRESS, error))?;
        let shown = format!(
            "{:?} on {}:{} as {:?}",
            options.get_database().unwrap_or_else(|| options.get_username()),
            options.get_host(),
            options.get_port(),
            options.get_username(),
        );
        let options = options.disable_statement_logging().options([
            ("statement_timeout", &*limit),
            ("idle_in_transaction_session_timeout", &*limit),
            ("default_transaction_isolation", "read committed"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(LIMIT)
            // `before_acquire` tests idle connections alone: a test for each statement would be a
            // second round trip.
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let before = before.clone();
                Box::pin(async move {
                    if meta.idle_for > FRESH {
                        let tried = tokio::time::timeout(TRY, connection.ping()).await;
                        tried.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                    }
                    Ok(!before.is_outdated(meta.age))
                })
            })
            .connect_with(options.clone())
            .await;
        match pool {
            Ok(pool) => Ok(Self { given_up, ..Self::with_pool(pool).await? }),
            Err(error) => Err(cant_open(&shown, why(&options, error).await, postgres_remedy)),
        }
    }

    /// Uses your own connections, to share them with the app's tables. Migrates everfresh's tables.
    ///
    /// Set an `acquire_timeout` for the pool and a `statement_timeout` for its connections, and
    /// leave them at `read committed`. Under a stricter isolation level, steps that lose a race
    /// fail with errors.
    ///
    /// # Errors
    /// The tables can't be made, or were made by a newer version of everfresh.
    pub async fn with_pool(pool: PgPool) -> Result<Self, StoreError> {
        let mut migrator = sqlx::migrate!("migrations/postgres");
        // The app may have its own migrations.
        migrator.dangerous_set_table_name("everfresh_migrations");
        let migrated = migrator.run(&pool).await;
        migrated.map_err(|error| cant_migrate(error, "another database", postgres_remedy))?;
        Ok(Self { pool, given_up: GivenUp::default(), clock: None })
    }

    /// Sets a clock in place of the server's, for tests.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = Some(clock.into());
        self
    }

    /// Waits until every statement has ended, and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Returns a statement with its first parameter bound.
    fn statement(&self, sql: &'static str) -> Result<Statement, StoreError> {
        let now = self.clock.as_ref().map(|clock| millis(clock.now())).transpose()?;
        Ok(sqlx::query(sql).bind(now))
    }

    async fn execute(&self, statement: Statement) -> Result<u64, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(StoreError::new)?;
        let done = within(statement.execute(&mut *connection)).await;
        self.finish(connection, done).map(|done| done.rows_affected())
    }

    async fn rows(&self, statement: Statement) -> Result<Vec<PgRow>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(StoreError::new)?;
        let done = within(statement.fetch_all(&mut *connection)).await;
        self.finish(connection, done)
    }

    /// Returns a connection to the pool, or gives it up.
    fn finish<T>(
        &self,
        mut connection: PoolConnection<Postgres>,
        done: Option<Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let Some(done) = done else {
            // The connection may be dead without a notice from either end. The pool makes another.
            drop(connection.detach());
            return Err(StoreError::new(format!("no answer within {:?}", LIMIT + GRACE)));
        };
        if done.as_ref().is_err_and(cant_serve) {
            self.given_up.note();
            drop(connection.detach());
        } else {
            // Dropping the connection would return it as well, after a test without a limit. If the
            // network fails meanwhile, the pool would lack this connection until the operating
            // system gives up.
            tokio::spawn(tokio::time::timeout(LIMIT, connection.return_to_pool()));
        }
        done.map_err(StoreError::new)
    }

    /// Examines one batch of rows that are due. Returns how many rows it removed, and how many it
    /// examined.
    async fn sweep_some(&self, limit: usize) -> Result<(usize, usize), StoreError> {
        // A session that was used since then gets its new expiry as `look_at`. Rows that another
        // sweep has locked are skipped.
        let statement = self.statement(concat!(
            "WITH due AS (SELECT sid FROM everfresh_sessions WHERE look_at <= ",
            now!(),
            " ORDER BY look_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
             gone AS (DELETE FROM everfresh_sessions AS row USING due \
             WHERE row.sid = due.sid AND row.idle_expires <= ",
            now!(),
            " RETURNING 1), \
             kept AS (UPDATE everfresh_sessions AS row SET look_at = row.idle_expires FROM due \
             WHERE row.sid = due.sid AND row.idle_expires > ",
            now!(),
            " RETURNING 1) \
             SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM due) AS due",
        ))?;
        let limit = i64::try_from(limit).map_err(StoreError::new)?;
        let rows = self.rows(statement.bind(limit)).await?;
        let row = rows.first().ok_or_else(|| StoreError::new("no counts"))?;
        let count = |column| usize::try_from(row.integer(column)?).map_err(StoreError::new);
        Ok((count("gone")?, count("due")?))
    }
}

/// Returns the cause of a failure to connect. The pool reports only a timeout, so this function
/// tries once more.
async fn why(options: &PgConnectOptions, error: sqlx::Error) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    match tokio::time::timeout(TRY, options.connect()).await {
        Ok(Err(cause)) => cause,
        _ => error,
    }
}

/// Returns the answer, or `None` if it is overdue.
async fn within<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Option<Result<T, sqlx::Error>> {
    tokio::time::timeout(LIMIT + GRACE, answer).await.ok()
}

impl SessionStore for PostgresStore {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        let attributes = serde_json::to_string(&new.attributes).map_err(StoreError::new)?;
        let expires_in =
            new.upstream.as_ref().map(|upstream| duration(upstream.expires_in)).transpose()?;
        let statement = self.statement(concat!(
            "INSERT INTO everfresh_sessions (sid, subject, generation, key_id, confirmed, \
             rotated_at, created_at, idle_expires, look_at, absolute_expires, idle_lifetime, \
             persistent, claims, attributes, salt, up_seq, up_tries, up_claimed_at, up_sealed, \
             up_expires) \
             SELECT $2, $3, 0, $4, false, now, now, now + least($5, $6), now + least($5, $6), \
             now + $6, $5, $7, $8, $9, $10, absent.none, absent.none, now + absent.none, $11, \
             now + $12 FROM (SELECT ",
            now!(),
            " AS now) AS clock, \
             (SELECT CASE WHEN $11::bytea IS NOT NULL THEN 0 END AS none) AS absent",
        ))?;
        let statement = statement
            .bind(new.sid.as_bytes().to_vec())
            .bind(new.subject.into_bytes())
            .bind(i64::from(new.key_id))
            .bind(duration(new.idle_lifetime)?)
            .bind(duration(new.absolute_lifetime)?)
            .bind(new.persistent)
            .bind(new.claims)
            .bind(attributes)
            .bind(new.salt.to_vec())
            .bind(new.upstream.map(|upstream| upstream.sealed))
            .bind(expires_in);
        self.execute(statement).await.map(drop)
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        let statement = self.statement(concat!(
            "SELECT ",
            columns!(),
            ", ",
            now!(),
            " AS now FROM everfresh_sessions \
             WHERE sid = $2 AND idle_expires > ",
            now!(),
        ))?;
        let rows = self.rows(statement.bind(sid.as_bytes().to_vec())).await?;
        let loaded = |row| Ok(Loaded::new(record(row)?, time(row, "now")?));
        rows.first().map(loaded).transpose()
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        let statement = self.statement(concat!(
            "UPDATE everfresh_sessions SET confirmed = false, generation = $4, key_id = $5, \
             claims = coalesce($6, claims), rotated_at = ",
            now!(),
            ", \
             idle_expires = CASE WHEN $3 = $4 OR NOT $7 THEN idle_expires \
             ELSE least(",
            now!(),
            " + idle_lifetime, absolute_expires) END \
             WHERE sid = $2 AND generation = $3 AND ($3 <> $4 OR NOT confirmed) \
             AND idle_expires > ",
            now!(),
        ))?;
        let statement = statement
            .bind(rotation.sid.as_bytes().to_vec())
            .bind(integer(rotation.from)?)
            .bind(integer(rotation.to)?)
            .bind(i64::from(rotation.key_id))
            .bind(rotation.claims)
            .bind(rotation.user_activity);
        Ok(self.execute(statement).await? == 1)
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        let statement = self.statement(concat!(
            "UPDATE everfresh_sessions SET confirmed = true, idle_expires = CASE WHEN $4 \
             THEN least(",
            now!(),
            " + idle_lifetime, absolute_expires) ELSE idle_expires END \
             WHERE sid = $2 AND generation = $3 AND (NOT confirmed OR $4) AND idle_expires > ",
            now!(),
        ))?;
        let statement =
            statement.bind(sid.as_bytes().to_vec()).bind(integer(generation)?).bind(user_activity);
        self.execute(statement).await.map(drop)
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.end_one(sid).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.end_all(subject, except).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let statement = self.statement(concat!(
            "SELECT ",
            columns!(),
            " FROM everfresh_sessions \
             WHERE subject = $2 AND idle_expires > ",
            now!(),
            " \
             ORDER BY rotated_at DESC, sid DESC LIMIT $3",
        ))?;
        let statement = statement.bind(subject.as_bytes().to_vec()).bind(MAX_LIST);
        self.rows(statement).await?.iter().map(record).collect()
    }

    async fn newest(&self, subject: &str, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        let statement = self.statement(concat!(
            "SELECT sid FROM everfresh_sessions WHERE subject = $2 AND idle_expires > ",
            now!(),
            " ORDER BY created_at DESC, sid DESC LIMIT $3",
        ))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = statement.bind(subject.as_bytes().to_vec()).bind(limit);
        self.rows(statement).await?.iter().map(sid).collect()
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        let mut swept = 0;
        while swept < limit {
            let some = SWEEP_BATCH.min(limit - swept);
            let (gone, seen) = self.sweep_some(some).await?;
            swept += gone;
            if seen < some {
                break;
            }
        }
        self.forget_ends().await?;
        Ok(swept)
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        self.tell(&sink).await
    }
}

impl UpstreamTokenStore for PostgresStore {
    async fn reserve(&self, reservation: Reservation) -> Result<bool, StoreError> {
        let statement = self.statement(concat!(
            "UPDATE everfresh_sessions SET up_claim = $4, up_claimed_at = ",
            now!(),
            ", \
             up_tries = up_tries + 1 WHERE sid = $2 AND up_seq = $3 AND idle_expires > ",
            now!(),
            " AND CASE WHEN $5::bytea IS NULL THEN up_tries = 0 \
             ELSE up_tries > 0 AND up_claim = $5 END",
        ))?;
        let statement = statement
            .bind(reservation.sid.as_bytes().to_vec())
            .bind(integer(reservation.seq)?)
            .bind(reservation.id.to_vec())
            .bind(reservation.replaces.map(|(replaces, _)| replaces.to_vec()));
        Ok(self.execute(statement).await? == 1)
    }

    async fn release(&self, reservation: Reservation) -> Result<bool, StoreError> {
        let statement = sqlx::query(
            "UPDATE everfresh_sessions SET up_tries = up_tries - 1, \
             up_claim = CASE WHEN up_tries = 1 THEN NULL ELSE $4 END, \
             up_claimed_at = coalesce($5, up_claimed_at) \
             WHERE sid = $1 AND up_seq = $2 AND up_claim = $3 AND up_tries > 0",
        );
        let statement = statement
            .bind(reservation.sid.as_bytes().to_vec())
            .bind(integer(reservation.seq)?)
            .bind(reservation.id.to_vec())
            .bind(reservation.replaces.map(|(replaces, _)| replaces.to_vec()))
            .bind(reservation.replaces.map(|(_, at)| millis(at)).transpose()?);
        Ok(self.execute(statement).await? == 1)
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.take_one(sid).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        let statement = self.statement(concat!(
            "UPDATE everfresh_sessions SET up_seq = up_seq + 1, up_tries = 0, up_claim = NULL, \
             up_claimed_at = ",
            now!(),
            ", up_expires = ",
            now!(),
            " + $4, up_sealed = $5, \
             claims = coalesce($6, claims) \
             WHERE sid = $2 AND up_seq = $3 AND idle_expires > ",
            now!(),
        ))?;
        let statement = statement
            .bind(new.sid.as_bytes().to_vec())
            .bind(integer(new.seq)?)
            .bind(duration(new.tokens.expires_in)?)
            .bind(new.tokens.sealed)
            .bind(new.claims);
        Ok(self.execute(statement).await? == 1)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
