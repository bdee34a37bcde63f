//! Another issuer's keys: fetched at start, kept fresh, and fetched when a token names a new key.

mod document;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use everfresh::upstream::{KeySource, Seek};
use everfresh::{Algorithm, KeyError, Keys};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::fetch::{FetchError, fetch};
use crate::http::{HttpClient, HttpError, SecureUrl, UrlError};

/// The default time between two fetches that tokens with unknown keys cause.
const COOLDOWN: Duration = Duration::from_secs(30);

/// The pause after a failed fetch. It doubles with each failure, up to `RETRY_MOST`.
const RETRY: Duration = Duration::from_secs(30);
const RETRY_MOST: Duration = Duration::from_secs(10 * 60);

/// The counter of fetches, which [`everfresh::metrics::METRICS`] lists as well.
const FETCHES: &str = "everfresh_key_fetches_total";

/// The most requests that may wait for one fetch. Further requests get 503.
const MAX_WAITING: usize = 1024;

/// The address of another issuer's public keys, its JWK set (RFC 7517).
///
/// # Example
/// ```
/// # async fn keys() -> Result<(), Box<dyn std::error::Error>> {
/// use everfresh_upstream::{HttpClient, JwksUrl};
///
/// let remote = JwksUrl::new("https://id.example/jwks.json")?.fetch(&HttpClient::new()?).await?;
/// let keys = remote.keys();      // for `Engine::builder(keys)`
/// # let _ = keys;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl {
    url: SecureUrl,
    cooldown: Duration,
    rsa: Algorithm,
}

impl JwksUrl {
    /// Returns the JWK set's address, with the default settings.
    ///
    /// # Errors
    /// Returns an error if the URL may not be called. See [`SecureUrl`].
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Ok(url.parse::<SecureUrl>()?.into())
    }

    /// Sets the time in which tokens with unknown keys cause no second fetch. The default is 30 s.
    /// The time is at least 1 s and at most 1 hour; other values are clamped.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown.clamp(Duration::from_secs(1), Duration::from_secs(60 * 60));
        self
    }

    /// Sets the algorithm of RSA keys whose JWK has no `alg`. The default is RS256. Use it for
    /// issuers that sign with another algorithm and don't name it. A JWK with `alg` keeps its own.
    ///
    /// # Errors
    /// Returns an error if the algorithm is not one of RS256, RS384, RS512, PS256, PS384 and PS512.
    ///
    /// # Example
    /// ```
    /// # fn keys() -> Result<(), Box<dyn std::error::Error>> {
    /// use everfresh::Algorithm;
    /// use everfresh_upstream::JwksUrl;
    ///
    /// let jwks = JwksUrl::new("https://id.example/jwks.json")?.rsa_without_alg(Algorithm::PS256)?;
    /// # let _ = jwks;
    /// # Ok(())
    /// # }
    /// # keys().unwrap();
    /// ```
    pub fn rsa_without_alg(mut self, algorithm: Algorithm) -> Result<Self, KeyError> {
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        if !matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512) {
            return Err(KeyError::NotForAlgorithm { algorithm, found: Some("for RSA keys") });
        }
        self.rsa = algorithm;
        Ok(self)
    }

    /// Fetches the keys, and keeps them fresh from then on.
    ///
    /// Call it in a tokio runtime that lives as long as the keys are needed. The later fetches run
    /// there.
    ///
    /// # Errors
    /// Returns an error if the keys could not be fetched, or can't be used.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub async fn fetch(self, client: &HttpClient) -> Result<RemoteKeys, FetchError> {
        let Self { url, cooldown, rsa } = self;
        let fetched = fetch_keys(client, &url, rsa).await;
        count(&fetched);
        let (keys, kept) = fetched?;
        let state = State {
            in_flight: None,
            requested_at: None,
            failures: 0,
            error: None,
            next: Instant::now() + kept,
        };
        let remote = Arc::new(Remote {
            url,
            client: client.clone(),
            cooldown,
            rsa,
            keys,
            runtime: Handle::current(),
            state: Mutex::new(state),
        });
        tokio::spawn(keep_fresh(Arc::downgrade(&remote)));
        Ok(RemoteKeys(remote))
    }
}

impl From<SecureUrl> for JwksUrl {
    fn from(url: SecureUrl) -> Self {
        Self { url, cooldown: COOLDOWN, rsa: Algorithm::RS256 }
    }
}

