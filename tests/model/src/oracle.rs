//! The real engine over the real store, asked one question at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everfresh::adapter::Progress;
use everfresh::store::{Loaded, NewSession, Rotation, SessionRecord, SessionStore, StoreError};
use everfresh::{
    Clock, Engine, Keys, ManualClock, MemoryStore, Rotate, Session, SessionId, SessionStatus,
    Timestamp,
};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use tokio::runtime::Runtime;

use super::{LIFETIME, LONG_EXPIRED, OLD, Presented, REUSE_INTERVAL, Row, Tokens};

/// The length of a tick. Lifetimes stay below 20 s, where the engine does not spread them.
const TICK: Duration = Duration::from_secs(2);

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The row's generation in every question; all generations are relative to it.
const BASE: u64 = 20;

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The row afterwards, and the number of generations it advanced. `None`: the session was
    /// ended.
    pub row: Option<(Row, i8)>,
    /// The response's tokens. Generations are relative to the row before.
    pub tokens: Tokens,
    /// Whether the browser was served.
    pub served: bool,
    /// The generation that the server will confirm, relative to the row before.
    pub confirms: Option<i8>,
}

/// Answers questions about the engine.
#[derive(Debug)]
pub struct Oracle {
    runtime: Runtime,
    record: SessionRecord,
    refresh: HashMap<u64, String>,
    access: HashMap<(u64, i64), String>,
    processed: HashMap<(Row, Presented, bool), Outcome>,
    rechecked: HashMap<(Row, i8), (bool, Option<Row>)>,
}

