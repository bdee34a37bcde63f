//! Another issuer's keys: fetched at start, kept fresh, and fetched when a token names a new one.

mod document;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use everfresh::{Algorithm, KeyError, KeySource, Keys, Seek};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::fetch::{FetchError, fetch};
use crate::http::{HttpClient, HttpError, SecureUrl, UrlError};

/// How long no second fetch is started for keys that tokens name and the set lacks.
const COOLDOWN: Duration = Duration::from_secs(30);

/// How soon a set is fetched again that could not be had; doubled each time, up to `RETRY_MOST`.
const RETRY: Duration = Duration::from_secs(30);
const RETRY_MOST: Duration = Duration::from_secs(10 * 60);

/// The counter of attempts; [`everfresh::METRICS`] has it too.
const FETCHES: &str = "everfresh_key_fetches_total";

/// How many requests may wait for one fetch. More are answered as unavailable.
const MAX_WAITING: usize = 1024;

/// Where another issuer keeps its public keys: the address of its JWK set (RFC 7517).
///
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
    /// Errors: not an address that may be called; see [`SecureUrl`].
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Ok(url.parse::<SecureUrl>()?.into())
    }

    /// How long no second fetch is started for keys that tokens name and the set lacks: 30 s
    /// unless set. A second at the least, and an hour at the most.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown.clamp(Duration::from_secs(1), Duration::from_secs(60 * 60));
        self
    }

    /// The algorithm of RSA keys whose JWK has no `alg`: RS256 unless set. For issuers that sign by
    /// another one and don't say so; a JWK with `alg` keeps its own.
    ///
    /// Errors: not RS256 to RS512 or PS256 to PS512.
    ///
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
    /// Errors: what kept the keys from being had, or from being used. Call it in the tokio runtime
    /// that lives as long as the keys are needed.
    pub async fn fetch(self, client: &HttpClient) -> Result<RemoteKeys, FetchError> {
        let Self { url, cooldown, rsa } = self;
        let fetched = fetch_keys(client, &url, rsa).await;
        count(&fetched);
        let (keys, kept) = fetched?;
        let state = State {
            underway: None,
            sought_at: None,
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

/// Another issuer's keys, as they are fetched. Made by [`JwksUrl::fetch`]; a cheap handle.
///
/// # Rules
/// 1. The set is fetched again in the background when its answer says so (`Cache-Control:
///    max-age`), after 5 minutes at the least and an hour at the most; 10 minutes where it does
///    not say. A key that the issuer took away stops counting by then.
/// 2. A token that names a key that the set lacks is reason for one fetch, for which its request
///    waits, and other requests with it. For 30 s from then such tokens are refused at once with
///    401, whatever they name: however many there are, the issuer hears of it twice a minute.
///    Tokens by keys of the set notice nothing of this. It is no 503, since any client can cause
///    the fetch again and again: people whose key is gone could never be told to sign in. The price
///    is paid by tokens of a key with which the issuer signs before it has been published for 30 s,
///    and only if another token has just caused a fetch.
/// 3. A set that can't be had, or can't be used, changes nothing: the last good one is kept for as
///    long as it takes, and a warning is logged at each attempt. Until there is a good one, tokens
///    that name other keys are answered with 503, since nobody knows what they are worth.
/// 4. A good set has at most 64 KiB and 64 keys, one of which can be used. Keys of unknown kinds
///    or for other uses are passed over; a shared secret (`oct`) makes the whole of it unusable.
///    Keys may share a name (RFC 7517 section 4.5): see [`Keys::from_jwk_set`]. An RSA key without
///    `alg` is for RS256, unless [`JwksUrl::rsa_without_alg`] says otherwise.
/// 5. The address is the one that you gave. Nothing in a token is followed, or even told to what
///    fetches.
///
/// # Caveat
/// While the issuer can't be reached, a key that it took away goes on counting. An app that must
/// not accept that can watch [`last_error`](Self::last_error).
#[derive(Clone)]
pub struct RemoteKeys(Arc<Remote>);

struct Remote {
    url: SecureUrl,
    client: HttpClient,
    cooldown: Duration,
    rsa: Algorithm,
    /// Without a source: whoever holds it does not hold us.
    keys: Keys,
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    underway: Option<InFlight>,
    /// When a token was last the reason for a fetch.
    sought_at: Option<Instant>,
    /// How many attempts in a row brought nothing, and what the last one ran into.
    failures: u32,
    error: Option<FetchError>,
    /// When the set is to be fetched again.
    next: Instant,
}

/// A fetch that runs. Its sender is dropped at its end, whatever that is.
#[derive(Clone)]
struct InFlight {
    end: watch::Receiver<()>,
    waiting: Arc<()>,
}

impl RemoteKeys {
    /// The keys, for [`Engine::builder`](everfresh::Engine::builder). They stay fresh for as long
    /// as this handle or one that came from it lives.
    pub fn keys(&self) -> Keys {
        self.0.keys.clone().with_source(Source(self.0.clone()))
    }

    /// Fetches the keys now, or waits for the fetch that is under way.
    pub async fn refresh(&self) -> Result<(), FetchError> {
        let (underway, start) = self.0.join(&mut self.0.lock());
        self.0.start(start);
        underway.ended().await;
        self.last_error().map_or(Ok(()), Err)
    }

    /// Why the last attempt brought nothing; none if it was good.
    pub fn last_error(&self) -> Option<FetchError> {
        self.0.lock().error.clone()
    }
}

/// What [`Keys`] asks for keys that the set lacks.
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

    /// Rule 2. The cooldown counts attempts, however they end, and only those that tokens caused:
    /// a key that comes up right after the set was fetched by itself need not wait.
    fn seek(self: &Arc<Self>, now: Instant) -> Seek {
        let (underway, start) = {
            let mut state = self.lock();
            if state.underway.is_none() {
                let until = state.sought_at.map(|at| at + self.cooldown);
                if let Some(left) = until.and_then(|until| until.checked_duration_since(now))
                    && !left.is_zero()
                {
                    return match state.error {
                        None => Seek::InVain,
                        Some(_) => Seek::Unavailable { retry_after: left },
                    };
                }
                state.sought_at = Some(now);
            }
            self.join(&mut state)
        };
        self.start(start);
        // One is the state's, one is ours.
        if Arc::strong_count(&underway.waiting) > MAX_WAITING + 1 {
            return Seek::Unavailable { retry_after: Duration::from_secs(1) };
        }
        Seek::InFlight(Box::pin(underway.ended()))
    }

    /// The fetch that is under way, or a new one, to be started when the state is free.
    fn join(self: &Arc<Self>, state: &mut State) -> (InFlight, Option<Fetch>) {
        if let Some(underway) = &state.underway {
            return (underway.clone(), None);
        }
        let (running, end) = watch::channel(());
        let underway = InFlight { end, waiting: Arc::new(()) };
        state.underway = Some(underway.clone());
        let fetch = Fetch { remote: self.clone(), landed: false, _running: running };
        (underway, Some(fetch))
    }

    fn start(&self, fetch: Option<Fetch>) {
        if let Some(fetch) = fetch {
            self.runtime.spawn(fetch.run());
        }
    }

    /// Takes over what a fetch brought.
    fn land(&self, fetched: Fetched) {
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
                tracing::warn!(target: "everfresh", %error, "keys not fetched, the former ones stay");
                let pause = RETRY * 2_u32.pow(state.failures.min(8));
                state.failures = state.failures.saturating_add(1);
                state.error = Some(error);
                state.next = Instant::now() + pause.min(RETRY_MOST);
            }
        }
    }
}

