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
//! use everfresh::{Failure, Timestamp};
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
//!         Some(FlightKey::new(access.sid, access.fingerprint))
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
//! ```
//!
//! Its test makes what the engine would give it. An engine that has the refresher makes the
//! context ([`Engine::context`](crate::Engine::context)).
//!
//! ```
//! # use everfresh::refresher::{
//! #     Closing, Context, FlightKey, Presented, RefreshRequest, Refresher, SignInRequest, Tokens,
//! # };
//! # use std::collections::HashSet;
//! # use std::sync::{Arc, RwLock};
//! # #[derive(Clone, Default)]
//! # struct UnlessLocked {
//! #     locked: Arc<RwLock<HashSet<String>>>,
//! # }
//! # impl Refresher for UnlessLocked {
//! #     fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey> {
//! #         let access = presented.access.filter(|access| access.session_expires > now)?;
//! #         Some(FlightKey::new(access.sid, access.fingerprint))
//! #     }
//! #     async fn refresh(&self, cx: Context, request: RefreshRequest) -> Result<Tokens, Failure> {
//! #         let mut claims = request.session_claims.ok_or(Failure::Foreign)?;
//! #         let locked = self.locked.read().map(|locked| locked.contains(&claims.subject));
//! #         if locked.map_err(|_| Failure::SOON)? {
//! #             return Err(Failure::Rejected);
//! #         }
//! #         cx.revalidate(&mut claims).await?;
//! #         cx.mint(&claims)
//! #     }
//! #     async fn sign_in(&self, cx: Context, request: SignInRequest) -> Result<Tokens, Failure> {
//! #         cx.mint(&request.session_claims)
//! #     }
//! #     async fn sign_out(&self, _: Context, closing: Closing) -> Result<Option<String>, Failure> {
//! #         Ok(closing.sid)
//! #     }
//! # }
//! use std::time::Duration;
//! use everfresh::refresher::{ClaimsObject, SessionClaims, VerifiedToken};
//! use everfresh::{Engine, Failure, Keys, ManualClock, Timestamp};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let now = Timestamp::from_secs(1_800_000_000);
//! let refresher = UnlessLocked::default();
//! let auth = Engine::<()>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .clock(ManualClock::starting_at(now))
//!     .refresh_with(refresher.clone())
//!     .build()?;
//!
//! // An expired access token counts until its session ends.
//! let session_expires = now.plus(Duration::from_secs(3600));
//! let expired = VerifiedToken::new("session-1", 7, now, session_expires);
//! let presented = Presented::new(Some(expired), None);
//! assert_eq!(refresher.identify(presented, now), Some(FlightKey::new("session-1", 7)));
//! assert_eq!(refresher.identify(presented, session_expires), None);
//!
//! // Its session is refreshed, unless the account was locked.
//! let claims = ClaimsObject::from_text("{}").ok_or("no JSON object")?;
//! let claims = SessionClaims::new("ada", "session-1", claims, now, session_expires);
//! let request = RefreshRequest::new(Some(claims), None, true);
//! let tokens = refresher.refresh(auth.context(), request.clone()).await?;
//! assert_eq!(tokens.session_expires, session_expires);
//! refresher.locked.write().unwrap().insert("ada".into());
//! let refused = refresher.refresh(auth.context(), request).await.unwrap_err();
//! assert_eq!(refused, Failure::Rejected);
//! # Ok(())
//! # }
//! ```

pub use crate::mint::{ClaimsObject, SessionClaims};
pub use crate::refresh::{
    Closing, Context, FlightKey, Presented, RefreshRequest, RefreshToken, Refresher,
    ReissueRequest, Setup, SignInRequest, Tokens, VerifiedToken,
};