/// Another issuer's keys, fetched and kept fresh. Made by [`JwksUrl::fetch`]; a cheap handle.
///
/// # Rules
/// 1. The set is fetched again in the background when its answer becomes stale (`Cache-Control:
///    max-age`), after 5 minutes at the least and an hour at the most. Without `max-age` the set is
///    fetched again after 10 minutes. A key that the issuer removed is valid until then.
/// 2. A token that names a key that the set lacks causes one fetch. Its request waits for the
///    fetch, and so do other requests with such tokens. For 30 s from the start of the fetch,
///    further tokens with unknown keys cause no other fetch; after the fetch they get 401 at once.
///    So such tokens cause two fetches a minute at the most. Tokens whose key is in the set are not
///    affected. The answer is 401 rather than 503, because any client can cause the fetch again and
///    again, and users whose key was removed would then never be asked to sign in. The cost is that
///    a token is refused if the issuer signs with a key that it published less than 30 s ago, and
///    another token has just caused a fetch.
/// 3. A set that can't be fetched, or can't be used, changes nothing. The last good set stays in
///    use without a limit, and each failed attempt logs a warning. Until a fetch succeeds, tokens
///    that name other keys get 503, because the node can't verify them.
/// 4. A good set has at most 64 KiB and 64 keys, at least one of which is usable. Keys of unknown
///    kinds or for other uses are ignored. A shared secret (`oct`) makes the whole set unusable.
///    Keys may share a name (RFC 7517 section 4.5): see [`Keys::from_jwk_set`]. An RSA key without
///    `alg` is for RS256, unless [`JwksUrl::rsa_without_alg`] names another algorithm.
/// 5. The address is the configured one. No part of a token reaches the code that fetches, so no
///    token can direct a fetch.
///
/// # Caveat
/// While the issuer can't be reached, a key that it removed stays valid. An app that must not
/// accept such keys can watch [`last_error`](Self::last_error).
#[derive(Clone)]
pub struct RemoteKeys(Arc<Remote>);

struct Remote {
    url: SecureUrl,
    client: HttpClient,
    cooldown: Duration,
    rsa: Algorithm,
    /// Without a source, because a source holds this value: the two would keep each other alive.
    keys: Keys,
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    in_flight: Option<InFlight>,
    /// When a token last caused a fetch.
    requested_at: Option<Instant>,
    /// How many attempts in a row failed, and the error of the last one.
    failures: u32,
    error: Option<FetchError>,
    /// When the set is to be fetched again.
    next: Instant,
}

/// A running fetch. Its sender is dropped when it ends, whatever its outcome.
#[derive(Clone)]
struct InFlight {
    end: watch::Receiver<()>,
    waiting: Arc<()>,
}

impl RemoteKeys {
    /// Returns the keys, for [`Engine::builder`](everfresh::Engine::builder). They stay fresh as
    /// long as this handle, a clone of it, or a returned [`Keys`] lives.
    pub fn keys(&self) -> Keys {
        self.0.keys.clone().with_source(Source(self.0.clone()))
    }

    /// Fetches the keys now, or waits for the fetch that is already running.
    ///
    /// # Errors
    /// Returns the error of that fetch if it failed.
    pub async fn refresh(&self) -> Result<(), FetchError> {
        let (in_flight, start) = self.0.join(&mut self.0.lock());
        self.0.start(start);
        in_flight.ended().await;
        self.last_error().map_or(Ok(()), Err)
    }

    /// Returns the error of the last attempt, or `None` if it succeeded.
    pub fn last_error(&self) -> Option<FetchError> {
        self.0.lock().error.clone()
    }
}

/// The source that [`Keys`] asks for keys that the set lacks.
struct Source(Arc<Remote>);

impl KeySource for Source {
    fn seek(&self) -> Seek {
        self.0.seek(Instant::now())
    }
}

impl InFlight {
    async fn ended(mut self) {
        while self.end.changed().await.is_ok() {}
    }
}

