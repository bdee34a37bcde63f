//! A real browser on the quickstart: signed in, past expiry, in two tabs, under load.
//!
//! Needs `chromium` and `chromedriver`, which `cargo xtask test` provides. It also sets
//! `QUICKSTART` to the program's path.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use everfresh::{ManualClock, Timestamp};
use everfresh_testkit::Browser;
use everfresh_tests::browser::Fixture;
use fantoccini::Locator;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};

#[tokio::test]
async fn a_user_stays_signed_in_past_expiry() {
    let fixture = Fixture::new().await;
    fixture.sign_in("Ada").await;
    assert_eq!(fixture.request().await, ("200".into(), "fresh".into()));
    for _ in 0..2 {
        fixture.expired().await;
        assert_eq!(fixture.request().await, ("200".into(), "refreshed".into()));
        assert_eq!(fixture.request().await, ("200".into(), "fresh".into()));
    }
    fixture.page.refresh().await.unwrap();
    fixture.visible("#signed-in").await;
    let who = fixture.page.find(Locator::Css("#who")).await.unwrap().text().await.unwrap();
    assert_eq!(who, "Ada");
    fixture.click("#signout").await;
    fixture.visible("#signin").await;
    fixture.page.refresh().await.unwrap();
    fixture.visible("#signin").await;
    fixture.close().await;
}

#[tokio::test]
async fn two_tabs_stay_signed_in_and_sign_out_together() {
    let fixture = Fixture::new().await;
    fixture.sign_in("Grace").await;
    let first = fixture.page.window().await.unwrap();
    let second = fixture.page.new_window(true).await.unwrap().handle;
    fixture.page.switch_to_window(second.clone()).await.unwrap();
    fixture.page.goto(&fixture.address).await.unwrap();
    fixture.visible("#signed-in").await;
    fixture.expired().await;
    let (status, outcome) = fixture.request().await;
    assert_eq!((&*status, &*outcome), ("200", "refreshed"));
    fixture.page.switch_to_window(first.clone()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(fixture.request().await.0, "200");
    }
    fixture.click("#signout").await;
    fixture.visible("#signin").await;
    fixture.page.switch_to_window(second).await.unwrap();
    fixture.visible("#signin").await;
    fixture.close().await;
}

#[tokio::test]
async fn two_hundred_requests_at_the_moment_of_expiry_all_succeed() {
    let fixture = Fixture::new().await;
    fixture.sign_in("Edsger").await;
    fixture.click("#send-burst").await;
    fixture.until("document.querySelector('#burst-result').dataset.ok !== undefined").await;
    let result = fixture.page.find(Locator::Css("#burst-result")).await.unwrap();
    let count = async |name| -> u32 { result.attr(name).await.unwrap().unwrap().parse().unwrap() };
    assert_eq!(count("data-ok").await, 200);
    assert_eq!(count("data-failed").await, 0);
    assert!(count("data-refreshed").await >= 1);
    fixture.visible("#signed-in").await;
    fixture.close().await;
}

#[tokio::test]
async fn a_stolen_copy_ends_the_session_when_it_comes_back() {
    let fixture = Fixture::new().await;
    fixture.sign_in("Barbara").await;
    fixture.click("#steal").await;
    fixture.until("!document.querySelector('#replay').disabled").await;
    fixture.expired().await;
    assert_eq!(fixture.request().await, ("200".into(), "refreshed".into()));
    assert_eq!(fixture.request().await, ("200".into(), "fresh".into()));
    // The quickstart's reuse interval is 5 s. Its access tokens live for 15 s.
    fixture.until("Number(document.querySelector('#seconds').textContent) <= 8").await;
    fixture.click("#replay").await;
    fixture.visible("#signin").await;
    fixture.page.refresh().await.unwrap();
    fixture.visible("#signin").await;
    fixture.close().await;
}

#[tokio::test]
async fn a_session_elsewhere_is_listed_and_ended() {
    let fixture = Fixture::new().await;
    fixture.sign_in("Margaret").await;
    let address = fixture.address.trim_start_matches("http://").parse().unwrap();
    let clock = ManualClock::starting_at(Timestamp::from_secs(0));
    let mut elsewhere = Browser::new(address, clock);
    let form = [(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
    let login = elsewhere.request(Method::POST, "/login", &form, "name=Margaret".into());
    assert_eq!(elsewhere.send(login).await.status, 204);
    assert_eq!(elsewhere.get("/api/me").await.status, 200);

    fixture.click("#reload-sessions").await;
    fixture.until("document.querySelectorAll('#session-list li').length === 2").await;
    fixture
        .until("document.querySelectorAll('#session-list li[data-current=true]').length === 1")
        .await;
    fixture.click("#session-list .end-session").await;
    fixture.until("document.querySelectorAll('#session-list li').length === 1").await;
    assert_eq!(elsewhere.get("/api/me").await.status, 401, "at once");
    assert_eq!(fixture.request().await.0, "200");
    fixture.close().await;
}
