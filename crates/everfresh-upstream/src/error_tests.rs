//! Checks every error text against the testkit's rules. Each list goes through all kinds by an
//! exhaustive match, so a new kind does not compile until it is listed.

use std::time::Duration;

use ::http::StatusCode;
use everfresh::KeyError;
use everfresh_error_texts::check_error;

use crate::{DiscoveryError, FetchError, FetchProblem, HttpError, SecureUrl, UrlError};

/// An error, and the words that its text must contain: the subject, the value found, the remedy.
type Says<E> = (E, &'static [&'static str]);

fn walk<E>(first: Says<E>, next: impl Fn(&E) -> Option<Says<E>>) -> Vec<Says<E>> {
    std::iter::successors(Some(first), |(error, _)| next(error)).collect()
}

fn http_errors() -> Vec<Says<HttpError>> {
    let cause = || "refused".to_owned();
    let (limit, status) = (Duration::from_secs(5), StatusCode::OK);
    walk(
        (HttpError::Connect { cause: cause() }, &["could not connect: refused", "is up"]),
        |error| {
            Some(match error {
                HttpError::Connect { .. } => {
                    (HttpError::ConnectTimeout { limit }, &["could not connect within 5s", "is up"])
                }
                HttpError::ConnectTimeout { .. } => {
                    (HttpError::Tls { cause: cause() }, &["secure", "refused", "`trust_pem`"])
                }
                HttpError::Tls { .. } => {
                    (HttpError::Unsent { cause: cause() }, &["not sent: refused", "try it again"])
                }
                HttpError::Unsent { .. } => (HttpError::Withheld, &["not sent", "permission"]),
                HttpError::Withheld => (
                    HttpError::Timeout { limit },
                    &["did not answer within 5s", "may have been done"],
                ),
                HttpError::Timeout { .. } => {
                    (HttpError::Lost { cause: cause() }, &["lost: refused", "may have been done"])
                }
                HttpError::Lost { .. } => {
                    (HttpError::Garbled { cause: cause() }, &["not HTTP: refused", "the address"])
                }
                HttpError::Garbled { .. } => {
                    (HttpError::Cut { status }, &["status 200", "too soon", "may have been done"])
                }
                HttpError::Cut { .. } => {
                    (HttpError::TooLarge { status, limit: 9 }, &["status 200", "more than 9 bytes"])
                }
                HttpError::TooLarge { .. } => (
                    HttpError::Coding { status, cause: cause() },
                    &["status 200", "undone: refused", "no coding", "may have been done"],
                ),
                HttpError::Coding { .. } => return None,
            })
        },
    )
}

fn fetch_problems() -> Vec<Says<FetchProblem>> {
    walk((FetchProblem::Http(HttpError::Withheld), &["not sent"]), |problem| {
        Some(match problem {
            FetchProblem::Http(_) => (
                FetchProblem::Status(StatusCode::FOUND),
                &["answered 302, not 200", "give the address"],
            ),
            FetchProblem::Status(StatusCode::FOUND) => {
                (FetchProblem::Status(StatusCode::NOT_FOUND), &["answered 404", "has the document"])
            }
            FetchProblem::Status(StatusCode::NOT_FOUND) => {
                (FetchProblem::Status(StatusCode::BAD_GATEWAY), &["answered 502", "server's log"])
            }
            FetchProblem::Status(_) => {
                (FetchProblem::Json("EOF at line 1".into()), &["JSON", "EOF", "check the address"])
            }
            FetchProblem::Json(_) => {
                (FetchProblem::Keys(KeyError::Empty), &["no usable key", "at least one"])
            }
            FetchProblem::Keys(_) => {
                (FetchProblem::SharedSecret, &["a shared secret", "must hold public keys only"])
            }
            FetchProblem::SharedSecret => (
                FetchProblem::Issuer {
                    found: "https://id.example/".into(),
                    expected: "https://id.example".into(),
                },
                &["\"https://id.example/\"", "not \"https://id.example\"", "give it exactly"],
            ),
            FetchProblem::Issuer { .. } => {
                let error = "ftp://x".parse::<SecureUrl>().unwrap_err();
                (
                    FetchProblem::Endpoint { member: "jwks_uri", error },
                    &["`jwks_uri`", "\"ftp://x\"", "must be https"],
                )
            }
            FetchProblem::Endpoint { .. } => (
                FetchProblem::Missing { member: "jwks_uri" },
                &["no `jwks_uri`", "configure that address"],
            ),
            FetchProblem::Missing { .. } => return None,
        })
    })
}

