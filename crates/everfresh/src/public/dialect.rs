//! For apps that serve or call a refresh endpoint whose wire format is given: a [`Dialect`] is that
//! format as data.
//!
//! * To serve one: [`EngineBuilder::dialect`](crate::EngineBuilder::dialect). The adapters mount it
//!   beside everfresh's own endpoints.
//! * To call one: `everfresh-upstream` sends the requests. Its counterpart here has no network:
//!   [`Dialect::request`] builds the request, and [`Dialect::read`] interprets the response.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use everfresh::dialect::{ClientAuthentication, Dialect, RefreshOutcome, RequestValues};
//!
//! # fn main() -> Result<(), everfresh::dialect::DialectError> {
//! let format = Dialect::OAUTH2;
//! let client = ClientAuthentication::None { id: "app".into() };
//! let now = SystemTime::now().into();
//! let values = RequestValues::new("the-refresh-token").client(&client);
//! let request = format.request(&values, now)?;
//! assert!(request.body().starts_with(b"grant_type=refresh_token"));
//!
//! let body = br#"{"access_token": "new", "token_type": "Bearer", "expires_in": 300}"#;
//! let response = http::Response::new(());
//! let outcome = format.read(response.status(), response.headers(), body, now);
//! let RefreshOutcome::Issued(tokens) = outcome else { panic!("{outcome:?}") };
//! assert_eq!(tokens.expires_in, Some(Duration::from_secs(300)));
//! assert_eq!(tokens.refresh_token, None, "the former one stays");
//! # Ok(())
//! # }
//! ```

pub use crate::dialects::dialect::{List, Text};
pub use crate::dialects::request::{
    Body, ClientMembers, Fixed, FixedValue, LifetimeMember, Method, Place, RequestFormat, TokenKind,
};
pub use crate::dialects::response::{
    Condition, ExpiresIn, Outcome, ResponseFormat, Rule, Source, Statuses, Test, Unit,
};
pub use crate::dialects::serving::{ErrorResponse, Errors, ServedMember, ServedValue, Serving};
pub use crate::dialects::{
    ClientAuthentication, ClientSecret, Dialect, RefreshOutcome, RequestValues,
};
pub use crate::error::DialectError;
pub use crate::refresh::AccessTokenResponse;