impl Oracle {
    /// A server with one session.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let fixture = Fixture::new(&runtime, NOW);
        let mut pair = runtime.block_on(async {
            let Progress::Pass(session) = fixture.auth.begin(&Request::new(())) else {
                panic!("nothing to wait for")
            };
            session.sign_in("alice", ()).await.expect("signed in");
            cookies(&fixture.finish(&session).await)
        });
        let record = runtime.block_on(fixture.store.list("alice")).expect("a store").remove(0);
        let mut refresh = HashMap::new();
        // The engine makes each generation's token by repeated rotation, each time after the reuse
        // interval.
        for generation in 0..=2 * BASE {
            let current = pair.remove("__Host-refresh_token").expect("a refresh token");
            refresh.insert(generation, current.clone());
            fixture.clock.advance(Duration::from_secs(3600));
            let request = request(&[("__Host-refresh_token", &current)]);
            pair = runtime.block_on(async { cookies(&fixture.visit(&request).await.1) });
        }
        let (access, processed, rechecked) = Default::default();
        Self { runtime, record, refresh, access, processed, rechecked }
    }

    /// Processes a request. `finishes`: a refresh beside it finishes before the response.
    pub fn process(&mut self, row: Row, presented: Presented, finishes: bool) -> Outcome {
        if let Some(known) = self.processed.get(&(row, presented, finishes)) {
            return *known;
        }
        let access = self.access_token(absolute(presented.access), presented.left);
        let refresh = self.refresh[&absolute(presented.refresh)].clone();
        let request =
            request(&[("__Host-access_token", &access), ("__Host-refresh_token", &refresh)]);
        let fixture = self.fixture(row);
        let (served, response) = self.runtime.block_on(async {
            let (session, response) = fixture.begin(&request, finishes).await;
            (session.status() == SessionStatus::Present, response)
        });
        let outcome = Outcome {
            row: self.row_of(&fixture),
            tokens: self.tokens_of(&response),
            served,
            confirms: fixture.store.seen().map(relative),
        };
        self.processed.insert((row, presented, finishes), outcome);
        outcome
    }

    /// Whether a response may still carry its tokens if it took at least half the reuse interval
    /// and its request presented this refresh token. Also returns the row afterwards.
    pub fn recheck(&mut self, row: Row, refresh: i8) -> (bool, Option<Row>) {
        if let Some(known) = self.rechecked.get(&(row, refresh)) {
            return *known;
        }
        let token = self.refresh[&absolute(refresh)].clone();
        // Any request that rotates will do, because only its refresh token matters later.
        let generation = absolute(refresh);
        let mut began = self.row(Row { age: OLD, confirmed: true });
        began.generation = generation;
        let fixture = Fixture::new(&self.runtime, NOW);
        fixture.store.restore(began);
        let late = self.row(row);
        let attached = self.runtime.block_on(async {
            let request = request(&[("__Host-refresh_token", &token)]);
            let Progress::Wait(waiting) = fixture.auth.begin(&request) else {
                panic!("no access token")
            };
            let session = waiting.settle().await;
            assert!(session.is_refreshed(), "the token of the current generation rotates");
            // Time is measured from the row, so the row moves and the clock stays.
            let elapsed = TICK * (REUSE_INTERVAL / 2) as u32;
            fixture.clock.advance(elapsed);
            fixture.store.restore(shifted(late, elapsed));
            !cookies(&fixture.finish(&session).await).is_empty()
        });
        fixture.clock.set_wall(NOW.plus(TICK * (REUSE_INTERVAL / 2) as u32));
        let after = self.runtime.block_on(fixture.store.load(self.record.sid)).expect("a store");
        let after = after.map(|loaded| row_at(&loaded.record, loaded.now));
        self.rechecked.insert((row, refresh), (attached, after));
        (attached, after)
    }

    /// The number of distinct questions to the engine.
    pub fn asked(&self) -> usize {
        self.processed.len() + self.rechecked.len()
    }

    fn row(&self, row: Row) -> SessionRecord {
        let mut record = self.record.clone();
        (record.generation, record.confirmed) = (BASE, row.confirmed);
        record.rotated_at = NOW.minus(TICK * row.age as u32);
        record.idle_expires = NOW.plus(Duration::from_secs(86_400));
        record
    }

    fn fixture(&self, row: Row) -> Fixture {
        let fixture = Fixture::new(&self.runtime, NOW);
        fixture.store.restore(self.row(row));
        fixture
    }

    fn row_of(&self, fixture: &Fixture) -> Option<(Row, i8)> {
        let loaded =
            self.runtime.block_on(fixture.store.load(self.record.sid)).expect("a store")?;
        Some((row_at(&loaded.record, loaded.now), relative(loaded.record.generation)))
    }

    fn tokens_of(&self, response: &Response<()>) -> Tokens {
        let cookies = cookies(response);
        let refresh = cookies.get("__Host-refresh_token").map(|text| {
            let known = self.refresh.iter().find(|(_, known)| *known == text);
            relative(*known.expect("a token that the row derives").0)
        });
        let access = cookies.get("__Host-access_token").map(|token| {
            let fixture = Fixture::new(&self.runtime, NOW);
            let request = request(&[("__Host-access_token", token)]);
            let Progress::Pass(session) = fixture.auth.begin(&request) else {
                panic!("it is fresh")
            };
            (relative(session.generation().expect("a generation")), LIFETIME)
        });
        Tokens { refresh, access }
    }

    /// An access token of the given generation that expires in the given number of ticks, minted by
    /// the engine.
    fn access_token(&mut self, generation: u64, left: i8) -> String {
        let key = (generation, i64::from(left));
        if let Some(known) = self.access.get(&key) {
            return known.clone();
        }
        let minted = match left {
            0.. => NOW.plus(TICK * left as u32).minus(TICK * LIFETIME as u32),
            past => NOW.minus(TICK * u32::from(past.unsigned_abs())).minus(TICK * LIFETIME as u32),
        };
        let fixture = Fixture::new(&self.runtime, minted);
        let mut record = self.record.clone();
        (record.generation, record.rotated_at) = (generation, minted);
        record.idle_expires = minted.plus(Duration::from_secs(86_400));
        fixture.store.restore(record);
        // Within the reuse interval after the rotation the engine issues only a new access token.
        let request = request(&[("__Host-refresh_token", &self.refresh[&generation])]);
        let response = self.runtime.block_on(fixture.visit(&request)).1;
        let token = cookies(&response).remove("__Host-access_token").expect("an access token");
        self.access.insert(key, token.clone());
        token
    }
}

impl Default for Oracle {
    fn default() -> Self {
        Self::new()
    }
}

