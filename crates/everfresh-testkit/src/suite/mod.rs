//! The cases that every adapter has to pass, over real sockets. Each case has its own server, on
//! its own clock.

pub mod cases;

use std::net::SocketAddr;
use std::time::Duration;

use everfresh::{
    Clock, Engine, EngineBuilder, Keys, ManualClock, MemoryStore, Reissue, Rotate, Timestamp,
    Transport,
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::browser::{Answer, Browser};
use crate::contract::{Me, User, with_dialects};

/// A framework that serves the contract.
pub trait Adapter {
    /// Serves the [`contract`](crate::contract) inside this engine's layer, on a free port of
    /// 127.0.0.1.
    fn serve(auth: Engine<User>) -> impl Future<Output = Server>;
}

/// A running server, which stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Wraps the server at `address`, which `task` runs.
    pub fn new(address: SocketAddr, task: JoinHandle<()>) -> Self {
        Self { address, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server, its clock, and a browser.
#[derive(Debug)]
pub struct Fixture {
    /// The server's clock.
    pub clock: ManualClock,
    /// A browser with an empty jar.
    pub browser: Browser,
    address: SocketAddr,
    _server: Server,
}

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The name of the refresh token's cookie, without a prefix.
pub const REFRESH_COOKIE: &str = "refresh_token";

/// The name of the access token's cookie, without a prefix.
pub const ACCESS_COOKIE: &str = "access_token";

impl Fixture {
    /// Starts a server with the contract's default settings.
    pub async fn new<A: Adapter>() -> Self {
        Self::with::<A>(|builder| builder).await
    }

    /// Starts a server that stores and rotates sessions.
    pub async fn rotating<A: Adapter>() -> Self {
        let clock = ManualClock::starting_at(START);
        let store = MemoryStore::new().clock(clock.clone());
        Self::on::<A>(clock, |builder| with_dialects(builder.refresh_with(Rotate::new(store))))
            .await
    }

    /// Starts a server with other settings.
    pub async fn with<A: Adapter>(
        change: impl FnOnce(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> Self {
        Self::on::<A>(ManualClock::starting_at(START), change).await
    }

    async fn on<A: Adapter>(
        clock: ManualClock,
        change: impl FnOnce(EngineBuilder<User>) -> EngineBuilder<User>,
    ) -> Self {
        let keys = Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").expect("a good secret");
        let builder = Engine::builder(keys)
            .issuer("https://everfresh.test")
            .audience("contract")
            .clock(Clock::from(clock.clone()))
            .transports([Transport::cookies(), Transport::headers()])
            .insecure_dev_only()
            .refresh_with(Reissue::new());
        let server = A::serve(change(builder).build().expect("a good configuration")).await;
        let browser = Browser::new(server.address, clock.clone());
        Self { clock, browser, address: server.address, _server: server }
    }

    /// Signs in. Returns the access token.
    pub async fn sign_in(&mut self, user: &str) -> String {
        let answer = self.browser.post_json("/login", &json!({"user": user})).await;
        assert_eq!(answer.status, 204, "POST /login");
        self.token()
    }

    /// Returns the access token in the browser's jar.
    pub fn token(&self) -> String {
        self.browser.jar.get(ACCESS_COOKIE).expect("signed in").to_owned()
    }

    /// Advances the clock until this token has `secs` seconds left.
    pub async fn pass_until_left(&mut self, secs: u64) {
        let me: Me = self.browser.get("/me").await.json();
        let until = Timestamp::from_secs(me.exp).minus(Duration::from_secs(secs));
        self.clock.advance(until.since(self.clock.now()));
    }

    /// Advances the clock until the jar's access token has expired.
    pub async fn expire(&mut self) {
        self.pass_until_left(0).await;
    }
}

/// Returns the access token that a response sets, if there is one.
pub fn token_of(answer: &Answer) -> Option<String> {
    let prefix = format!("{ACCESS_COOKIE}=");
    let cookies = answer.set_cookies();
    let mut ours = cookies.iter().filter_map(|cookie| cookie.strip_prefix(&prefix));
    let token = ours.next()?.split(';').next()?;
    assert!(ours.next().is_none(), "one cookie of a name: {cookies:?}");
    (!token.is_empty()).then(|| token.to_owned())
}

/// Defines one test for each case, for an [`Adapter`].
///
/// ```text
/// struct MyFramework;
/// impl everfresh_testkit::suite::Adapter for MyFramework { /* .. */ }
/// everfresh_testkit::adapter_suite!(MyFramework);
/// ```
#[macro_export]
macro_rules! adapter_suite {
    ($adapter:ty) => {
        $crate::adapter_suite!($adapter:
            sign_in_sets_one_cookie
            tokens_are_delivered_in_headers_on_demand
            a_hundred_fresh_requests_set_nothing
            an_expired_cookie_is_refreshed
            in_the_advisory_window_this_response_or_the_next_has_the_new_token
            a_bearer_token_goes_back_as_one
            tokens_leave_with_errors
            head_is_refreshed_too
            a_stream_is_untouched
            a_posted_body_is_untouched
            a_slow_handler_gets_its_token
            signing_out_leaves_no_live_cookie
            signing_in_again_is_another_session
            a_tampered_token_is_401_and_sets_nothing
            no_token_is_401_without_an_error_code
            public_routes_admit_every_visitor
            two_credentials_are_a_bad_request
            a_cross_site_post_does_not_count
            a_preflight_touches_nothing
            a_session_ends_at_its_limit
            an_outage_is_503_and_touches_no_cookie
            two_hundred_requests_at_one_expiry_get_one_token
            hostile_cookies_hide_no_good_one
            bytes_that_are_no_text_hide_no_good_cookie
            a_client_that_hangs_up_costs_nothing
            a_rotating_session_sets_two_cookies_and_moves_on
            a_rotating_session_in_headers_moves_on
            two_hundred_racers_get_one_refresh_token
            a_stolen_refresh_token_ends_the_session
            a_signed_out_session_is_over_for_every_token
            a_refresh_token_never_reaches_the_handler
            a_user_lists_and_ends_sessions_by_the_endpoints
            public_keys_are_served
            every_dialect_is_served_to_its_clients
            a_large_body_is_refused
            a_socket_gets_its_cookies_and_lives_while_the_session_does
            a_socket_of_another_site_does_not_count
            debug_headers_show_the_outcome_of_a_request
        );
    };
    ($adapter:ty: $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::suite::cases::$case::<$adapter>().await;
            }
        )*
    };
}