/// One fetch, which ends however it does: if it is dropped before, it has failed.
struct Fetch {
    remote: Arc<Remote>,
    landed: bool,
    _running: watch::Sender<()>,
}

impl Fetch {
    async fn run(mut self) {
        let Remote { client, url, rsa, .. } = &*self.remote;
        let fetched = fetch_keys(client, url, *rsa).await;
        self.remote.land(fetched);
        self.landed = true;
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if !self.landed {
            let cause = "the runtime has ended, or the client has panicked".into();
            let error = FetchError::new(&self.remote.url, HttpError::Unsent { cause });
            self.remote.land(Err(error));
        }
        // Before the sender: whoever is told of the end finds nothing under way.
        self.remote.lock().underway = None;
    }
}

/// Keys, and how long they may be kept.
type Fetched = Result<(Keys, Duration), FetchError>;

/// Of all key sets together: an issuer's address is no label, and the log names it.
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

/// Rule 1. Holds nothing while it waits, and ends when it finds that nobody needs it.
async fn keep_fresh(remote: Weak<Remote>) {
    while let Some(next) = remote.upgrade().map(|remote| remote.lock().next) {
        tokio::time::sleep_until(next).await;
        let Some(remote) = remote.upgrade() else { return };
        let due = {
            let mut state = remote.lock();
            // A token may have been the reason for a fetch meanwhile.
            (state.next <= Instant::now()).then(|| remote.join(&mut state))
        };
        if let Some((underway, start)) = due {
            remote.start(start);
            drop(remote);
            underway.ended().await;
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
