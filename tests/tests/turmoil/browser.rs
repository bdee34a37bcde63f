//! A browser: a jar and three tabs. Each request goes to a random node.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everfresh::store::SessionStore as _;
use everfresh::{MemoryStore, SessionId};
use everfresh_testkit::contract::Me;
use everfresh_testkit::suite::{ACCESS_COOKIE, REFRESH_COOKIE};
use fastrand::Rng;
use futures::FutureExt as _;
use futures::future::join_all;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::RwLock;
use tokio::time::timeout;
use turmoil::net::TcpStream;

use crate::NODES;
use crate::faults::Faults;
use crate::ledger::Ledger;
use crate::node::{self, Backing};
use crate::provider::{self, Provider};

const TABS: usize = 3;

/// The time limit of an answer, plus the time of its handler, unless the connection to the node
/// fails. It covers the wait for a refresh, store calls before and after it, and the connection
/// setup.
const BOUND: Duration = Duration::from_secs(8);

/// The time limit until every client with a session is served after the last fault. The longest
/// back-off is a minute.
const RECOVERY_LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn name(number: usize) -> String {
    format!("browser-{number}")
}

/// The configuration and state of a browser.
pub(crate) struct Browser {
    pub(crate) number: usize,
    pub(crate) backing: Backing,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) rows: MemoryStore,
    pub(crate) faults: Rc<RefCell<Faults>>,
    /// The time at which all faults are over.
    pub(crate) calm: Duration,
    pub(crate) seed: u64,
    pub(crate) held: RefCell<Held>,
    /// A sign-out is pending, so answers meanwhile are not checked.
    pub(crate) leaving: Cell<bool>,
    /// The number of its sign-ins.
    pub(crate) sign_ins: Cell<u64>,
    /// Locked by requests for reading; a sign-in waits for all of them.
    pub(crate) requests_lock: RwLock<()>,
}

/// The tokens of the jar.
#[derive(Clone, Default)]
pub(crate) struct Held {
    access: Option<String>,
    refresh: Option<String>,
    sid: Option<SessionId>,
}

struct Answer {
    status: u16,
    me: Option<Me>,
}

/// The end of a request.
enum Reply {
    Answered(Answer),
    /// The connection failed or was given up, so it was not good.
    Lost,
}

impl Browser {
    /// The host. It runs until the network is calm and the session's fate is known.
    pub(crate) async fn live(self: Rc<Self>) -> turmoil::Result {
        let mut random = Rng::with_seed(self.seed);
        self.sign_in(&mut random).await;
        let tabs = (0..TABS).map(|tab| {
            let random = Rng::with_seed(self.seed ^ ((tab as u64 + 1) << 32));
            self.clone().tab(tab, random)
        });
        join_all(tabs).await;
        self.comes_back(&mut random).await;
        Ok(())
    }

    fn person(&self) -> String {
        format!("p{}s{}", self.number, self.sign_ins.get())
    }

    async fn tab(self: Rc<Self>, tab: usize, mut random: Rng) {
        while self.ledger.now() < self.calm && !self.ledger.is_wrong() {
            tokio::time::sleep(Duration::from_millis(random.u64(50..1500))).await;
            match random.u8(..100) {
                0..80 => self.visit(&mut random, "/me", Duration::ZERO).await,
                80..97 => {
                    let time = Duration::from_millis(random.u64(..7000));
                    self.visit(&mut random, &format!("/slow?ms={}", time.as_millis()), time).await;
                }
                _ if tab == 0 => self.sign_out(&mut random).await,
                _ => {}
            }
        }
    }

    /// A request that must be answered 200 or 503.
    async fn visit(&self, random: &mut Rng, path: &str, takes: Duration) {
        let open = self.requests_lock.read().await;
        let (began, who, stays) = (self.ledger.now(), self.sign_ins.get(), !self.leaving.get());
        let end = self.send(random.usize(..NODES), Method::GET, path, None, takes).await;
        drop(open);
        let stays = stays && !self.leaving.get() && who == self.sign_ins.get();
        if let Reply::Answered(answer) = end {
            self.check(&answer, began, stays);
        }
    }

