//! Steps 1 to 3 in order: extract, verify, decide.

use super::await_key::{AwaitKey, Fetch};
use super::facts::{OriginFacts, RequestKind};
use super::select_refresh::Refreshing;
use super::wait::{Pending, PendingSession, Progress};
use crate::decide::Purpose;
use crate::engine::Engine;
use crate::extract::{Found, brings_cookie, extract, join_pieces};
use crate::head::RequestHead;
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::origin;
use crate::session::{SessionStatus, View};
use crate::transport::Side;

impl<C: ClaimSet> Engine<C> {
    /// Steps 1 to 3 of the path of a request: extract, verify, decide; and the start of step 4.
    pub fn begin(&self, head: &impl RequestHead) -> Progress<C> {
        let core = &self.core;
        let now = core.now();
        if core.is_exposed(head) {
            return Progress::Pass(self.exposed(now));
        }

        let same_origin = core.settings.csrf_handled_elsewhere
            || !origin::is_cross_site(head, &core.settings.trusted_origins);
        let found = extract(head.fields(), &core.transports, Side::Access, same_origin, &[]);
        let mut selected = self.select(&found, now);
        if selected.view.status == SessionStatus::Absent
            && !same_origin
            && brings_cookie(head.fields(), &core.transports)
        {
            core.emit(&Event::CrossSite);
            selected.view = View::without_token(SessionStatus::CrossSite, None);
        }
        let joined = join_pieces(head.fields(), &core.transports, same_origin);
        let extract_refresh =
            || extract(head.fields(), &core.transports, Side::Refresh, same_origin, &joined);
        let refresh = core.refresher.uses_refresh_tokens().then(extract_refresh);
        let user_activity = match &core.settings.background {
            Some(background) => !background(head.method(), head.path()),
            None => true,
        };
        let facts = OriginFacts { same_origin, user_activity };
        let request_kind = || RequestKind::of(head);

        if selected.lacks_key
            && request_kind().purpose != Purpose::Preflight
            && let Some(fetch) = self.seek_key(&mut selected, &found, now)
        {
            return self.await_key(Some(fetch), &found, refresh.as_ref(), facts, request_kind());
        }
        let chosen = self.select_refresh(&selected, refresh.as_ref(), false, now);
        if matches!(chosen, Refreshing::Doubt(_)) && request_kind().purpose != Purpose::Preflight {
            return self.await_key(None, &found, refresh.as_ref(), facts, request_kind());
        }
        let (session, waits) =
            self.conclude(selected, chosen, refresh.as_ref(), facts, request_kind, now);
        match waits {
            false => Progress::Pass(session),
            true => Progress::Wait(PendingSession(Pending::Refresh(session))),
        }
    }

    /// The request waits for the key of its token, or until the refresher has reported which of its
    /// sessions are over.
    #[cold]
    fn await_key(
        &self,
        fetch: Option<Fetch>,
        found: &Found<'_>,
        refresh: Option<&Found<'_>>,
        facts: OriginFacts,
        kind: RequestKind,
    ) -> Progress<C> {
        let kept = (found.keep(), refresh.map(Found::keep));
        let await_key = AwaitKey::new(self.clone(), fetch, kept, facts, kind);
        Progress::Wait(PendingSession(Pending::AwaitKey(Box::new(await_key))))
    }
}
