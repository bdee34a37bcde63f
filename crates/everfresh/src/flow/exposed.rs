//! Requests whose tokens would leave this machine unencrypted, with `insecure_dev_only`.

use crate::clock::Timestamp;
use crate::core::Core;
use crate::decide::{Decision, Verdict};
use crate::engine::Engine;
use crate::head::RequestHead;
use crate::mint::ClaimSet;
use crate::origin::is_local;
use crate::session::{RequestFacts, Session, SessionStatus, View};

impl Core {
    /// Returns whether a request names a host that `insecure_dev_only` does not allow.
    pub(crate) fn is_exposed(&self, head: &impl RequestHead) -> bool {
        self.settings.insecure && !is_local(head, &self.settings.insecure_hosts)
    }
}

impl<C: ClaimSet> Engine<C> {
    /// Returns the session of such a request: no token counts, and no user can sign in by it.
    pub(super) fn exposed(&self, now: Timestamp) -> Session<C> {
        tracing::error!(
            target: "everfresh",
            "insecure_dev_only: a request names another host than this machine; leave the setting \
             out and serve https, or name the host by `insecure_dev_host`"
        );
        let (verdict, decision) = (Verdict::Absent, Decision::Pass);
        self.core.metrics.decided(decision, verdict);
        let request = RequestFacts {
            transport: 0,
            began: now,
            same_origin: true,
            user_activity: false,
            verdict,
            decision,
            navigates: false,
            refresh: None,
            refused_refresh: false,
        };
        Session::new(
            self.core.clone(),
            request,
            View::without_token(SessionStatus::InsecureHost, None),
        )
    }
}

#[cfg(test)]
mod tests {
    use http::{Response, StatusCode};

    use crate::Session;
    use crate::dialect::Dialect;
    use crate::testing::*;

    // Rows: L10.
    #[tokio::test]
    async fn no_session_counts_for_another_host_in_the_insecure_mode() {
        let fixture = Fixture::rotating_with(|b| {
            b.insecure_dev_only().insecure_dev_host("dev.example").dialect(Dialect::FREDDY)
        })
        .0;
        let log = Log::listen();
        let sign_in = |session: Session<User>, _| async move {
            let kind = session.sign_in("alice", user("alice")).await.map_err(|error| error.kind());
            Response::new(format!("{kind:?}"))
        };
        let at = |host: &str, cookie: &str| get(&[("host", host), ("cookie", cookie)]);
        let here = fixture.send(at("localhost:3000", ""), sign_in).await;
        let cookie = set_cookies(&here).iter().map(|one| one.split(';').next().unwrap()).fold(
            String::new(),
            |mut all, one| {
                all += one;
                all + "; "
            },
        );
        for host in ["localhost", "127.0.0.1:80", "dev.example:3000"] {
            assert_eq!(fixture.me(at(host, &cookie)).await.body(), "alice", "{host}");
        }
        assert_eq!(log.text().matches("insecure_dev_only").count(), 0);
        for passed in [0, 900] {
            fixture.pass(passed);
            let there = at("app.example", &cookie);
            let answer = fixture.me(there).await;
            assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert!(answer.body().contains("`insecure_dev_only()`"), "{}", answer.body());
            assert!(set_cookies(&answer).is_empty());
            assert!(log.text().contains("insecure_dev_host"));
        }
        let answer = fixture.send(at("app.example", ""), sign_in).await;
        assert_eq!(answer.body(), "Err(InsecureHost)");
        let answer = fixture
            .send(at("app.example", &cookie), |session, _| async move {
                let kinds = (
                    session.optional_claims().unwrap_err().kind(),
                    session.refresh().await.unwrap_err().kind(),
                    session.sign_out().await.is_ok(),
                );
                Response::new(format!("{kinds:?}"))
            })
            .await;
        assert_eq!(answer.body(), "(InsecureHost, InsecureHost, true)");
        let freddy = fixture.auth.endpoints().pop().unwrap();
        let call = freddy.read(&request("POST", &[("host", "app.example")]));
        let session = fixture.auth.begin(&get(&[])).settle().await;
        assert_eq!(freddy.answer(call, Some(b"{}"), Ok(&session)).await.status(), 500);
        assert_eq!(
            fixture.me(at("localhost", &cookie)).await.status(),
            StatusCode::OK,
            "it lives on"
        );
    }
}
