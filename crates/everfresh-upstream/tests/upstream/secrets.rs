//! No token and no secret appears in any output, and a bad configuration is found at once.

use std::sync::{Arc, Mutex};

use everfresh::dialect::{ClientAuthentication, ClientSecret, Dialect};
use everfresh::{ConfigError, Engine, Keys, MemoryStore};
use everfresh_upstream::{HttpError, Replay, Upstream};

use crate::fixture::*;
use crate::provider::{Act, Provider, SECRET_PART};

/// The output of a subscriber.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins to keep what this thread logs, down to the level.
    pub(crate) fn begin(level: tracing::Level) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish();
        // A callsite that another thread reaches first is disabled for all threads, unless that
        // thread has a subscriber too.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// Rows: S34, S84, F112.
#[tokio::test(start_paused = true)]
async fn no_token_and_no_secret_in_logs_events_or_debug() {
    let (log, _guard) = Log::begin(tracing::Level::TRACE);

    const CLIENT_SECRET: &str = "hush-hush-hush";
    let secret = || ClientSecret::from(CLIENT_SECRET);
    let mut shown = String::new();
    for client in [
        ClientAuthentication::Basic { id: "app".into(), secret: secret() },
        ClientAuthentication::Post { id: "app".into(), secret: secret() },
    ] {
        let fixture = Fixture::set(|upstream| {
            let upstream = upstream.client(client.clone()).replay(Replay::Within(secs(40)));
            log.0.lock().unwrap().extend_from_slice(format!("{upstream:?}").as_bytes());
            upstream
        });
        fixture.tick();
        for act in [
            Act::Good,
            Act::Say(400, &[], r#"{"error":"invalid_request","rt":"rt.ada.0.pssst"}"#),
            Act::Say(401, &[], r#"{"error":"invalid_client"}"#),
            Act::Say(200, &[], r#"{"access_token":"at.ada.1.pssst","rt"#),
            Act::TakeAndFail(HttpError::Lost { cause: "reset".into() }),
            Act::Fail(HttpError::Connect { cause: "refused".into() }),
            Act::TakeAndSay(504, "at.ada.1.pssst"),
        ] {
            let mut client = fixture.expired("ada").await;
            fixture.provider.next(act);
            let answer = fixture.get(&mut client).await;
            shown += &answer.body;
            let row = fixture.row(&client).await;
            shown += &format!("{row:?} {:?}", row.as_ref().and_then(|row| row.upstream.clone()));
            tokio::time::sleep(secs(1)).await;
            let out = fixture
                .node()
                .send(&mut client, |session| async move {
                    let issued = session.upstream_access_token().await;
                    let shown = format!("{session:?} {issued:?}");
                    session.sign_out().await?;
                    Ok(shown)
                })
                .await;
            shown += &out.body;
        }
        shown += &fixture.node().events().join("\n");
        shown += &format!("{:?}", fixture.node().auth);
        // A sealed token shows nothing either.
        let client = fixture.adopt("ada").await;
        let upstream = fixture.row(&client).await.unwrap().upstream.unwrap();
        let sealed = String::from_utf8_lossy(&upstream.sealed).into_owned();
        assert!(!sealed.contains(SECRET_PART));
    }
    shown += &String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let spans = ["everfresh.upstream{sid=", "status=401"];
    for expected in
        ["refresh failed", "Upstream {", "InDoubt", "the other server"].into_iter().chain(spans)
    {
        assert!(shown.contains(expected), "it was written: {expected}");
    }
    for secret in [SECRET_PART, CLIENT_SECRET, SECRET, "aHVzaC", "YXBwOmh1c2"] {
        let at = shown.find(secret);
        assert!(at.is_none(), "{secret}: {}", &shown[at.unwrap().saturating_sub(200)..]);
    }
}

fn build(change: impl FnOnce(Upstream) -> Upstream) -> Result<Engine<User>, ConfigError> {
    let provider = Provider::new();
    let upstream = Upstream::oauth2(&provider.client(), url("https://id.example/token"));
    Engine::builder(Keys::hs256(SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .refresh_with(change(upstream).kept_in(MemoryStore::new()))
        .build()
}

// Rows: F120.
#[tokio::test]
async fn a_contradiction_is_found_when_the_engine_is_built() {
    let own = |upstream: Upstream| upstream.client(public_client());
    build(own).unwrap();
    let grace = |seconds| move |u| own(u).replay(Replay::Within(secs(seconds)));
    let broken = |upstream: Upstream| {
        let mut dialect = Dialect::VIJIL;
        dialect.request.places = Vec::new().into();
        let _ = upstream;
        Upstream::at(&Provider::new().client(), dialect, url("https://id.example/token"))
    };
    for (problem, says) in [
        (build(|upstream| upstream), "Upstream::client"),
        (build(|upstream| own(upstream).limit(secs(0))), "Upstream::limit"),
        (build(|upstream| own(upstream).limit(secs(301))), "Upstream::limit"),
        (build(|upstream| own(upstream).max_calls(0)), "Upstream::max_calls"),
        (build(grace(3)), "Upstream::replay"),
        (build(grace(86_401)), "Upstream::replay"),
        (build(broken), "places"),
        (
            build(|_| {
                let http = Provider::new().client();
                Upstream::at(&http, Dialect::VIJIL, url("https://id.example/refresh"))
                    .revoke_at(url("https://id.example/revoke"))
            }),
            "Upstream::client",
        ),
    ] {
        let problem = problem.unwrap_err().to_string();
        assert!(problem.contains(says), "{problem}");
    }
    let http = Provider::new().client();
    let mut dialect = Dialect::VIJIL;
    dialect.paths = vec!["no path".into()].into();
    assert!(Upstream::new(&http, dialect, &url("https://id.example/")).is_err());
}

#[tokio::test]
async fn an_upstream_session_without_tokens_is_refused() {
    let fixture = Fixture::new();
    let answer = fixture
        .node()
        .send(&mut Client::default(), |session| async move {
            session.sign_in("ada", User { name: "ada".into() }).await?;
            Ok(String::new())
        })
        .await;
    assert_eq!(answer.status, 500);
    assert!(answer.left_cookies_alone() && fixture.store.store.is_empty());
}
