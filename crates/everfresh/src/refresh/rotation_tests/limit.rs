//! The limit of a user's sessions, and the end of sessions beyond it.

use super::feed::calm;
use super::*;
use crate::AtMaxSessions;

fn limited(change: impl FnOnce(Rotate) -> Rotate) -> (Fixture, MemoryStore) {
    let clock = crate::ManualClock::starting_at(START);
    let store = MemoryStore::new().clock(clock.clone());
    let rotate = change(Rotate::new(store.clone()));
    let mut fixture = Fixture::with(|b| b.clock(clock.clone()).refresh_with(rotate));
    fixture.clock = clock;
    (fixture, store)
}

/// Signs alice in with this request, and returns the response.
async fn sign_in(fixture: &Fixture, request: http::Request<()>) -> Response<String> {
    let signed_in = fixture.send(request, |session, _| async move {
        match session.sign_in("alice", user("alice")).await {
            Ok(()) => empty(),
            Err(error) => crate::Rejection::from(error)
                .into_response::<Vec<u8>>()
                .map(|body| String::from_utf8(body).unwrap()),
        }
    });
    signed_in.await
}

async fn is_in(fixture: &Fixture, pair: &Pair) -> bool {
    fixture.me(pair.request()).await.status() == StatusCode::OK
}

// Rows: M6.
#[tokio::test]
async fn a_sign_in_beyond_the_limit_ends_the_oldest_session_everywhere() {
    let (fixture, store) = limited(|rotate| rotate.max_sessions(3));
    let other = Fixture::node(&fixture.clock, &store, |b| b);
    calm().await;
    let bob = fixture.sign_in_pair("bob").await;
    let mut pairs = Vec::new();
    for _ in 0..5 {
        pairs.push(fixture.sign_in_pair("alice").await);
        fixture.pass(1);
    }
    calm().await;
    for node in [&fixture, &other] {
        for (n, pair) in pairs.iter().enumerate() {
            assert_eq!(is_in(node, pair).await, n >= 2, "session {n}: access tokens too");
        }
        assert!(is_in(node, &bob).await);
    }
    assert_eq!(store.list("alice").await.unwrap().len(), 3);
    let events = fixture.events();
    let count = |name: &str| events.iter().filter(|event| event.starts_with(name)).count();
    assert_eq!((count("OverLimit"), count("SignedOut"), count("SignedIn")), (2, 0, 6));
}

// Rows: M6.
#[tokio::test]
async fn a_sign_in_beyond_the_limit_is_refused_where_the_app_wants_that() {
    let (fixture, store) =
        limited(|rotate| rotate.max_sessions(2).at_max_sessions(AtMaxSessions::RefuseSignIn));
    let first = fixture.sign_in_pair("alice").await;
    let second = fixture.sign_in_pair("alice").await;
    let refused = sign_in(&fixture, get(&[])).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{}", refused.body());
    assert!(
        set_cookies(&refused).is_empty() && refused.body().contains("maximum number of devices")
    );
    assert!(is_in(&fixture, &first).await && is_in(&fixture, &second).await);
    assert_eq!(store.len(), 2);
    fixture.sign_in_pair("bob").await;
    let anew = sign_in(&fixture, second.request()).await;
    assert_eq!(anew.status(), StatusCode::OK, "its own former session makes room");
    assert_eq!(store.list("alice").await.unwrap().len(), 2);
    assert!(is_in(&fixture, &second.after(&anew)).await && is_in(&fixture, &first).await);
}

// Rows: M6.
#[tokio::test]
async fn signing_in_over_a_session_ends_that_one_and_no_other() {
    let (fixture, store) = limited(|rotate| rotate.max_sessions(2));
    let elsewhere = fixture.sign_in_pair("alice").await;
    let former = fixture.sign_in_pair("alice").await;
    let new = former.after(&sign_in(&fixture, former.request()).await);
    assert!(is_in(&fixture, &elsewhere).await && is_in(&fixture, &new).await);
    assert!(!is_in(&fixture, &former).await);
    assert_eq!((store.list("alice").await.unwrap().len(), saw(&fixture, "OverLimit")), (2, 0));
}

// Rows: M6.
#[tokio::test]
async fn an_ended_session_takes_no_other_sessions_place() {
    let (fixture, _) = limited(|rotate| rotate.max_sessions(2));
    let mut used = fixture.sign_in_pair("alice").await;
    fixture.pass(60);
    fixture.sign_in_pair("alice").await;
    for _ in 0..14 {
        fixture.pass(86_400);
        visit(&fixture, &mut used).await;
    }
    fixture.pass(7200);
    let new = fixture.sign_in_pair("alice").await;
    assert!(is_in(&fixture, &used).await && is_in(&fixture, &new).await);
    assert_eq!(saw(&fixture, "OverLimit"), 0);
}

