//! Users and their devices. Each device sends one request after the other, in several tabs.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use futures::future::join_all;
use tokio::time::Instant;

use super::GRACE;
use super::backend::OutageState;
use super::client::{Answer, Ask, Carried, Client, Tokens};
use super::hostile;
use super::tally::Tally;

/// How long a device that expects an answer at the end keeps asking: longer than the longest
/// back-off.
const RECOVERY_LIMIT: Duration = Duration::from_secs(70);

/// The pause after a failed request, so that an unreachable server is not flooded.
const PAUSE: Duration = Duration::from_millis(100);

/// All users of one run.
pub(super) struct Clients {
    devices: Vec<Arc<Device>>,
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    outage: Arc<OutageState>,
    tally: Mutex<Tally>,
    requests: AtomicU64,
    began: Instant,
}

struct Device {
    number: usize,
    user: String,
    carried: Carried,
    /// How many sign-ins and sign-outs this device has begun.
    own: AtomicU64,
    everywhere: Arc<Everywhere>,
    state: Mutex<State>,
    random: Mutex<Rng>,
}

/// A user's sign-outs of all devices.
#[derive(Default)]
struct Everywhere {
    begun: AtomicU64,
    /// Pending ones, which may still end sessions that begin meanwhile.
    under_way: AtomicU64,
    /// The user's recent actions, printed if a session is lost.
    lately: Mutex<VecDeque<String>>,
}

impl Everywhere {
    fn note(&self, what: String) {
        const KEPT: usize = 16;
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.len() == KEPT {
            lately.pop_front();
        }
        lately.push_back(what);
    }

    fn told(&self) -> String {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

#[derive(Default)]
struct State {
    tokens: Tokens,
    /// The count of sign-ins and sign-outs at which the device signed in. The device must be served
    /// until the count changes.
    since: Option<(u64, u64)>,
}

/// The kind of a request, which determines the allowed answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Visit,
    /// The handler answers 500.
    Fails,
    Hostile,
    SignIn,
    SignOut,
}

impl Clients {
    pub(super) fn new(
        address: SocketAddr,
        people: usize,
        seed: u64,
        outage: Arc<OutageState>,
    ) -> Self {
        let (tally, requests) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { address, outage, tally, requests, began: Instant::now() });
        let mut random = Rng::with_seed(seed);
        let mut devices = Vec::new();
        for person in 0..people {
            let everywhere = Arc::<Everywhere>::default();
            for _ in 0..=usize::from(person % 3 == 0) {
                let carried =
                    if devices.len() % 4 == 3 { Carried::Fields } else { Carried::Cookies };
                devices.push(Arc::new(Device {
                    number: devices.len(),
                    user: format!("user-{person}"),
                    carried,
                    own: AtomicU64::new(0),
                    everywhere: everywhere.clone(),
                    state: Mutex::default(),
                    random: Mutex::new(random.fork()),
                }));
            }
        }
        Self { devices, shared }
    }

