//! Errors of inner middlewares, and requests that an outer middleware holds.

use std::fmt;

use actix_web::error::{ErrorBadGateway, InternalError};

use super::*;

type Failed = Result<ServiceResponse<BoxBody>, actix_web::Error>;

/// F21: for any kind of error.
// Rows: F21.
#[tokio::test]
async fn tokens_leave_with_an_error_of_a_middleware_inside() {
    let fixture = Fixture::new();
    let cookie = fixture.expired("ada").await;
    async fn fail(_: ServiceRequest, _: Next<BoxBody>) -> Failed {
        Err(ErrorBadGateway("the upstream is down"))
    }
    /// An error whose response can be taken only once, with a cookie of its own.
    async fn fail_once(_: ServiceRequest, _: Next<BoxBody>) -> Failed {
        let mut response = HttpResponse::ImATeapot();
        let response = response.append_header(("set-cookie", "own=1")).body("short and stout");
        Err(InternalError::from_response("a teapot", response).into())
    }
    let app = App::new().configure(routes).wrap(from_fn(fail)).wrap(fixture.refresh());
    let app = init_service(app).await;
    let result = try_call_service(&app, request("GET", "/me", &cookie).to_request()).await;
    assert_eq!(result.as_ref().unwrap_err().to_string(), "the upstream is down");
    let answer = Answer::of(result).await;
    assert_eq!((answer.status, &*answer.body), (502, "the upstream is down"));
    assert!(answer.token().is_some());

    let app = App::new().configure(routes).wrap(from_fn(fail_once)).wrap(fixture.refresh());
    let app = init_service(app).await;
    let result = try_call_service(&app, request("GET", "/me", &cookie).to_request()).await;
    let answer = Answer::of(result).await;
    assert_eq!((answer.status, &*answer.body), (418, "short and stout"));
    assert_eq!((&*answer.cookies[0], answer.cookies.len()), ("own=1", 2));
    assert!(answer.token().is_some());
}

/// An error type of the app's own.
#[derive(Debug)]
struct Mine(&'static str);

impl fmt::Display for Mine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl actix_web::ResponseError for Mine {
    fn status_code(&self) -> StatusCode {
        StatusCode::FORBIDDEN
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::Forbidden();
        response.append_header(("x-own", "1")).append_header(("set-cookie", "own=1")).body(self.0)
    }
}

async fn deny(_: ServiceRequest, _: Next<BoxBody>) -> Failed {
    Err(Mine("not for you").into())
}

/// The answers, with an outer middleware that inspects the error before it passes it on, as loggers
/// do.
async fn answers(fixture: &Fixture, cookie: &str) -> (Vec<Answer>, actix_web::Error) {
    let app = App::new().configure(routes).wrap(from_fn(deny)).wrap(fixture.refresh());
    let app = init_service(app).await;
    let error = try_call_service(&app, request("GET", "/me", cookie).to_request()).await;
    let Err(error) = error else { panic!("it stays an error") };
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(Answer::read(error.error_response()).await);
    }
    (seen, error)
}

// Rows: R3.
#[tokio::test]
async fn an_error_answers_the_same_each_time_it_is_asked() {
    let fixture = Fixture::new();
    let expired = fixture.expired("bob").await;
    let fresh = fixture.sign_in("ada").await;
    for (cookie, refreshed) in [("", false), (&*fresh, false), (&*expired, true)] {
        let (seen, _) = answers(&fixture, cookie).await;
        let first = seen[0].cookies.clone();
        assert_eq!(first[0], "own=1", "the error's own comes first");
        for answer in &seen {
            assert_eq!((answer.status, &*answer.body), (403, "not for you"));
            assert_eq!(answer.cookies, first);
            assert_eq!(answer.token().is_some(), refreshed);
        }
        if let Some(token) = seen[2].token() {
            assert_eq!(fixture.send("GET", "/me", &token).await.body, "bob", "it is good");
        }
    }
}