    fn check(&self, answer: &Answer, began: Duration, stays: bool) {
        let (ledger, name) = (&self.ledger, name(self.number));
        match answer.status {
            200 => {
                ledger.count(|tally| tally.served += 1);
                let Some(me) = &answer.me else {
                    return ledger.wrong(format!("{name} is served without a user"));
                };
                let own = self.held.borrow().sid;
                if stays && (me.sub != self.person() || SessionId::parse(&me.sid) != own) {
                    ledger.wrong(format!("{name} is served as {} by {}", me.sub, me.sid));
                }
            }
            503 => ledger.count(|tally| tally.unavailable += 1),
            401 if !stays => {}
            401 if self.is_in_doubt(began) => ledger.count(|tally| tally.in_doubt += 1),
            401 => ledger.wrong(format!("{name} is signed out")),
            status => ledger.wrong(format!("{status} to {name}")),
        }
    }

    /// Whether a node may have sent the session's token to the provider without getting an answer
    /// by then.
    fn is_in_doubt(&self, since: Duration) -> bool {
        let sid = self.held.borrow().sid;
        self.backing != Backing::Store
            && sid.is_some_and(|sid| self.ledger.was_reserved(sid, since))
    }

    async fn sign_out(&self, random: &mut Rng) {
        self.leaving.set(true);
        self.ledger.count(|tally| tally.sign_outs += 1);
        let end =
            self.send(random.usize(..NODES), Method::POST, "/logout", None, Duration::ZERO).await;
        if let Reply::Answered(Answer { status, .. }) = end
            && !matches!(status, 204 | 503 | 401)
        {
            self.ledger.wrong(format!("{status} to a sign-out of {}", name(self.number)));
        }
        self.sign_in(random).await;
    }