    /// Runs all devices for the given time. Then closes every connection.
    pub(super) async fn run(&self, time: Duration) {
        let until = Instant::now() + time;
        let client = Client::new(self.shared.address);
        let tasks = self.devices.iter().map(|device| {
            let (device, shared, client) = (device.clone(), self.shared.clone(), client.clone());
            tokio::spawn(async move {
                while Instant::now() < until {
                    device.round(&shared, &client).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("a device");
        }
    }

    /// Each device that is signed in is served, at once or after its session's back-off.
    pub(super) async fn all_are_back(&self) {
        let client = Client::new(self.shared.address);
        let until = Instant::now() + RECOVERY_LIMIT;
        join_all(self.devices.iter().map(|device| device.comes_back(&self.shared, &client, until)))
            .await;
    }

    /// How many requests were sent.
    pub(super) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Resets the counters, except for the violations.
    pub(super) fn forget(&self) {
        let mut tally = self.shared.tally();
        *tally = Tally {
            wrong: std::mem::take(&mut tally.wrong),
            ours: tally.ours,
            lost: tally.lost,
            unanswered: tally.unanswered,
            ..Tally::default()
        };
        self.shared.requests.store(0, Ordering::Relaxed);
    }

    pub(super) fn tally(&self) -> Tally {
        Tally { requests: self.requests(), ..self.shared.tally().clone() }
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The count of sign-ins and sign-outs that affect this device's session.
    fn count(&self) -> (u64, u64) {
        (self.own.load(Ordering::SeqCst), self.everywhere.begun.load(Ordering::SeqCst))
    }

    /// Records a sign-in or a sign-out with its start, its end and its answer.
    fn note(&self, shared: &Shared, what: &str, sent: Instant, status: Option<u16>) {
        let from = sent.duration_since(shared.began).as_secs_f64();
        let until = shared.began.elapsed().as_secs_f64();
        let status = status.map_or("nothing".to_owned(), |status| status.to_string());
        self.everywhere.note(format!("{} {what} {from:.2}..{until:.2} {status}", self.number));
    }

    async fn round(&self, shared: &Shared, client: &Client) {
        let since = self.state().since;
        match since {
            Some(since) if since == self.count() => {}
            None => return self.sign_in(shared, client).await,
            // Signed out by another device. This device has learned of it, or soon will.
            Some(_) => {
                self.ask(shared, client, (Kind::Visit, Ask::get("/me"))).await;
                return self.sign_in(shared, client).await;
            }
        }
        let visit = |path: &str| (Kind::Visit, Ask::get(path));
        match self.draw(|random| random.u32(..1000)) {
            0..550 => {
                let tabs = self.draw(|random| random.usize(1..5));
                join_all((0..tabs).map(|_| self.ask(shared, client, visit("/me")))).await;
            }
            550..650 => {
                let path = format!("/slow?ms={}", self.draw(|random| random.u32(..400)));
                let (slow, quick) = (visit(&path), visit("/me"));
                tokio::join!(self.ask(shared, client, slow), self.ask(shared, client, quick));
            }
            650..700 => {
                let body = self.draw(|random| vec![b'x'; random.usize(..20_000)]);
                self.ask(shared, client, (Kind::Visit, Ask::post("/echo", body))).await;
            }
            700..750 => {
                self.ask(shared, client, (Kind::Visit, Ask::post("/auth/refresh", ""))).await;
            }
            750..780 => self.ask(shared, client, visit("/auth/sessions")).await,
            780..800 => self.ask(shared, client, visit("/stream")).await,
            800..820 => self.ask(shared, client, (Kind::Fails, Ask::get("/fail"))).await,
            820..900 => self.hostile(shared).await,
            900..950 => {
                let mut random = self.draw(Rng::fork);
                hostile::break_off(shared.address, &mut random).await;
                shared.tally().broken_off += 1;
            }
            950..985 => self.hang_up(shared, client).await,
            985..997 => self.sign_out(shared, client, false).await,
            _ => self.sign_out(shared, client, true).await,
        }
    }

    async fn sign_in(&self, shared: &Shared, client: &Client) {
        if self.everywhere.under_way.load(Ordering::SeqCst) > 0 {
            return tokio::time::sleep(PAUSE).await;
        }
        self.own.fetch_add(1, Ordering::SeqCst);
        let since = self.count();
        *self.state() = State::default();
        let path = match self.carried {
            Carried::Cookies => "/login",
            Carried::Fields => "/login?deliver=header",
        };
        let ask = Ask::post(path, format!("{{\"user\": \"{}\"}}", self.user));
        let sent = Instant::now();
        let answer = client.send(ask, self.carried, &Tokens::default()).await;
        let status = self.check(shared, Kind::SignIn, "POST /login", answer.as_ref(), None);
        self.note(shared, "in", sent, status);
        match answer {
            Some(answer) if status == Some(204) => {
                shared.tally().signed_in += 1;
                // If the user signed out everywhere meanwhile, the state is unknown.
                let since = (self.count() == since).then_some(since);
                *self.state() = State { tokens: answer.tokens, since };
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }

    /// Sends one request of a tab, with the device's current tokens.
    async fn ask(&self, shared: &Shared, client: &Client, (kind, ask): (Kind, Ask)) {
        let (tokens, since) = {
            let state = self.state();
            (state.tokens.clone(), state.since)
        };
        let owed = since.filter(|since| *since == self.count());
        let name = format!("{} {}", ask.method, ask.path);
        let answer = client.send(ask, self.carried, &tokens).await;
        let status = self.check(shared, kind, &name, answer.as_ref(), owed);
        let Some(answer) = answer else { return };
        let mut state = self.state();
        if state.since == since {
            shared.tally().refreshed += u64::from(answer.tokens.access.is_some());
            state.tokens.take(answer.tokens);
            if status == Some(401) {
                state.since = None;
            }
        }
    }

    /// Checks an answer. `owed`: the client has a session, unless a sign-out happened since.
    fn check(
        &self,
        shared: &Shared,
        kind: Kind,
        name: &str,
        answer: Option<&Answer>,
        owed: Option<(u64, u64)>,
    ) -> Option<u16> {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let away = shared.outage.is_recent();
        let owed = owed.is_some_and(|since| self.count() == since);
        let mut tally = shared.tally();
        let Some(answer) = answer else {
            tally.unanswered += 1;
            tally.tell(format!("no answer to {name}"));
            return None;
        };
        match answer.status {
            500 if kind == Kind::Fails => tally.own += 1,
            503 if away => tally.away += 1,
            status @ 500.. => {
                tally.ours += 1;
                tally.tell(format!("{status} to {name}"));
            }
            401 if owed && kind != Kind::Hostile => {
                tally.lost += 1;
                let (user, number) = (&self.user, self.number);
                let lately = self.everywhere.told();
                let at = shared.began.elapsed().as_secs_f64();
                tally.tell(format!(
                    "a session of {user}, device {number}, was lost at {at:.2}: 401 to {name}, after {lately}"
                ));
            }
            401 => tally.refused += 1,
            _ => {}
        }
        Some(answer.status)
    }

    /// A stranger sends invalid tokens, some of them corrupted copies of this device's. It uses a
    /// connection of its own, because a server may close one whose request it has not read.
    async fn hostile(&self, shared: &Shared) {
        let good = self.state().tokens.clone();
        let (ask, tokens) = self.draw(|random| hostile::ask(random, &good));
        let name = format!("a hostile {} {}", ask.method, ask.path);
        let answer = Client::new(shared.address).send(ask, self.carried, &tokens).await;
        self.check(shared, Kind::Hostile, &name, answer.as_ref(), None);
        shared.tally().hostile += 1;
    }

    /// Sends a request and disconnects before the answer.
    async fn hang_up(&self, shared: &Shared, client: &Client) {
        let tokens = self.state().tokens.clone();
        let (pause, path) = self.draw(|random| {
            let path = ["/me", "/slow?ms=300", "/stream", "/auth/sessions"][random.usize(..4)];
            (Duration::from_micros(random.u64(..20_000)), path)
        });
        let answer = client.send(Ask::get(path), self.carried, &tokens);
        // The answer is dropped, including new tokens.
        let _ = tokio::time::timeout(pause, answer).await;
        shared.requests.fetch_add(1, Ordering::Relaxed);
        shared.tally().broken_off += 1;
    }

    /// Signs out while another tab sends a request.
    async fn sign_out(&self, shared: &Shared, client: &Client, everywhere: bool) {
        let tokens = self.state().tokens.clone();
        // From here on, all pending requests may be answered 401.
        let path = if everywhere {
            self.everywhere.under_way.fetch_add(1, Ordering::SeqCst);
            self.everywhere.begun.fetch_add(1, Ordering::SeqCst);
            "/auth/logout-all"
        } else {
            "/logout"
        };
        self.own.fetch_add(1, Ordering::SeqCst);
        let sent = Instant::now();
        let out = client.send(Ask::post(path, ""), self.carried, &tokens);
        let (answer, ()) =
            tokio::join!(out, self.ask(shared, client, (Kind::Visit, Ask::get("/me"))));
        let name = format!("POST {path}");
        let status = self.check(shared, Kind::SignOut, &name, answer.as_ref(), None);
        self.note(shared, path, sent, status);
        *self.state() = State::default();
        if everywhere {
            if status != Some(204) {
                // The sign-out may still take effect, and end sessions that begin meanwhile.
                tokio::time::sleep(GRACE).await;
            }
            self.everywhere.under_way.fetch_sub(1, Ordering::SeqCst);
        }
        if status == Some(204) {
            match everywhere {
                true => shared.tally().signed_out_everywhere += 1,
                false => shared.tally().signed_out += 1,
            }
            // The node that processed the sign-out must refuse its tokens now.
            let answer = client.send(Ask::get("/me"), self.carried, &tokens).await;
            let status = self.check(shared, Kind::SignOut, "GET /me", answer.as_ref(), None);
            if status == Some(200) {
                shared.tally().tell(format!("{} is served after signing out", self.user));
            }
        }
    }

    async fn comes_back(&self, shared: &Shared, client: &Client, until: Instant) {
        loop {
            let (tokens, since) = {
                let state = self.state();
                (state.tokens.clone(), state.since)
            };
            if since.is_none_or(|since| since != self.count()) {
                return;
            }
            let answer = client.send(Ask::get("/me"), self.carried, &tokens).await;
            match answer.as_ref().map(|answer| answer.status) {
                Some(503) if shared.outage.ever_began() && Instant::now() < until => {
                    tokio::time::sleep(PAUSE * 5).await;
                }
                status => {
                    self.check(shared, Kind::Visit, "GET /me at the end", answer.as_ref(), since);
                    if status != Some(200) {
                        let wrong = format!("{} is not back: {status:?}", self.user);
                        shared.tally().tell(wrong);
                    }
                    return;
                }
            }
        }
    }
}
