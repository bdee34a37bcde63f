//! Errors for a store that can't be opened. The text names the file or the database, the database's
//! message, and a remedy. It never contains an address, because an address may hold a password.

use std::error::Error;
use std::fmt;

use everfresh::store::StoreError;
use sqlx::migrate::MigrateError;

/// The text of the error, and its cause.
struct OpenError {
    text: String,
    cause: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

everfresh::debug_is_display!(OpenError);

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

fn told(text: String, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::new(OpenError { text, cause: cause.into() })
}

/// The database `what` can't be opened: a file, or a database on a host. The database's error code
/// selects the remedy.
pub(crate) fn cant_open(
    what: &str,
    error: sqlx::Error,
    remedy: impl FnOnce(Option<&str>) -> &'static str,
) -> StoreError {
    let remedy = remedy(code(&error).as_deref());
    told(format!("can't open {what}: {}; {remedy}", said(&error)), error)
}

/// The address of the database can't be parsed.
#[cfg(feature = "postgres")]
pub(crate) fn cant_read(address: &str, error: sqlx::Error) -> StoreError {
    told(format!("its address can't be read: {}; write it as {address}", said(&error)), error)
}

/// The tables can't be migrated. `other` names the alternative if the tables are not everfresh's.
pub(crate) fn cant_migrate(
    error: MigrateError,
    other: &str,
    remedy: impl FnOnce(Option<&str>) -> &'static str,
) -> StoreError {
    let text = match &error {
        MigrateError::VersionMissing(number) | MigrateError::VersionTooNew(number, _) => format!(
            "its tables have migration {number}, which this version of everfresh does not know; \
             use the newer version that made them, or {other}"
        ),
        MigrateError::VersionMismatch(number) => format!(
            "its tables have another migration {number} than this version of everfresh; use the \
             version that made them, or {other}"
        ),
        MigrateError::Dirty(number) => {
            format!("its migration {number} was left half done; restore a backup, or use {other}")
        }
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => {
            let remedy = remedy(code(cause).as_deref());
            format!("its tables can't be brought up to date: {}; {remedy}", said(cause))
        }
        cause => format!("its tables can't be brought up to date: {cause}; use {other}"),
    };
    told(text, error)
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Returns the database's message, or else the innermost cause, in one line.
fn said(error: &sqlx::Error) -> String {
    let text = match error.as_database_error() {
        Some(database) => database.message().to_owned(),
        None => {
            let mut cause: &(dyn Error + 'static) = error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            cause.to_string()
        }
    };
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// Returns the remedy for a result code of SQLite, whose lowest byte is the primary code.
#[cfg(feature = "sqlite")]
pub(crate) fn sqlite_remedy(code: Option<&str>) -> &'static str {
    match code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => "another process holds its lock for too long; let that process end first",
        Some(8) => "let this process write to the file and to its folder",
        Some(11 | 26) => "name another file, or restore a backup of this one",
        Some(13) => "make room on its disk",
        Some(14) => "its folder must be there, and this process must be able to write to it",
        _ => "make sure that this process can read and write the file",
    }
}

/// Returns the remedy for a SQLSTATE of PostgreSQL.
#[cfg(feature = "postgres")]
pub(crate) fn postgres_remedy(code: Option<&str>) -> &'static str {
    match code {
        Some("28000" | "28P01") => "check the user, the password and the entry in pg_hba.conf",
        Some("3D000") => "create the database first, with `createdb`",
        Some("42501") => {
            "grant this database user CREATE on the schema, or run the files in \
             migrations/postgres as a user with that privilege"
        }
        Some("53300") => "raise max_connections, or close other clients' connections first",
        Some(_) => "read the server's log",
        None => "make sure that the server is up and that this machine can reach it",
    }
}

#[cfg(test)]
mod tests {
    use everfresh_error_texts::check_error;

    use super::*;

    #[test]
    fn tables_that_are_not_ours_are_recognized_by_their_migration() {
        let text = |error| cant_migrate(error, "another file", |_| "look at it").to_string();
        for (error, says) in [
            (MigrateError::VersionMissing(7), ["migration 7", "newer version", "another file"]),
            (
                MigrateError::VersionMismatch(7),
                ["migration 7", "version that made", "another file"],
            ),
            (MigrateError::Dirty(7), ["migration 7", "half done", "restore a backup"]),
            (MigrateError::ForceNotSupported, ["up to date", "not support", "another file"]),
            (
                MigrateError::ExecuteMigration(sqlx::Error::PoolTimedOut, 7),
                ["up to date", "timed out", "look at it"],
            ),
        ] {
            check_error(&text(error), &says);
        }
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn an_error_to_open_a_file_names_its_cause_and_remedy() {
        use crate::SqliteStore;

        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(
            file("text"),
            "this is a text, and longer than any header of SQLite's is: so long".repeat(20),
        )
        .unwrap();
        let newer = SqliteStore::open(file("newer")).await.unwrap();
        newer.close().await;
        let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file("newer").display())).await;
        let pool = pool.unwrap();
        sqlx::query(
            "INSERT INTO everfresh_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', TRUE, x'00', 0)",
        )
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
        for (name, says) in [
            ("no/such/folder.db", ["folder.db\"", "unable to open", "its folder must be there"]),
            ("text", ["text\"", "not a database", "name another file"]),
            ("newer", ["migration 9999", "newer version", "another file"]),
        ] {
            let error = SqliteStore::open(file(name)).await.unwrap_err();
            check_error(&error.to_string(), &says);
            assert_eq!(format!("{error:?}"), error.to_string(), "what `main` prints");
            assert!(Error::source(&error).and_then(Error::source).is_some(), "the cause is there");
        }
    }

    #[cfg(feature = "postgres")]
    #[tokio::test]
    async fn an_unreachable_server_is_an_error_with_its_address_and_remedy() {
        use crate::PostgresStore;

        for (url, says) in [
            (
                "postgres://me:hunter2@127.0.0.1:1/app",
                ["\"app\" on 127.0.0.1:1 as \"me\"", "refused", "is up"],
            ),
            ("postgres://me:hunter2@:none/app", ["its address", "write it as", "postgres://user"]),
            ("hunter2", ["its address", "write it as", "postgres://user"]),
        ] {
            let error = PostgresStore::open(url).await.unwrap_err();
            check_error(&error.to_string(), &says);
            assert_eq!(format!("{error:?}"), error.to_string(), "what `main` prints");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        for (code, says) in [
            (Some("28P01"), "password"),
            (Some("3D000"), "createdb"),
            (Some("42501"), "CREATE on the schema"),
            (Some("53300"), "max_connections"),
            (Some("XX000"), "log"),
            (None, "is up"),
        ] {
            assert!(postgres_remedy(code).contains(says));
        }
    }
}
