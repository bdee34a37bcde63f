//! `js/everfresh-client` in a real browser, with the quickstart.
//!
//! Needs the same programs as `browser.rs`. `CLIENT` is the path of the built module, which `cargo
//! xtask test` builds.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use everfresh_tests::browser::Fixture;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Loads the client into the tab as `auth`, and records its events in `heard`.
async fn load(fixture: &Fixture, options: Value) {
    let module = std::fs::read_to_string(std::env::var_os("CLIENT").expect("CLIENT is set"));
    let loaded = fixture
        .run(&format!(
            "const module = new Blob([{}], {{ type: 'text/javascript' }});
             const {{ createClient }} = await import(URL.createObjectURL(module));
             window.auth = createClient({options});
             window.heard = [];
             auth.onChange((event, fromThisTab) => heard.push([event, fromThisTab]));
             return 'loaded'",
            json!(module.unwrap()),
        ))
        .await;
    assert_eq!(loaded, "loaded");
}

/// How often this tab has called a path.
async fn calls(fixture: &Fixture, path: &str) -> u64 {
    let script = format!(
        "return performance.getEntriesByType('resource')
             .filter(({{ name }}) => new URL(name).pathname === {path:?}).length"
    );
    fixture.run(&script).await.as_u64().unwrap()
}

/// Two tabs that refresh at the same moment, three times.
async fn two_tabs_refresh(prepare: &str) {
    let fixture = Fixture::new().await;
    fixture.sign_in("Ada").await;
    let tabs = [fixture.another_tab().await, fixture.page.window().await.unwrap()];
    for tab in &tabs {
        fixture.page.switch_to_window(tab.clone()).await.unwrap();
        fixture.visible("#signed-in").await;
        fixture.run(prepare).await;
        load(&fixture, json!({})).await;
        fixture
            .run(
                "window.start = () => { window.ended = auth.refresh() };
                 window.go = new BroadcastChannel('go');
                 go.onmessage = start;",
            )
            .await;
    }
    for round in 1..=3 {
        fixture.run("go.postMessage(null); start();").await;
        let mut called = 0;
        for tab in tabs.iter().rev() {
            fixture.page.switch_to_window(tab.clone()).await.unwrap();
            fixture.until("window.ended !== undefined").await;
            let ended = fixture.run("return await ended").await;
            assert_eq!(ended["status"], 200, "{ended}");
            // The quickstart's tokens live for 15 s.
            let left = ended["expiresIn"].as_f64().unwrap();
            assert!(left > 5.0 && left <= 15.0, "{ended}");
            let known = fixture.run("return auth.expiresIn()").await.as_f64().unwrap();
            assert!(known > 5.0 && known <= 15.0, "{known}");
            fixture.until(&format!("heard.length === {round}")).await;
            called += calls(&fixture, "/auth/refresh").await;
            fixture.run("delete window.ended").await;
        }
        assert_eq!(called, round);
        // Within a second of its expiry another refresh would be legitimate.
        let over = "performance.now() - performance.getEntriesByType('resource')
            .findLast(({ name }) => name.endsWith('/auth/refresh')).responseEnd > 1500";
        for tab in &tabs {
            fixture.page.switch_to_window(tab.clone()).await.unwrap();
            if calls(&fixture, "/auth/refresh").await > 0 {
                fixture.until(over).await;
            }
        }
    }
    fixture.close().await;
}

#[tokio::test]
async fn two_tabs_refresh_once_by_locks() {
    two_tabs_refresh("if (!navigator.locks) throw new Error('no locks')").await;
}

#[tokio::test]
async fn two_tabs_refresh_once_by_vote() {
    two_tabs_refresh("Object.defineProperty(navigator, 'locks', { value: undefined })").await;
}

#[tokio::test]
async fn a_sign_out_reaches_every_tab() {
    let fixture = Fixture::new().await;
    fixture.sign_in("Grace").await;
    load(&fixture, json!({})).await;
    let first = fixture.another_tab().await;
    fixture.visible("#signed-in").await;
    load(&fixture, json!({})).await;
    assert_eq!(fixture.run("auth.notify('signed-in')").await, Value::Null);
    assert_eq!(fixture.run("return (await auth.signOut()).status").await, 204);
    let here = json!([["signed-in", true], ["signed-out", true]]);
    assert_eq!(fixture.run("return heard").await, here);
    fixture.page.switch_to_window(first).await.unwrap();
    fixture.until("heard.length === 2").await;
    let elsewhere = json!([["signed-in", false], ["signed-out", false]]);
    assert_eq!(fixture.run("return heard").await, elsewhere);
    assert_eq!(fixture.run("return (await auth.fetch('/api/me')).status").await, 401);
    assert_eq!(fixture.run("return (await auth.refresh()).status").await, 401);
    fixture.close().await;
}

/// Answers each body 503 at first, and repeats the body the second time. Records all bodies.
async fn busy_server(asked: Arc<Mutex<Vec<String>>>) -> String {
    let answer = async move |body: String| -> Response {
        let mut asked = asked.lock().unwrap();
        let again = asked.contains(&body);
        asked.push(body.clone());
        let mut headers = HeaderMap::new();
        // The page has another origin, so the server must expose the fields that scripts may read.
        headers.insert("access-control-allow-origin", "*".parse().unwrap());
        headers.insert("access-control-expose-headers", "retry-after, expires-in".parse().unwrap());
        headers.insert("expires-in", "60".parse().unwrap());
        if again {
            return (headers, body).into_response();
        }
        headers.insert("retry-after", "1".parse().unwrap());
        (StatusCode::SERVICE_UNAVAILABLE, headers).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

#[tokio::test]
async fn a_busy_server_is_asked_once_more_with_the_same_body() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = busy_server(asked.clone()).await;
    let fixture = Fixture::new().await;
    load(&fixture, json!({"expiresInHeader": "Expires-In", "expiresAtCookie": "until"})).await;
    let send = async |input: &str| {
        let script = format!(
            "const url = {server:?};
             const before = performance.now();
             const answer = await auth.fetch({input});
             return [answer.status, await answer.text(), performance.now() - before >= 1000]"
        );
        fixture.run(&script).await
    };
    let form = "new URLSearchParams({ name: 'Ada' })";
    let bodies = ["'text'", form, "new Blob(['blob'])", "new TextEncoder().encode('bytes')"];
    for (body, sent) in bodies.iter().zip(["text", "name=Ada", "blob", "bytes"]) {
        let answer = send(&format!("url, {{ method: 'POST', body: {body} }}")).await;
        assert_eq!(answer, json!([200, sent, true]));
    }
    let left = fixture.run("return auth.expiresIn()").await.as_f64().unwrap();
    assert!(left > 50.0 && left <= 60.0, "{left}");
    fixture.run("document.cookie = `until=${Math.ceil(Date.now() / 1000) + 500}`").await;
    let left = fixture.run("return auth.expiresIn()").await.as_f64().unwrap();
    assert!(left > 450.0 && left <= 501.0, "{left}");

    let answer = send("new Request(url, { method: 'POST', body: 'once' })").await;
    assert_eq!((&answer[0], &answer[1]), (&json!(503), &json!("")));
    let stopped = send("url, { method: 'POST', body: 'stop', signal: AbortSignal.timeout(300) }");
    assert!(stopped.await.as_str().unwrap().contains("TimeoutError"));
    let kept = asked.lock().unwrap().clone();
    let twice = ["text", "name=Ada", "blob", "bytes"].iter().flat_map(|body| [*body; 2]);
    assert_eq!(kept, twice.chain(["once", "stop"]).collect::<Vec<_>>());
    fixture.close().await;
}
