//! Step 3: decides by what the tokens are worth, and begins the session.

use super::facts::{OriginFacts, RequestKind};
use super::select::AccessSelection;
use super::select_refresh::Refreshing;
use crate::clock::Timestamp;
use crate::decide::{Decision, Verdict, decide};
use crate::engine::Engine;
use crate::extract::Found;
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::refresh::flight::Mode;
use crate::refresh::{Context, Presented, RefreshToken};
use crate::session::{RequestFacts, Session, SessionStatus, View};
use crate::verify::{InvalidReason, Verified};

impl<C: ClaimSet> Engine<C> {
    /// Decides what to do, once the tokens are selected. Returns the session, and whether the
    /// request waits for a refresh.
    pub(super) fn conclude(
        &self,
        selected: AccessSelection<C>,
        chosen: Refreshing,
        refresh: Option<&Found<'_>>,
        facts: OriginFacts,
        request_kind: impl FnOnce() -> RequestKind,
        now: Timestamp,
    ) -> (Session<C>, bool) {
        let core = &self.core;
        let AccessSelection { mut verdict, transport, mut view, .. } = selected;
        if let Some(reason) = view.reason {
            core.emit(&Event::TokenRefused { reason });
        }
        let selected_refresh = match chosen {
            Refreshing::Token(token) => Some(token),
            Refreshing::Nothing => None,
            Refreshing::Doubt(_) | Refreshing::Conflict => {
                (verdict, view) = (Verdict::Invalid, self.refuse_conflict());
                None
            }
        };
        let refused_refresh = selected_refresh.is_none() && refresh.is_some_and(Found::is_brought);
        if selected_refresh.as_ref().is_some_and(|one| !one.beside) {
            // The refresh token is another session's, so the expired access token is ignored.
            (verdict, view) = (Verdict::Absent, View::without_token(SessionStatus::Absent, None));
        }
        // Without a verified access token the refresh token's transport counts, so that no token
        // moves from a cookie to a place that scripts can read.
        let transport = match (&selected_refresh, &view.verified) {
            (Some(one), None) => Some(one.transport),
            _ => transport,
        };
        let refresh = selected_refresh.map(|one| one.token);

        let unread = view.unread().is_some();
        let could_refresh = view.verified.is_some() || refresh.is_some();
        let (decision, navigates) = match could_refresh && (verdict != Verdict::Fresh || unread) {
            false => (Decision::Pass, false),
            true => self.decide_due(verdict, &view, refresh.as_ref(), request_kind, now),
        };
        if unread && decision == Decision::Pass {
            self.refuse_unread(&mut view);
        }

        core.metrics.decided(decision, verdict);
        let OriginFacts { same_origin, user_activity } = facts;
        let transport = transport.unwrap_or(0);
        let request = RequestFacts {
            transport,
            same_origin,
            began: now,
            user_activity,
            verdict,
            decision,
            navigates,
            refresh,
            refused_refresh,
        };
        let session = Session::new(core.clone(), request, view);
        session.note_presented();
        if decision == Decision::Advise {
            session.advise(now);
        }
        (session, decision == Decision::Wait)
    }

    /// Decides for a token that is not fresh, or whose claims the app's type does not take. Returns
    /// the decision, and whether the request is a top-level navigation that waits.
    ///
    /// Outside of [`conclude`](Self::conclude), so that requests with a fresh token don't carry it.
    #[inline(never)]
    fn decide_due(
        &self,
        verdict: Verdict,
        view: &View<C>,
        refresh: Option<&RefreshToken>,
        request_kind: impl FnOnce() -> RequestKind,
        now: Timestamp,
    ) -> (Decision, bool) {
        let core = &self.core;
        // Revalidation may return other claims, whatever the token's age.
        let due = match view.unread().is_some() && core.settings.revalidate.is_some() {
            true => Verdict::Expired,
            false => verdict,
        };
        let refreshable = || {
            let held = view.verified.as_deref().map(Verified::as_verified_token);
            core.refresher.identify(Presented::with(held, refresh), now).is_some()
        };
        // The request's kind is read only if something could be refreshed.
        if due == Verdict::Fresh || !refreshable() {
            return (Decision::Pass, false);
        }
        let RequestKind { purpose, navigates } = request_kind();
        let decision = decide(due, purpose);
        (decision, navigates && decision == Decision::Wait)
    }

    /// The request goes on without a user, because an attacker may have planted its tokens.
    #[cold]
    fn refuse_conflict(&self) -> View<C> {
        let reason = InvalidReason::Conflict;
        self.core.emit(&Event::TokenRefused { reason });
        View::without_token(SessionStatus::Rejected, Some(reason))
    }

    /// The request goes on without a user, because the app's type does not take the claims.
    #[cold]
    fn refuse_unread(&self, view: &mut View<C>) {
        if let Some(unread) = view.unread().cloned() {
            self.core.tell_unread(&unread);
        }
        self.core.emit(&Event::TokenRefused { reason: InvalidReason::Claims });
        view.reason = Some(InvalidReason::Claims);
    }
}

impl<C: ClaimSet> Session<C> {
    /// Records that the client presented a token. Watches of the session are extended, and a
    /// generation that is presented for the first time is reported to the refresher. Only tokens
    /// that clients present confirm a rotation. The report runs beside the request, and is repeated
    /// on a later request if it failed.
    fn note_presented(&self) {
        let Some(verified) = &self.0.begun.verified else { return };
        let sid = &*verified.sid;
        let core = &self.0.core;
        core.watches.extend(sid, verified.expires);
        let Some(generation) = verified.generation else { return };
        // If every request is user activity, rotations extend the idle time, and no report has to.
        let user_activity = core.settings.background.is_some() && self.0.request.user_activity;
        if verified.reported.is(user_activity) || !core.seen.first(sid, generation, user_activity) {
            return;
        }
        let Some(runtime) = core.runtime() else {
            return core.seen.forget(sid, generation, user_activity);
        };
        let (core, sid, verified) = (core.clone(), sid.to_owned(), verified.clone());
        let report = async move {
            let cx = Context::new(core.clone());
            let confirmed =
                core.refresher.clone().confirm(cx, sid.clone(), generation, user_activity);
            match confirmed.await {
                Ok(_) => verified.reported.note(user_activity),
                Err(_) => core.seen.forget(&sid, generation, user_activity),
            }
        };
        runtime.spawn(report);
    }

    /// Starts or joins a flight beside the request. Its result is sent with the response if it is
    /// ready.
    fn advise(&self, now: Timestamp) {
        if let Some(joined) = self.join_flight(Mode::Background, now) {
            self.note_flight(joined.entry, "running");
            self.keep_beside(joined);
        }
    }
}