// Rows: R3.
#[tokio::test]
async fn the_outcome_of_an_error_is_reported_once() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook = told.clone();
    let fixture = Fixture::with(|builder| {
        builder.on_event(move |event| hook.lock().unwrap().push(event.name().into()))
    });
    async fn leave(request: ServiceRequest, next: Next<BoxBody>) -> Failed {
        next.call(request).await?;
        Err(Mine("too late").into())
    }
    let cookie = fixture.sign_in("ada").await;
    let app = App::new().configure(routes).wrap(from_fn(leave)).wrap(fixture.refresh());
    let app = init_service(app).await;
    let result = try_call_service(&app, request("POST", "/logout", &cookie).to_request()).await;
    let error = result.err().unwrap();
    for _ in 0..3 {
        let answer = Answer::read(error.error_response()).await;
        assert_eq!(answer.token().as_deref(), Some("__Host-access_token="), "deleted each time");
    }
    let cleared = told.lock().unwrap().iter().filter(|name| **name == "cookies_cleared").count();
    assert_eq!(cleared, 1);
}

// Rows: R13.
#[tokio::test]
async fn an_error_keeps_its_type() {
    let fixture = Fixture::new();
    let expired = fixture.expired("ada").await;
    for cookie in ["", &expired] {
        let (_, error) = answers(&fixture, cookie).await;
        assert_eq!(error.as_error::<Mine>().map(|mine| mine.0), Some("not for you"));
    }
}

async fn hold(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let _held = request.request().clone();
    next.call(request).await
}

#[tokio::test]
async fn a_request_that_needs_no_change_is_left_alone() {
    let fixture =
        Fixture::with(|builder| builder.transports([Transport::cookies(), Transport::headers()]));
    let cookie = fixture.expired("ada").await;
    let resource = web::resource("/me").get(me).wrap(fixture.refresh()).wrap(from_fn(hold));
    let app = init_service(App::new().service(resource)).await;
    let request = request("GET", "/me", &cookie).to_request();
    let answer = Answer::of(try_call_service(&app, request).await).await;
    assert_eq!(answer.body, "ada");
    assert!(answer.token().is_some());
}

/// In actix-web, reading the fields of a request that other code holds panics.
// Rows: R10.
#[tokio::test]
async fn a_request_that_is_held_and_must_change_is_answered_and_its_session_goes_on() {
    async fn seen(_: Session<User>) -> &'static str {
        panic!("the handler would see the refresh token")
    }
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    let store = MemoryStore::new().clock(Clock::from(clock.clone()));
    let fixture = Fixture::with(|builder| {
        builder.clock(Clock::from(clock.clone())).refresh_with(Rotate::new(store))
    });
    let fixture = Fixture { clock, ..fixture };
    let app = init_service(App::new().configure(routes).wrap(fixture.refresh())).await;
    let login = request("POST", "/login/ada", "").to_request();
    let answer = Answer::of(try_call_service(&app, login).await).await;
    let pairs = answer.cookies.iter().filter_map(|cookie| cookie.split(';').next());
    let mut jar: Vec<_> = pairs.map(str::to_owned).collect();
    assert_eq!(jar.len(), 2);

    let resource = web::resource("/me").get(seen).wrap(fixture.refresh()).wrap(from_fn(hold));
    let holds = init_service(App::new().service(resource)).await;
    for refreshed in [false, true] {
        let held = request("GET", "/me", &jar.join("; ")).to_request();
        let answer = Answer::of(try_call_service(&holds, held).await).await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains("holds a clone of this request"), "{}", answer.body);
        let new = answer.cookies.iter().filter_map(|cookie| cookie.split(';').next());
        let new: Vec<_> = new.map(str::to_owned).collect();
        assert_eq!(new.len(), if refreshed { 2 } else { 0 }, "nothing that was refreshed is lost");
        if refreshed {
            jar = new;
        }
        let answer = try_call_service(&app, request("GET", "/me", &jar.join("; ")).to_request());
        assert_eq!(Answer::of(answer.await).await.body, "ada");
        fixture.clock.advance(Duration::from_secs(900));
    }
}