impl Remote {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rule 2. The cooldown begins with every attempt that a token caused, whatever its outcome. A
    /// fetch in the background starts no cooldown, so a key published right after it can be fetched
    /// at once.
    fn seek(self: &Arc<Self>, now: Instant) -> Seek {
        let (in_flight, start) = {
            let mut state = self.lock();
            if state.in_flight.is_none() {
                let until = state.requested_at.map(|at| at + self.cooldown);
                if let Some(left) = until.and_then(|until| until.checked_duration_since(now))
                    && !left.is_zero()
                {
                    return match state.error {
                        None => Seek::NotFound,
                        Some(_) => Seek::Unavailable { retry_after: left },
                    };
                }
                state.requested_at = Some(now);
            }
            self.join(&mut state)
        };
        self.start(start);
        // The state holds one reference, and this call another.
        if Arc::strong_count(&in_flight.waiting) > MAX_WAITING + 1 {
            return Seek::Unavailable { retry_after: Duration::from_secs(1) };
        }
        Seek::InFlight(Box::pin(in_flight.ended()))
    }

    /// Returns the running fetch, or a new one, which the caller starts after unlocking the state.
    fn join(self: &Arc<Self>, state: &mut State) -> (InFlight, Option<Fetch>) {
        if let Some(in_flight) = &state.in_flight {
            return (in_flight.clone(), None);
        }
        let (running, end) = watch::channel(());
        let in_flight = InFlight { end, waiting: Arc::new(()) };
        state.in_flight = Some(in_flight.clone());
        let fetch = Fetch { remote: self.clone(), done: false, _running: running };
        (in_flight, Some(fetch))
    }

    fn start(&self, fetch: Option<Fetch>) {
        if let Some(fetch) = fetch {
            self.runtime.spawn(fetch.run());
        }
    }

    /// Takes over the result of a fetch: new keys, or the error and the time of the next attempt.
    fn apply(&self, fetched: Fetched) {
        count(&fetched);
        let mut state = self.lock();
        match fetched {
            Ok((keys, kept)) => {
                self.keys.replace_with(&keys);
                state.failures = 0;
                state.error = None;
                state.next = Instant::now() + kept;
            }
            Err(error) => {
                tracing::warn!(
                    target: "everfresh",
                    %error,
                    "keys were not fetched; the former keys stay in use"
                );
                let pause = RETRY * 2_u32.pow(state.failures.min(8));
                state.failures = state.failures.saturating_add(1);
                state.error = Some(error);
                state.next = Instant::now() + pause.min(RETRY_MOST);
            }
        }
    }
}

/// One fetch. If it is dropped before its end, it has failed.
struct Fetch {
    remote: Arc<Remote>,
    done: bool,
    _running: watch::Sender<()>,
}

impl Fetch {
    async fn run(mut self) {
        let Remote { client, url, rsa, .. } = &*self.remote;
        let fetched = fetch_keys(client, url, *rsa).await;
        self.remote.apply(fetched);
        self.done = true;
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if !self.done {
            let cause = "the runtime has ended, or the client has panicked".into();
            let error = FetchError::new(&self.remote.url, HttpError::Unsent { cause });
            self.remote.apply(Err(error));
        }
        // This runs before the sender is dropped, so tasks that see the end find no running fetch.
        self.remote.lock().in_flight = None;
    }
}

/// The keys, and how long they stay fresh.
type Fetched = Result<(Keys, Duration), FetchError>;

/// Counts the fetches of all key sets together. The issuer's address is not a label, because the
/// log names it.
fn count(fetched: &Fetched) {
    let outcome = if fetched.is_ok() { "fetched" } else { "failed" };
    metrics::counter!(FETCHES, "outcome" => outcome).increment(1);
}

async fn fetch_keys(client: &HttpClient, url: &SecureUrl, rsa: Algorithm) -> Fetched {
    let span = tracing::debug_span!(target: "everfresh", "everfresh.keys", %url);
    let answer = fetch(client, url).instrument(span).await?;
    let keys = document::read(&answer, rsa).map_err(|problem| FetchError::new(url, problem))?;
    Ok((keys, document::freshness(&answer.headers)))
}

/// Rule 1. The task holds only a weak reference while it sleeps, and ends once the keys were
/// dropped.
async fn keep_fresh(remote: Weak<Remote>) {
    while let Some(next) = remote.upgrade().map(|remote| remote.lock().next) {
        tokio::time::sleep_until(next).await;
        let Some(remote) = remote.upgrade() else { return };
        let due = {
            let mut state = remote.lock();
            // A token may have caused a fetch in the meantime.
            (state.next <= Instant::now()).then(|| remote.join(&mut state))
        };
        if let Some((in_flight, start)) = due {
            remote.start(start);
            drop(remote);
            in_flight.ended().await;
        }
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("url", &self.0.url)
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}
