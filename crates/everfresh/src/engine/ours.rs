//! Whose session a request carries, where several layers stand around one route.

use std::sync::Arc;

use super::Engine;
use crate::reject::Rejection;
use crate::session::{ClaimSet, Session};

impl<C: ClaimSet> Engine<C> {
    /// For adapters, before [`begin`](Self::begin): whether a layer of this very engine stands
    /// further outside and has begun the request, whose session is the one in its extensions. A
    /// second layer then passes the request on as it is, and the response too: what the first one
    /// took out of the request, a second one would miss.
    ///
    /// Of two engines each begins for itself.
    pub fn has_begun(&self, session: Option<&Session<C>>) -> bool {
        session.is_some_and(|session| self.is_own(session) && !session.sealed())
    }

    /// `Ok` if somebody is signed in by a session of this very engine, else the answer to give.
    ///
    /// Another engine's session has been verified by other keys, for another audience: for it the
    /// answer is [`MissingLayer`](crate::RejectionKind::MissingLayer), also where the claims have
    /// the same type.
    pub fn admit(&self, session: &Session<C>) -> Result<(), Rejection> {
        self.own(session)?.require()
    }

    /// The session, if it is this engine's.
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
