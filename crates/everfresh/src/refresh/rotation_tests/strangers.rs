//! Refresh tokens that are a stranger's, another session's, or several.

use super::*;

// Rows: F110.
#[tokio::test]
async fn a_strangers_refresh_token_costs_no_store_call() {
    #[derive(Clone)]
    struct Counting(MemoryStore, Arc<AtomicUsize>);

    impl crate::store::SessionStore for Counting {
        async fn create(
            &self,
            new: crate::store::NewSession,
        ) -> Result<(), crate::store::StoreError> {
            self.0.create(new).await
        }

        async fn load(
            &self,
            sid: SessionId,
        ) -> Result<Option<crate::store::Loaded>, crate::store::StoreError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.load(sid).await
        }

        async fn rotate(
            &self,
            rotation: crate::store::Rotation,
        ) -> Result<bool, crate::store::StoreError> {
            self.0.rotate(rotation).await
        }

        async fn confirm(
            &self,
            sid: SessionId,
            at: u64,
            user_activity: bool,
        ) -> Result<(), crate::store::StoreError> {
            self.0.confirm(sid, at, user_activity).await
        }

        async fn revoke(&self, sid: SessionId) -> Result<bool, crate::store::StoreError> {
            self.0.revoke(sid).await
        }

        async fn revoke_subject(
            &self,
            subject: &str,
            except: Option<SessionId>,
        ) -> Result<Vec<SessionId>, crate::store::StoreError> {
            self.0.revoke_subject(subject, except).await
        }

        async fn list(
            &self,
            subject: &str,
        ) -> Result<Vec<crate::store::SessionRecord>, crate::store::StoreError> {
            self.0.list(subject).await
        }

        async fn sweep(&self, limit: usize) -> Result<usize, crate::store::StoreError> {
            self.0.sweep(limit).await
        }
    }

    let loads = Arc::new(AtomicUsize::new(0));
    let count = loads.clone();
    let fixture =
        Fixture::with(move |b| b.refresh_with(Rotate::new(Counting(MemoryStore::new(), count))));
    let pair = fixture.sign_in_pair("alice").await;
    for refresh in ["x", "", &pair.refresh[1..], &"A".repeat(124), &"x".repeat(70_000)] {
        for access in ["", "a.b.c"] {
            let stranger = Pair { access: access.into(), refresh: refresh.into() };
            let response = fixture.me(stranger.request()).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert!(set_cookies(&response).is_empty());
        }
    }
    assert_eq!(loads.load(Ordering::SeqCst), 0);
    assert_eq!(fixture.me(pair.request()).await.body(), "alice");
    assert_eq!(loads.load(Ordering::SeqCst), 0, "nor does a fresh token");
}

// Rows: F38, S51.
#[tokio::test]
async fn a_refresh_token_beside_another_sessions_access_token_is_ignored() {
    let (fixture, store) = Fixture::rotating();
    let alice = fixture.sign_in_pair("alice").await;
    let bob = fixture.sign_in_pair("bob").await;
    fixture.pass_until_left(&alice.access, 20);
    let mixed = Pair { access: alice.access.clone(), refresh: bob.refresh.clone() };
    assert_eq!(fixture.me(mixed.request()).await.body(), "alice");
    assert!(saw(&fixture, "RefreshTokenIgnored") > 0);
    assert_eq!(store.list("bob").await.unwrap()[0].generation, 0);
}

#[tokio::test]
async fn of_several_refresh_cookies_the_latest_of_one_session_counts() {
    let (fixture, store) = Fixture::rotating();
    let mut new = fixture.sign_in_pair("alice").await;
    // Sixteen rounds with alternating order, so that no fixed order passes by chance.
    for rotations in 1..=16 {
        let old = new;
        expire(&fixture, &old);
        let after = old.after(&fixture.me(old.request()).await);
        expire(&fixture, &after);
        let (one, other) = if rotations % 2 == 0 { (&old, &after) } else { (&after, &old) };
        let header = format!("{REFRESH_NAME}={}; {REFRESH_NAME}={}", one.refresh, other.refresh);
        let response = fixture.me(get(&[("cookie", &header)])).await;
        assert_eq!(response.body(), "alice");
        new = after.after(&response);
        assert_eq!(store.list("alice").await.unwrap()[0].generation, 2 * rotations);
    }
    assert_eq!(saw(&fixture, "Replayed"), 0);
    assert_eq!(saw(&fixture, "ReuseDetected"), 0);
    let mallory = fixture.sign_in_pair("mallory").await;
    let header = format!("{REFRESH_NAME}={}; {REFRESH_NAME}={}", mallory.refresh, new.refresh);
    let planted = fixture.me(get(&[("cookie", &header)])).await;
    assert_eq!(planted.status(), StatusCode::UNAUTHORIZED, "two sessions: none counts");
}
