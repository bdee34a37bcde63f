//! F16, row S56: a client that disconnects at any point of a refresh keeps its session.

use std::pin::pin;
use std::task::{Context as TaskContext, Waker};

use super::*;
use crate::store::{Loaded, NewSession, Rotation, SessionRecord, SessionStore, StoreError};

/// A store that yields to other tasks before and after each step.
#[derive(Clone)]
struct Slow(MemoryStore);

async fn pause() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

impl SessionStore for Slow {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        self.0.create(new).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        pause().await;
        let loaded = self.0.load(sid).await;
        pause().await;
        loaded
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        pause().await;
        let rotated = self.0.rotate(rotation).await;
        pause().await;
        rotated
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        self.0.confirm(sid, generation, user_activity).await
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        pause().await;
        self.0.revoke(sid).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.0.revoke_subject(subject, except).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        self.0.list(subject).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.0.sweep(limit).await
    }
}

fn slow_fixture() -> (Fixture, MemoryStore) {
    let clock = crate::ManualClock::starting_at(START);
    let store = MemoryStore::new().clock(clock.clone());
    let slow = Slow(store.clone());
    let mut fixture = Fixture::with(|b| b.clock(clock.clone()).refresh_with(Rotate::new(slow)));
    fixture.clock = clock;
    (fixture, store)
}

/// Polls a request `polls` times, running other tasks in between, and drops it. Returns whether it
/// had finished.
async fn hang_up_after<F: Future>(request: F, polls: usize) -> bool {
    let mut request = pin!(request);
    for _ in 0..polls {
        if request.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

// Rows: F16, S56.
#[tokio::test]
async fn hanging_up_at_any_point_of_a_refresh_costs_at_most_one_rotation() {
    let mut points = 0;
    loop {
        let (fixture, store) = slow_fixture();
        let pair = fixture.sign_in_pair("alice").await;
        expire(&fixture, &pair);
        let done = hang_up_after(fixture.me(pair.request()), points).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let next = fixture.me(pair.request()).await;
        assert_eq!(next.status(), StatusCode::OK, "hung up after {points} polls");
        assert!(!pair.after(&next).refresh.is_empty());
        assert_eq!(store.list("alice").await.unwrap()[0].generation, 1, "after {points} polls");
        if done {
            break;
        }
        points += 1;
    }
    assert!(points > 5, "a refresh has several points to hang up at: {points}");
}

// Rows: S47.
#[tokio::test]
async fn hanging_up_at_any_point_of_a_sign_out_ends_the_session_or_leaves_it() {
    let mut points = 0;
    loop {
        let (fixture, store) = slow_fixture();
        let pair = fixture.sign_in_pair("alice").await;
        let sign_out = fixture.send(pair.request(), |session, _| async move {
            session.sign_out().await.unwrap();
            empty()
        });
        let done = hang_up_after(sign_out, points).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        // The sign-out takes effect once the handler has asked for it, even if the client has
        // disconnected.
        assert_eq!(store.is_empty(), points > 0, "after {points} polls");
        if done {
            break;
        }
        points += 1;
    }
    assert!(points > 1, "{points}");
}