// Rows: M6.
#[tokio::test]
async fn a_lowered_limit_is_reached_by_and_by() {
    let (before, store) = limited(|rotate| rotate);
    for _ in 0..100 {
        before.sign_in_pair("alice").await;
    }
    assert_eq!(store.len(), 100, "under the limit that there is by itself");
    let after = Fixture::with(|b| {
        b.clock(before.clock.clone()).refresh_with(Rotate::new(store.clone()).max_sessions(5))
    });
    for left in [100 + 1 - 32, 100 + 2 - 64, 100 + 3 - 96, 5, 5] {
        let last = after.sign_in_pair("alice").await;
        assert_eq!(store.len(), left);
        assert!(is_in(&after, &last).await);
    }
}

// Rows: M6.
#[tokio::test]
async fn the_session_limit_is_on_by_default() {
    let (fixture, store) = limited(|rotate| rotate);
    for _ in 0..210 {
        fixture.sign_in_pair("alice").await;
    }
    assert_eq!(store.len(), 200);
}

// Rows: M6.
#[tokio::test]
async fn racing_sign_ins_leave_no_more_than_the_limit() {
    let (fixture, store) = limited(|rotate| rotate.max_sessions(3));
    let racers = (0..20).map(|_| fixture.sign_in_pair("alice"));
    futures::future::join_all(racers).await;
    fixture.sign_in_pair("alice").await;
    assert_eq!(store.len(), 3);
}

// Rows: M6.
#[test]
fn a_limit_out_of_range_is_an_error() {
    for (most, fits) in [(0, false), (1, true), (500, true), (501, false)] {
        let builder = Engine::<User>::builder(Keys::hs256(SECRET).unwrap())
            .issuer("i")
            .audience("a")
            .refresh_with(Rotate::new(MemoryStore::new()).max_sessions(most));
        match builder.build() {
            Ok(_) => assert!(fits, "{most}"),
            Err(error) => {
                assert!(!fits && error.to_string().contains("1 to 500"), "{most}: {error}");
            }
        }
    }
}

/// This includes a session that no list shows, and excludes other users' sessions.
// Rows: M6.
#[tokio::test]
async fn any_of_the_users_own_sessions_can_be_ended() {
    let (fixture, store) = limited(|rotate| rotate);
    let own = fixture.sign_in_pair("alice").await;
    let bob = fixture.sign_in_pair("bob").await;
    let [hidden, bobs] = [store.list("alice").await.unwrap(), store.list("bob").await.unwrap()];
    for n in 0..1100u32 {
        let mut sid = [9; 16];
        sid[..4].copy_from_slice(&n.to_be_bytes());
        let mut record = hidden[0].clone();
        record.sid = SessionId::from_bytes(sid);
        record.rotated_at = record.rotated_at.plus(Duration::from_secs(n.into()));
        store.restore(record);
    }
    let listed = store.list("alice").await.unwrap();
    let mut sid = [9; 16];
    sid[..4].copy_from_slice(&0u32.to_be_bytes());
    let unseen = SessionId::from_bytes(sid);
    assert!(listed.len() == 1000 && listed.iter().all(|record| record.sid != unseen));
    let [unseen, bobs] = [unseen.to_string(), bobs[0].sid.to_string()];
    let ended = unseen.clone();
    fixture
        .send(own.request(), move |session, _| {
            let (unseen, bobs) = (unseen.clone(), bobs.clone());
            async move {
                assert!(session.sign_out_session(&unseen).await.unwrap());
                assert!(!session.sign_out_session(&bobs).await.unwrap());
                empty()
            }
        })
        .await;
    assert!(store.load(SessionId::parse(&ended).unwrap()).await.unwrap().is_none());
    assert!(is_in(&fixture, &bob).await);
}

/// A full store refuses new sessions with an error. One user alone can't fill it.
// Rows: M6.
#[tokio::test]
async fn a_full_store_refuses_a_sign_in_and_ends_no_session() {
    let store = MemoryStore::new().capacity(3);
    let fixture = Fixture::with(|b| b.refresh_with(Rotate::new(store.clone()).max_sessions(2)));
    let pairs = [fixture.sign_in_pair("alice").await, fixture.sign_in_pair("bob").await];
    fixture.sign_in_pair("carol").await;
    let refused = sign_in(&fixture, get(&[])).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(saw(&fixture, "StoreFailed") == 1 && store.len() == 3);
    for pair in &pairs {
        assert!(is_in(&fixture, pair).await);
    }
}