/// One engine over one store, at one time.
struct Fixture {
    auth: Engine<()>,
    store: Reporting,
    clock: ManualClock,
}

impl Fixture {
    fn new(runtime: &Runtime, now: Timestamp) -> Self {
        let clock = ManualClock::starting_at(now);
        let store = Reporting::new(&clock);
        let rotate = Rotate::new(store.clone()).reuse_interval(TICK * REUSE_INTERVAL as u32);
        let keys = Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").expect("a good secret");
        let builder = Engine::builder(keys)
            .issuer("https://app.example")
            .audience("app")
            .access_lifetime(TICK * LIFETIME as u32)
            .session_lifetime(Duration::from_secs(10 * 365 * 86_400))
            .leeway(Duration::ZERO)
            .clock(Clock::from(clock.clone()))
            .refresh_with(rotate);
        let builder = builder.runtime(runtime.handle().clone());
        Self { auth: builder.token_cache(0).build().expect("a good configuration"), store, clock }
    }

    async fn begin(&self, request: &Request<()>, finishes: bool) -> (Session<()>, Response<()>) {
        let session = match self.auth.begin(request) {
            Progress::Pass(session) => session,
            Progress::Wait(waiting) => waiting.settle().await,
        };
        if finishes {
            settle().await;
        }
        let response = self.finish(&session).await;
        // A refresh beside a request finishes, whether or not a request waits for it.
        settle().await;
        (session, response)
    }

    async fn visit(&self, request: &Request<()>) -> (Session<()>, Response<()>) {
        self.begin(request, true).await
    }

    async fn finish(&self, session: &Session<()>) -> Response<()> {
        let in_flight = self.auth.attach(session.clone(), &mut Request::new(()));
        in_flight.finish(Response::new(())).await
    }
}

/// Runs every task that can make progress.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// The store in memory. It records confirmations instead of applying them, because the fixture
/// decides whether and when they arrive.
#[derive(Clone)]
struct Reporting {
    store: MemoryStore,
    seen: Arc<Mutex<Option<u64>>>,
}

impl Reporting {
    fn new(clock: &ManualClock) -> Self {
        Self { store: MemoryStore::new().clock(clock.clone()), seen: Arc::default() }
    }

    fn restore(&self, record: SessionRecord) {
        self.store.restore(record);
    }

    fn seen(&self) -> Option<u64> {
        *self.seen.lock().expect("not poisoned")
    }
}

impl SessionStore for Reporting {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        self.store.create(new).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        self.store.load(sid).await
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        self.store.rotate(rotation).await
    }

    async fn confirm(&self, _: SessionId, generation: u64, _: bool) -> Result<(), StoreError> {
        *self.seen.lock().expect("not poisoned") = Some(generation);
        Ok(())
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.store.revoke(sid).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.store.revoke_subject(subject, except).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        self.store.list(subject).await
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.sweep(limit).await
    }
}

fn absolute(generation: i8) -> u64 {
    BASE.checked_add_signed(i64::from(generation)).expect("near the row's")
}

fn relative(generation: u64) -> i8 {
    i8::try_from(generation as i64 - BASE as i64).expect("near the row's")
}

fn row_at(record: &SessionRecord, now: Timestamp) -> Row {
    let ticks = now.since(record.rotated_at).as_secs() / TICK.as_secs();
    let age = i8::try_from(ticks).unwrap_or(OLD).min(OLD);
    Row { age, confirmed: record.confirmed }
}

fn shifted(mut record: SessionRecord, by: Duration) -> SessionRecord {
    record.rotated_at = record.rotated_at.plus(by);
    record
}

fn request(cookies: &[(&str, &str)]) -> Request<()> {
    let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut request = Request::new(());
    request.headers_mut().insert(COOKIE, pairs.join("; ").parse().expect("a header value"));
    request
}

fn cookies(response: &Response<()>) -> HashMap<String, String> {
    let values = response.headers().get_all(SET_COOKIE).iter();
    let texts = values.map(|value| value.to_str().expect("text"));
    let pairs = texts.filter_map(|text| text.split(';').next()?.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

const _: () = assert!(LONG_EXPIRED < 0 && OLD > REUSE_INTERVAL);