#[test]
fn every_error_of_a_call_names_what_to_check() {
    let all = http_errors();
    assert_eq!(all.len(), 11);
    for (error, says) in all {
        check_error(&error.to_string(), says);
        assert_eq!(format!("{error:?}"), error.to_string());
    }
    let url: SecureUrl = "https://id.example/jwks".parse().unwrap();
    let all = fetch_problems();
    assert_eq!(all.len(), 10);
    for (problem, says) in all {
        let error = FetchError::new(&url, problem);
        check_error(&error.to_string(), says);
        assert_eq!(format!("{error:?}"), error.to_string());
        check_error(&error.to_string(), &["https://id.example/jwks: "]);
        let metadata = DiscoveryError::Metadata(error);
        check_error(&metadata.to_string(), &["the issuer's metadata at https://id.example/jwks"]);
        assert_eq!(format!("{metadata:?}"), metadata.to_string());
    }
}

#[test]
fn every_refused_address_error_names_the_allowed_form() {
    let refused = |text: &str| -> UrlError { text.parse::<SecureUrl>().unwrap_err() };
    let here: SecureUrl = "http://127.0.0.1/".parse().unwrap();
    let there: SecureUrl = "https://id.example/?a=b".parse().unwrap();
    let address: SecureUrl = "https://10.0.0.7/".parse().unwrap();
    for (error, says) in [
        (refused("https://id.example/#a"), ["id.example/#a", "remove the"]),
        (refused("https:// x"), ["not a URL", "write `https://`"]),
        (refused("id.example"), ["not absolute", "write `https://`"]),
        (refused("https://me:hunter2@id.example/"), ["..@id.example", "remove it"]),
        (refused("https://127.1/"), ["neither a name nor an address", "write one"]),
        (refused("http://id.example/"), ["http://id.example/", "must be https"]),
        (there.issuer_path().unwrap_err(), ["the issuer has a query", "remove the"]),
        (here.named_by(&there).unwrap_err(), ["127.0.0.1", "only a document from this machine"]),
        (address.named_by(&there).unwrap_err(), ["10.0.0.7", "a host's name"]),
    ] {
        check_error(&error.to_string(), &says);
        check_error(&DiscoveryError::Issuer(error).to_string(), &["the issuer \""]);
    }
}

#[cfg(feature = "client")]
#[test]
fn every_error_of_building_a_client_names_the_setting_or_variable() {
    use crate::ClientError;

    let first: Says<_> =
        (ClientError::NoRoots { cause: None }, &["trusts no", "`ca-certificates`"]);
    let all = walk(first, |error| {
        Some(match error {
            ClientError::NoRoots { cause: None } => (
                ClientError::NoRoots { cause: Some("no such file".into()) },
                &["(no such file)", "SSL_CERT_FILE"],
            ),
            ClientError::NoRoots { .. } => {
                (ClientError::NoCertificate, &["`trust_pem`", "BEGIN CERTIFICATE"])
            }
            ClientError::NoCertificate => {
                (ClientError::Certificate { cause: "BadEncoding".into() }, &["BadEncoding", "pass"])
            }
            ClientError::Certificate { .. } => (
                ClientError::Proxy { scheme: Some("socks5".into()) },
                &["\"socks5\"", "HTTPS_PROXY"],
            ),
            ClientError::Proxy { .. } => return None,
        })
    });
    assert_eq!(all.len(), 5);
    for (error, says) in all {
        check_error(&error.to_string(), says);
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}
