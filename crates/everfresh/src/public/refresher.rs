//! For authors of refreshers, which decide what keeps a session alive and make its tokens. Apps use
//! [`Reissue`](crate::Reissue), [`Rotate`](crate::Rotate) or `everfresh-upstream`.
//!
//! [`Refresher::identify`] decides without I/O which requests may have new tokens;
//! [`Refresher::refresh`] makes them; [`Refresher::sign_in`] and [`Refresher::sign_out`] begin and
//! end a session. The other methods have defaults. The engine runs one refresh per session at a
//! time, checks and delivers the tokens, and backs off after failures.
//!
//! ```
//! use std::collections::HashSet;
//! use std::sync::{Arc, RwLock};
//! use everfresh::refresher::{
//!     Closing, Context, FlightKey, Presented, RefreshRequest, Refresher, SignInRequest, Tokens,
//! };
//! use everfresh::{Engine, Failure, Keys, Timestamp};
//!
//! /// Keeps sessions alive while their account is not locked.
//! #[derive(Clone, Default)]
//! struct UnlessLocked {
//!     locked: Arc<RwLock<HashSet<String>>>,
//! }
//!
//! impl Refresher for UnlessLocked {
//!     fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey> {
//!         let access = presented.access.filter(|access| access.session_expires > now)?;
//!         Some(FlightKey { sid: access.sid.into(), fingerprint: access.fingerprint })
//!     }
//!
//!     async fn refresh(&self, cx: Context, request: RefreshRequest) -> Result<Tokens, Failure> {
//!         // `identify` admits no request without an access token.
//!         let mut claims = request.session_claims.ok_or(Failure::Foreign)?;
//!         let locked = self.locked.read().map(|locked| locked.contains(&claims.subject));
//!         // The account may be open: an outage ends no session.
//!         if locked.map_err(|_| Failure::SOON)? {
//!             return Err(Failure::Rejected);
//!         }
//!         cx.revalidate(&mut claims).await?;
//!         cx.mint(&claims)
//!     }
//!
//!     async fn sign_in(&self, cx: Context, request: SignInRequest) -> Result<Tokens, Failure> {
//!         cx.mint(&request.session_claims)
//!     }
//!
//!     async fn sign_out(&self, _: Context, closing: Closing) -> Result<Option<String>, Failure> {
//!         Ok(closing.sid)
//!     }
//! }
//!
//! # fn main() -> Result<(), everfresh::ConfigError> {
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let auth = Engine::<()>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(UnlessLocked::default())
//!     .build()?;
//! # let _ = auth;
//! # Ok(())
//! # }
//! ```

pub use crate::mint::{ClaimsObject, SessionClaims};
pub use crate::refresh::{
    Closing, Context, FlightKey, Presented, RefreshRequest, RefreshToken, Refresher,
    ReissueRequest, Setup, SignInRequest, Tokens, VerifiedToken,
};
