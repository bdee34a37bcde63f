//! Certificates of servers.

use super::*;

// Rows: S64.
#[tokio::test]
async fn an_untrusted_certificate_is_sent_nothing() {
    let trusting = |certificate: &Certificate| {
        let builder = HttpClient::builder().trust_pem(certificate.pem.as_bytes());
        builder.unwrap().build().unwrap()
    };
    let handler = |request: Request<Bytes>| {
        let version = format!("{:?}", request.version());
        Response::builder().header("x-version", version).body(full(request.into_body())).unwrap()
    };
    let own = Certificate::of("127.0.0.1");
    let server = Server::secure(&own, handler).await;
    let error = refresh(&client(), &server.url("/token")).await.unwrap_err();
    assert!(matches!(&error, HttpError::Tls { .. }), "{error:?}");
    assert!(error.certainly_unsent() && error.to_string().contains("UnknownIssuer"), "{error}");
    assert_eq!((server.connections(), server.requests()), (1, 0));

    let answer = refresh(&trusting(&own), &server.url("/token")).await.unwrap();
    assert_eq!(answer.headers["x-version"], "HTTP/2.0", "for whom it is named");
    let older = Server::start(handler, Some(own.acceptor(&[b"http/1.1"]))).await;
    let answer = refresh(&trusting(&own), &older.url("/token")).await.unwrap();
    assert_eq!(answer.headers["x-version"], "HTTP/1.1");

    let other = Certificate::of("other.example");
    let expired = Certificate::with("127.0.0.1", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for (certificate, says) in [(other, "other.example"), (expired, "expired")] {
        let server = Server::secure(&certificate, handler).await;
        let error = refresh(&trusting(&certificate), &server.url("/token")).await.unwrap_err();
        assert!(matches!(&error, HttpError::Tls { .. }), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(server.requests(), 0);
    }
    // A server without TLS.
    let plain = echo().await;
    let url = format!("https://{}/token", plain.address).parse().unwrap();
    let error = refresh(&client(), &url).await.unwrap_err();
    assert!(error.certainly_unsent() && plain.requests() == 0, "{error:?}");
}

#[test]
fn a_pem_without_a_certificate_is_an_error() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for bad in ["", "x", &key, "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"] {
        let problem = HttpClient::builder().trust_pem(bad.as_bytes()).unwrap_err();
        assert_eq!(problem, ClientError::NoCertificate);
    }
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    let problem = HttpClient::builder().trust_pem(odd.as_bytes()).unwrap().build().unwrap_err();
    assert!(matches!(&problem, ClientError::Certificate { .. }), "{problem}");
}
