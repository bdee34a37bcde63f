//! A refresh that fails until an operator fixes the configuration.

use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::json;

use super::*;
use crate::Revalidated;
use crate::dialect::Dialect;

#[tokio::test]
async fn a_misconfigured_refresh_has_one_retry_after_in_the_layer_and_at_dialects() {
    // Claims too large for any cookie.
    let hook = |_| async { Ok::<_, &str>(Revalidated::Replace(user(&"x".repeat(8000)))) };
    let dialects = [Dialect::FREDDY, Dialect::JWT_AUTH_PRO];
    let fixture = Fixture::rotating_with(|builder| {
        let builder = builder.revalidate_with(hook);
        dialects.iter().cloned().fold(builder, |builder, dialect| builder.dialect(dialect))
    })
    .0;
    let pair = fixture.sign_in_pair("alice").await;
    fixture.pass(1000);
    let page = fixture.me(pair.request()).await;
    let answer = (page.status(), page.headers()[RETRY_AFTER].to_str().unwrap());
    assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "60"));
    assert_eq!(set_cookies(&page), Vec::<String>::new(), "no session is lost");
    for dialect in &dialects {
        let body = json!({"refresh_token": pair.refresh}).to_string();
        let request = request("POST", &[]);
        let reply = call_with(&fixture, &dialect.paths[0], request, body.as_bytes()).await;
        let answer = (reply.status(), reply.headers()[RETRY_AFTER].to_str().unwrap());
        assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "60"), "{}", dialect.name);
    }
}