    /// Signs in again after all pending requests have finished.
    async fn sign_in(&self, random: &mut Rng) {
        let _alone = self.requests_lock.write().await;
        loop {
            self.held.replace(Held::default());
            self.sign_ins.set(self.sign_ins.get() + 1);
            let user = self.person();
            let (path, body) = match self.backing {
                Backing::Store => ("/login", json!({"user": user})),
                Backing::Provider(_) => {
                    let body = json!({
                        "sub": user,
                        "access_token": "opaque",
                        "refresh_token": self.provider.sign_in(&user),
                        "expires_in": provider::LIFE.as_secs(),
                    });
                    ("/adopt", body)
                }
            };
            let body = Some(body.to_string());
            let node = random.usize(..NODES);
            match self.send(node, Method::POST, path, body, Duration::ZERO).await {
                Reply::Answered(Answer { status: 204, .. }) => break,
                Reply::Answered(Answer { status: 503, .. }) | Reply::Lost => {}
                Reply::Answered(Answer { status, .. }) => {
                    self.ledger.wrong(format!("{status} to a sign-in of {user}"));
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.leaving.set(false);
    }

    /// At the end the client is served, or its session's last tokens are really lost.
    async fn comes_back(&self, random: &mut Rng) {
        let until = self.ledger.now() + RECOVERY_LIMIT;
        let (mut refused, mut served) = (0, 0);
        while !self.ledger.is_wrong() {
            let began = self.ledger.now();
            let node = random.usize(..NODES);
            let end = self.send(node, Method::GET, "/me", None, Duration::ZERO).await;
            if let Reply::Answered(answer) = end {
                self.check(&answer, began, true);
                match answer.status {
                    200 if served > 0 => return self.is_there(),
                    200 => {
                        // The current token may not suffice; a later one may, after its expiry.
                        (refused, served) = (0, 1);
                        tokio::time::sleep(provider::LIFE + provider::LIFE / 2).await;
                    }
                    // Late answers, and publications to the store, have arrived by then.
                    401 => refused += 1,
                    _ => refused = 0,
                }
            }
            if refused > 8 {
                return self.is_closed();
            }
            if began > until {
                return self.ledger.wrong(format!("{} is not served", name(self.number)));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn is_there(&self) {
        self.ledger.tell(|| format!("{} is there", name(self.number)));
    }

    fn is_closed(&self) {
        let issued = self.provider.family(&self.person()).current;
        let last = format!("{}.{issued}", self.person());
        let sid = self.held.borrow().sid;
        // The store in memory never waits.
        let row = sid.and_then(|sid| self.rows.load(sid).now_or_never()?.ok()?);
        let published = row.and_then(|loaded| Some(loaded.record.upstream?.seq));
        // The token in the row was sent, and its result is unknown.
        if published != Some(issued) && self.ledger.is_known(&last) {
            self.ledger.wrong(format!("{last} reached a live node, and is lost"));
        }
        self.ledger.count(|tally| tally.lost += 1);
        self.ledger.tell(|| format!("{} is lost with {last}", name(self.number)));
    }

    async fn send(
        &self,
        to: usize,
        method: Method,
        path: &str,
        body: Option<String>,
        takes: Duration,
    ) -> Reply {
        let (own, node, began) = (name(self.number), node::name(to), self.ledger.now());
        self.ledger.count(|tally| tally.requests += 1);
        self.ledger.tell(|| format!("{own} to {node}: {method} {path}"));
        let bound = BOUND + takes;
        let answer = timeout(bound, self.exchange(to, method, path, body)).await;
        if let Ok(Some(answer)) = answer {
            self.ledger.tell(|| {
                let me = answer.me.as_ref().map(|me| format!("{} {:?}", me.sid, me.r#gen));
                format!("{node} to {own}: {} {}", answer.status, me.unwrap_or_default())
            });
            return Reply::Answered(answer);
        }
        self.ledger.count(|tally| tally.unanswered += 1);
        self.ledger.tell(|| format!("{node} to {own}: nothing"));
        if !self.faults.borrow().touch(&own, &node, began, began + bound) {
            self.ledger.wrong(format!("no answer to {own} from {node} in {bound:?}: {path}"));
        }
        Reply::Lost
    }

    async fn exchange(
        &self,
        to: usize,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Option<Answer> {
        let stream = TcpStream::connect((node::name(to), node::PORT)).await.ok()?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.ok()?;
        tokio::spawn(async move {
            // The sender gets the connection's error.
            let _ = connection.await;
        });
        // Sends the jar's contents at this moment.
        let held = self.held.borrow().clone();
        let who = self.sign_ins.get();
        let mut request = Request::builder().method(method).uri(path).header("host", "app.test");
        let access = held.access.iter().map(|token| format!("{ACCESS_COOKIE}={token}"));
        let refresh = held.refresh.iter().map(|token| format!("{REFRESH_COOKIE}={token}"));
        let cookies: Vec<String> = access.chain(refresh).collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).ok()?;
        let answer = sender.send_request(request).await.ok()?;
        // Cookies count as soon as the head is there.
        if who == self.sign_ins.get() {
            self.keep(answer.headers());
        }
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some(Answer { status, me: serde_json::from_slice(&body).ok() })
    }

    fn keep(&self, fields: &http::HeaderMap) {
        let mut held = self.held.borrow_mut();
        for cookie in fields.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            match cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                Some((name, "")) if !self.leaving.get() => {
                    self.ledger.wrong(format!("the cookie {name} was taken away"));
                }
                Some((_, "")) => {}
                Some((ACCESS_COOKIE, token)) => held.access = Some(token.to_owned()),
                Some((REFRESH_COOKIE, token)) => {
                    self.ledger.given(token);
                    let sid = Ledger::session_of(token);
                    if held.sid.is_some() && held.sid != sid && !self.leaving.get() {
                        self.ledger.wrong(format!("{} gets another session", name(self.number)));
                    }
                    (held.refresh, held.sid) = (Some(token.to_owned()), sid);
                }
                _ => {}
            }
        }
    }
}
