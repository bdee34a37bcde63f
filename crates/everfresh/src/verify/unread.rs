//! Claims that the app's type can't be deserialized from.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// The claims of a session that the app's type can't be deserialized from. For example, the type
/// gained a required member since the session began.
///
/// [`Display`](fmt::Display) and `Debug` name the type and the member, and never a value. The
/// session continues: see the guide's "Changing your claims type".
///
/// ```
/// use everfresh::{Revalidated, Revalidation};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String, email: String }
///
/// /// For `revalidate_with`: tokens of the former release have no `email`.
/// async fn revalidate(session: Revalidation<User>) -> Result<Revalidated<User>, std::io::Error> {
///     Ok(match session.claims {
///         Ok(_) => Revalidated::Keep,
///         Err(unread) => {
///             let name = unread.json()["name"].as_str().unwrap_or_default().to_owned();
///             Revalidated::Replace(User { name, email: email_of(&session.subject).await? })
///         }
///     })
/// }
/// # async fn email_of(_: &str) -> Result<String, std::io::Error> { Ok(String::new()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UnreadClaims(Arc<Unread>);

#[derive(PartialEq, Eq)]
struct Unread {
    json: Value,
    problem: String,
}

impl UnreadClaims {
    pub(crate) fn new<C>(json: Value, error: &serde_json::Error) -> Self {
        let problem = format!("the claims don't fit `{}`: {}", type_name::<C>(), blame(error));
        Self(Arc::new(Unread { json, problem }))
    }

    /// Returns the app's claims as a JSON object, without the names that everfresh writes itself.
    pub fn json(&self) -> &Value {
        &self.0.json
    }

    pub(crate) fn problem(&self) -> &str {
        &self.0.problem
    }
}

/// Returns serde's message without the values that it quotes, because the values are personal data
/// and the message is logged.
fn blame(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    let names = ["missing field ", "unknown field ", "duplicate field "];
    if names.iter().any(|start| text.starts_with(start)) {
        return text.to_owned();
    }
    let kinds = ["invalid type", "invalid value", "invalid length", "unknown variant"];
    let kind = kinds.iter().find(|kind| text.starts_with(**kind));
    match (kind, text.rsplit_once(", expected ")) {
        (Some(kind), Some((_, expected))) => format!("{kind}, expected {expected}"),
        (Some(kind), None) => (*kind).to_owned(),
        (None, _) => {
            "a member has another type or value than the app's claims type accepts".to_owned()
        }
    }
}

impl fmt::Display for UnreadClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem())
    }
}

impl fmt::Debug for UnreadClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnreadClaims").field(&self.0.problem).finish()
    }
}

impl std::error::Error for UnreadClaims {}
