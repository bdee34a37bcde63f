//! Checks which engine a request's session belongs to, since several layers may be around one
//! route.

use std::sync::Arc;

use super::Engine;
use crate::mint::ClaimSet;
use crate::reject::Rejection;
use crate::session::Session;

impl<C: ClaimSet> Engine<C> {
    /// For adapters, before [`begin`](Self::begin): returns whether a layer of this same engine
    /// further outside has begun the request. The session in the request's extensions is that
    /// layer's. The second layer then passes the request and the response on unchanged, because it
    /// would miss the tokens that the first one took out of the request.
    ///
    /// Of two different engines, each begins the request itself.
    pub fn has_begun(&self, session: Option<&Session<C>>) -> bool {
        session.is_some_and(|session| self.is_own(session) && !session.sealed())
    }

    /// Returns `Ok` if a user is signed in by a session of this same engine.
    ///
    /// # Errors
    /// The rejection to answer with. Another engine verified its sessions by other keys, for
    /// another audience. For such a session the rejection is
    /// [`MissingLayer`](crate::RejectionKind::MissingLayer), also if the claims have the same type.
    pub fn admit(&self, session: &Session<C>) -> Result<(), Rejection> {
        self.own(session)?.require()
    }

    /// Returns the session, if it is this engine's.
    pub(crate) fn own<'s>(&self, session: &'s Session<C>) -> Result<&'s Session<C>, Rejection> {
        match self.is_own(session) {
            true => Ok(session),
            false => Err(Rejection::missing_layer().with_detail(
                "The session in this request is another engine's: put the layer of the engine that \
                 answers here around this service, inside of the other's.",
            )),
        }
    }

    fn is_own(&self, session: &Session<C>) -> bool {
        Arc::ptr_eq(session.core(), &self.core)
    }
}
