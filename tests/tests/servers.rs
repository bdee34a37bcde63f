//! The contract servers as processes: their environment, real time, and a graceful shutdown.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everfresh::{ManualClock, Timestamp};
use everfresh_testkit::Browser;
use everfresh_testkit::contract::Me;
use everfresh_testkit::suite::{ACCESS_COOKIE, token_of};
use everfresh_tests::process::{Running, Workplace};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SERVERS: [&str; 4] = [
    env!("CARGO_BIN_EXE_serve-actix"),
    env!("CARGO_BIN_EXE_serve-axum"),
    env!("CARGO_BIN_EXE_serve-tower"),
    env!("CARGO_BIN_EXE_serve-warp"),
];

struct Server {
    process: Running,
    address: SocketAddr,
    _workplace: Workplace,
}

fn start(program: &str, settings: &[(&str, &str)]) -> Running {
    let workplace = Workplace::new().unwrap();
    start_in(&workplace, program, settings)
}

fn start_in(workplace: &Workplace, program: &str, settings: &[(&str, &str)]) -> Running {
    let program = workplace.program(Path::new(program)).unwrap();
    let mut command = workplace.command(program);
    command.env("PORT", "0").env("SECRET", "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA");
    for name in ["ACCESS_TTL", "SESSION_TTL", "REFRESH", "STORE"] {
        command.env_remove(name);
    }
    command.envs(settings.iter().copied());
    Running::start(command).unwrap()
}

fn serve(program: &str, settings: &[(&str, &str)]) -> Server {
    let workplace = Workplace::new().unwrap();
    let mut process = start_in(&workplace, program, settings);
    let address = process.wait_for("listening on http://").parse().unwrap();
    Server { process, address, _workplace: workplace }
}

fn browser(server: &Server) -> Browser {
    // Only the jar uses this clock. No test here depends on a cookie's expiry.
    Browser::new(server.address, ManualClock::starting_at(Timestamp::from_secs(0)))
}

#[tokio::test]
async fn a_token_of_two_seconds_is_refreshed_in_real_time() {
    let modes: [&[_]; 3] = [
        &[("ACCESS_TTL", "2"), ("REFRESH", "reissue")],
        &[("ACCESS_TTL", "2"), ("REFRESH", "rotate")],
        &[("ACCESS_TTL", "2"), ("REFRESH", "rotate"), ("STORE", "sqlite:sessions.db")],
    ];
    for (program, mode) in SERVERS.into_iter().flat_map(|one| modes.map(|mode| (one, mode))) {
        let server = serve(program, mode);
        let mut browser = browser(&server);
        let answer = browser.post_json("/login", &json!({"user": "alice"})).await;
        assert_eq!(answer.status, 204);
        let first: Me = browser.get("/me").await.json();
        let mut renewed = 0;
        // Sends requests until two expiries have passed. Each answer must be good.
        while renewed < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = browser.get("/me").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.json::<Me>().sid, first.sid);
            renewed += u32::from(token_of(&answer).is_some());
        }
        let last: Me = browser.get("/me").await.json();
        assert!(last.exp > first.exp);
    }
}

#[test]
fn a_bad_setting_is_one_line_and_exit_2() {
    for program in SERVERS {
        for (name, value, says) in [
            ("PORT", "none", "allowed is a whole number from 0 to 65535"),
            ("ACCESS_TTL", "0", "allowed is a whole number from 1 to"),
            ("SESSION_TTL", "-1", "allowed is a whole number from 1 to"),
            ("SECRET", "short", "needs at least 32"),
            ("SECRET", "", "is empty"),
            ("REFRESH", "magic", "allowed is rotate, reissue, upstream"),
            ("STORE", "redis:localhost", "allowed is memory, sqlite:PATH"),
            ("STORE", "sqlite:/no/such/folder/sessions.db", "unable to open"),
        ] {
            let mut process = start(program, &[(name, value)]);
            assert_eq!(process.wait().unwrap().code(), Some(2), "{name}={value}");
            let stderr = process.stderr();
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(stderr.starts_with(name) && stderr.contains(says), "{stderr}");
        }
    }
}

#[tokio::test]
async fn a_refresh_goes_through_the_proxy_of_the_environment() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let asked = heads.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 1024];
            let read = client.read(&mut head).await.unwrap();
            asked.lock().unwrap().push(String::from_utf8_lossy(&head[..read]).into_owned());
            client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
        }
    });
    for (exceptions, expected) in [("other.invalid", 1), ("provider.invalid", 0)] {
        let settings = [
            ("REFRESH", "upstream"),
            ("UPSTREAM_URL", "https://provider.invalid/token"),
            ("UPSTREAM_DIALECT", "oauth2"),
            ("UPSTREAM_CLIENT_ID", "app"),
            ("HTTPS_PROXY", &proxy),
            ("NO_PROXY", exceptions),
        ];
        let server = serve(env!("CARGO_BIN_EXE_serve-axum"), &settings);
        let mut browser = browser(&server);
        let tokens = json!({
            "sub": "alice", "access_token": "at-0", "refresh_token": "rt-0", "expires_in": 1,
        });
        assert_eq!(browser.post_json("/adopt", &tokens).await.status, 204);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(browser.get("/me").await.status, 503, "nothing was sent");
        let heads = std::mem::take(&mut *heads.lock().unwrap());
        assert_eq!(heads.len(), expected, "{exceptions}: {heads:?}");
        let connects = |head: &String| head.starts_with("CONNECT provider.invalid:443 HTTP/1.1");
        assert!(heads.iter().all(connects), "{heads:?}");
    }
}

#[tokio::test]
async fn sigterm_ends_what_is_under_way_and_then_the_server() {
    for program in SERVERS {
        let mut server = serve(program, &[]);
        let mut browser = browser(&server);
        browser.post_json("/login", &json!({"user": "alice"})).await;
        let token = browser.jar.get(ACCESS_COOKIE).unwrap();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "GET /stream HTTP/1.1\r\nhost: localhost\r\ncookie: {ACCESS_COOKIE}={token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"chunk 1\n\r\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        server.process.signal(Signal::TERM);
        drop(browser);
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"chunk 10\n\r\n0\r\n\r\n"), "{}", answer.escape_ascii());
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
    }
}
