use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use everfresh_axum::{Error, Session};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

/// The old check, unchanged: signature, `exp`, and anything else it had. Returns the subject, the
/// claims, and the second in which the token was made.
fn still_good(old: &str) -> Option<(String, User, u64)> {
    (old == "old-token-of-ada").then(|| ("ada".into(), User { name: "Ada".into() }, 1_700_000_000))
}

/// In the app's database: the second up to which a user's old tokens don't count.
static OLD_ENDED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Deletes the old cookie. `Path` and `Domain` are those that it was set with.
fn without_old() -> AppendHeaders<[(HeaderName, &'static str); 1]> {
    AppendHeaders([(SET_COOKIE, "old=; Path=/; Max-Age=0")])
}

/// `POST /auth/exchange`: a client with a session keeps it, a client with an old cookie gets a session
/// in its place.
async fn exchange(session: Session<User>, headers: HeaderMap) -> Result<impl IntoResponse, Error> {
    if session.claims().is_ok() {
        return Ok((StatusCode::NO_CONTENT, without_old()));
    }
    let cookies = headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    let old = cookies.flat_map(|value| value.split("; ")).find_map(|pair| pair.strip_prefix("old="));
    let Some((subject, user, made)) = old.and_then(still_good) else {
        return Ok((StatusCode::UNAUTHORIZED, without_old()));
    };
    let ended = OLD_ENDED.lock().unwrap_or_else(PoisonError::into_inner).get(&subject).copied();
    if ended.is_some_and(|ended| made <= ended) {
        return Ok((StatusCode::UNAUTHORIZED, without_old()));
    }
    session.sign_in(subject, user).await?;
    Ok((StatusCode::NO_CONTENT, without_old()))
}

/// `POST /logout-everywhere`, and the same when a password changes.
async fn everywhere(session: Session<User>) -> Result<impl IntoResponse, Error> {
    if let Some(subject) = session.subject() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        OLD_ENDED.lock().unwrap_or_else(PoisonError::into_inner).insert(subject, now);
    }
    session.sign_out_everywhere().await?;
    Ok((StatusCode::NO_CONTENT, without_old()))
}
