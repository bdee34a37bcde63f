//! An issuer's metadata: OpenID Connect Discovery 1.0 and RFC 8414.

use serde::Deserialize;

use crate::fetch::{FetchError, FetchProblem, fetch, parse};
use crate::http::{Answer, HttpClient, SecureUrl, UrlError};
use crate::keys::JwksUrl;

/// An issuer's endpoints, as its metadata names them.
///
/// # Rules
/// 1. The metadata is read from `/.well-known/openid-configuration` after the issuer's path (OpenID
///    Connect Discovery section 4). If the issuer answers that with a 4xx, the metadata is read
///    from `/.well-known/oauth-authorization-server` before the path (RFC 8414 section 3.1).
/// 2. The metadata must name the same issuer, character by character (RFC 8414 section 3.3).
///    Metadata of another issuer could direct the client's secrets to another server.
/// 3. Every endpoint must be a valid [`SecureUrl`]. An endpoint may be an IP address or be on this
///    machine only if the issuer itself is there.
/// 4. [`discover`](Self::discover) asks the issuer once per call. An address in a token is never
///    called.
///
/// # Example
/// ```
/// # async fn discover() -> Result<(), Box<dyn std::error::Error>> {
/// use everfresh_upstream::{HttpClient, Provider};
///
/// let client = HttpClient::new()?;
/// let provider = Provider::discover(&client, "https://id.example/realms/a").await?;
/// let remote = provider.jwks()?.fetch(&client).await?;
/// # let _ = remote;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    issuer: Box<str>,
    /// The address that the metadata came from.
    source: SecureUrl,
    token_endpoint: Option<SecureUrl>,
    jwks_uri: Option<SecureUrl>,
    revocation_endpoint: Option<SecureUrl>,
    auth_methods: Vec<String>,
}

/// The members of the metadata that this crate reads.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    revocation_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// An error of [`Provider::discover`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The issuer is not an address that may be called.
    Issuer(UrlError),
    /// The metadata could not be fetched, or can't be used.
    Metadata(FetchError),
}

impl Provider {
    /// Fetches an issuer's metadata.
    ///
    /// # Errors
    /// See [`DiscoveryError`].
    pub async fn discover(client: &HttpClient, issuer: &str) -> Result<Self, DiscoveryError> {
        let [openid, oauth] = well_known(issuer).map_err(DiscoveryError::Issuer)?;
        let read = |url: &SecureUrl, answer: &Answer| {
            Self::read(issuer, url, answer).map_err(|problem| FetchError::new(url, problem))
        };
        let provider = match fetch(client, &openid).await {
            Ok(answer) => read(&openid, &answer),
            Err(error) if is_absent(&error) => match fetch(client, &oauth).await {
                Ok(answer) => read(&oauth, &answer),
                // Most issuers have the first document, so the error is about that one.
                Err(other) if is_absent(&other) => Err(error),
                Err(other) => Err(other),
            },
            Err(error) => Err(error),
        };
        provider.map_err(DiscoveryError::Metadata)
    }

    fn read(issuer: &str, source: &SecureUrl, answer: &Answer) -> Result<Self, FetchProblem> {
        let metadata: Metadata = parse(answer)?;
        if metadata.issuer != issuer {
            let found = metadata.issuer.chars().take(200).collect();
            return Err(FetchProblem::Issuer { found, expected: issuer.into() });
        }
        let endpoint = |member, found: Option<String>| match found {
            None => Ok(None),
            Some(found) => match found.parse().and_then(|url: SecureUrl| url.named_by(source)) {
                Ok(url) => Ok(Some(url)),
                Err(error) => Err(FetchProblem::Endpoint { member, error }),
            },
        };
        Ok(Self {
            issuer: issuer.into(),
            source: source.clone(),
            token_endpoint: endpoint("token_endpoint", metadata.token_endpoint)?,
            jwks_uri: endpoint("jwks_uri", metadata.jwks_uri)?,
            revocation_endpoint: endpoint("revocation_endpoint", metadata.revocation_endpoint)?,
            auth_methods: metadata
                .token_endpoint_auth_methods_supported
                // RFC 8414 section 2.
                .unwrap_or_else(|| vec!["client_secret_basic".into()]),
        })
    }

    /// Returns the issuer as it names itself, which is the claim `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the address of the issuer's keys (`jwks_uri`), ready to be fetched.
    ///
    /// # Errors
    /// Returns an error if the metadata names no `jwks_uri`.
    pub fn jwks(&self) -> Result<JwksUrl, FetchError> {
        self.required("jwks_uri", self.jwks_uri.as_ref()).cloned().map(Into::into)
    }

    /// Returns the token endpoint, which refreshes tokens (RFC 6749 section 3.2).
    ///
    /// # Errors
    /// Returns an error if the metadata names no `token_endpoint`.
    pub fn token_endpoint(&self) -> Result<&SecureUrl, FetchError> {
        self.required("token_endpoint", self.token_endpoint.as_ref())
    }

    /// Returns the revocation endpoint (RFC 7009), if the issuer has one.
    pub fn revocation_endpoint(&self) -> Option<&SecureUrl> {
        self.revocation_endpoint.as_ref()
    }

    /// Returns the methods by which a client may authenticate at the token endpoint, as registered
    /// names: `client_secret_basic`, `client_secret_post`, `private_key_jwt`, `none`. If the
    /// metadata names none, the list is `client_secret_basic` alone (RFC 8414 section 2).
    pub fn token_auth_methods(&self) -> &[String] {
        &self.auth_methods
    }

    fn required<'p>(
        &'p self,
        member: &'static str,
        endpoint: Option<&'p SecureUrl>,
    ) -> Result<&'p SecureUrl, FetchError> {
        endpoint.ok_or_else(|| FetchError::new(&self.source, FetchProblem::Missing { member }))
    }
}

/// Returns the addresses at which an issuer's metadata may be, in the order of attempts.
fn well_known(issuer: &str) -> Result<[SecureUrl; 2], UrlError> {
    let url: SecureUrl = issuer.parse()?;
    let path = url.issuer_path()?;
    Ok([
        url.with_path(&format!("{path}/.well-known/openid-configuration"))?,
        url.with_path(&format!("/.well-known/oauth-authorization-server{path}"))?,
    ])
}

/// Returns whether the server answered that the document does not exist (4xx).
fn is_absent(error: &FetchError) -> bool {
    matches!(error.problem(), FetchProblem::Status(status) if status.is_client_error())
}

impl std::fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Issuer(error) => write!(f, "the issuer {error}"),
            Self::Metadata(error) => write!(f, "the issuer's metadata at {error}"),
        }
    }
}

everfresh::debug_is_display!(DiscoveryError);

impl std::error::Error for DiscoveryError {}

#[cfg(test)]
#[cfg(feature = "client")]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Body, Certificate, Server, full, over};

    const ISSUER: &str = "https://id.example/realms/a";
    const OPENID: &str = "https://id.example/realms/a/.well-known/openid-configuration";
    const OAUTH: &str = "https://id.example/.well-known/oauth-authorization-server/realms/a";

    fn metadata() -> Value {
        json!({
            "issuer": ISSUER,
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://www.keys.example/jwks",
            "revocation_endpoint": "https://id.example/revoke",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "authorization_endpoint": 7,
        })
    }

    fn status(status: u16) -> Response<Body> {
        Response::builder().status(status).body(full("")).unwrap()
    }

    /// Returns the result of a discovery at an issuer with these answers, and the addresses called.
    async fn discover(
        issuer: &str,
        answer: impl Fn(&str) -> Response<Body> + Send + Sync + 'static,
    ) -> (Result<Provider, DiscoveryError>, Vec<String>) {
        let (answer, asked) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let log = asked.clone();
        let client = over(move |request: Request<Full<Bytes>>| {
            let url = request.uri().to_string();
            log.lock().unwrap().push(url.clone());
            answer(&url)
        });
        let provider = Provider::discover(&client, issuer).await;
        let asked = asked.lock().unwrap().clone();
        (provider, asked)
    }

    async fn of(metadata: Value) -> Result<Provider, DiscoveryError> {
        discover(ISSUER, move |_| Response::new(full(metadata.to_string()))).await.0
    }

    #[tokio::test]
    async fn metadata_name_the_endpoints() {
        let (provider, asked) =
            discover(ISSUER, |_| Response::new(full(metadata().to_string()))).await;
        let provider = provider.unwrap();
        assert_eq!(asked, [OPENID]);
        assert_eq!(provider.issuer(), ISSUER);
        assert_eq!(provider.token_endpoint().unwrap().as_str(), "https://id.example/token");
        assert_eq!(provider.revocation_endpoint().unwrap().as_str(), "https://id.example/revoke");
        assert_eq!(provider.token_auth_methods(), ["client_secret_post", "private_key_jwt"]);
        let jwks = JwksUrl::new("https://www.keys.example/jwks").unwrap();
        assert_eq!(provider.jwks().unwrap(), jwks);
        let bare = of(json!({"issuer": ISSUER})).await.unwrap();
        assert_eq!(bare.token_auth_methods(), ["client_secret_basic"]);
        assert_eq!(bare.revocation_endpoint(), None);
        let problem = bare.jwks().unwrap_err().to_string();
        assert!(problem.contains("names no `jwks_uri`") && problem.contains(OPENID), "{problem}");
        assert!(bare.token_endpoint().is_err());
    }

    #[tokio::test]
    async fn an_oauth_server_without_openid_is_found_by_rfc_8414() {
        let oauth = |url: &str| match url {
            OAUTH => Response::new(full(metadata().to_string())),
            _ => status(404),
        };
        let (provider, asked) = discover(ISSUER, oauth).await;
        assert_eq!(
            provider.unwrap().token_endpoint().unwrap().as_str(),
            "https://id.example/token"
        );
        assert_eq!(asked, [OPENID, OAUTH]);
        let (neither, _) = discover(ISSUER, |_| status(404)).await;
        let problem = neither.unwrap_err().to_string();
        assert!(problem.contains(OPENID) && problem.contains("answered 404"), "{problem}");
        // A 5xx does not mean that the document is absent.
        let (down, asked) = discover(ISSUER, |_| status(503)).await;
        assert!(down.unwrap_err().to_string().contains("answered 503"));
        assert_eq!(asked, [OPENID]);
        let (root, asked) = discover("https://id.example/", |_| status(404)).await;
        assert!(root.is_err());
        let expected = ["openid-configuration", "oauth-authorization-server"]
            .map(|name| format!("https://id.example/.well-known/{name}"));
        assert_eq!(asked, expected, "a last slash is none of the path");
    }

    // Rows: S39.
    #[tokio::test]
    async fn metadata_of_another_issuer_are_refused() {
        for found in [
            "https://id.example/realms/a/",
            "https://id.example/realms/A",
            "https://ID.example/realms/a",
            "https://id.example/realms",
            "https://evil.example/realms/a",
            "",
        ] {
            let mut other = metadata();
            other["issuer"] = found.into();
            let problem = of(other).await.unwrap_err();
            let DiscoveryError::Metadata(error) = &problem else { panic!("{problem:?}") };
            let expected = FetchProblem::Issuer { found: found.into(), expected: ISSUER.into() };
            assert_eq!(error.problem(), &expected);
            assert!(problem.to_string().contains("last slash"), "{problem}");
        }
        for odd in [json!({}), json!({"issuer": [ISSUER]}), json!([]), json!(null)] {
            let problem = of(odd).await.unwrap_err().to_string();
            assert!(problem.contains("not the expected JSON"), "{problem}");
        }
        let twice = r#"{"issuer": "https://id.example/realms/a", "issuer": "https://x.example"}"#;
        let (twice, _) = discover(ISSUER, move |_| Response::new(full(twice))).await;
        assert!(twice.unwrap_err().to_string().contains("duplicate"));
    }

    // Rows: F114.
    #[tokio::test]
    async fn metadata_can_not_direct_calls_away_from_the_issuer() {
        let here = Server::new(|_| Response::new(full(""))).await;
        for member in ["token_endpoint", "jwks_uri", "revocation_endpoint"] {
            for bad in [
                "http://id.example/x",
                "http://169.254.169.254/latest/meta-data",
                "https://169.254.169.254/latest/meta-data",
                "https://[::ffff:10.0.0.7]/",
                "https://2852039166/",
                "file:///etc/passwd",
                "gopher://id.example/",
                "/token",
                "https://user:secret@id.example/",
                here.url("/x").as_str(),
                &here.url("/x").as_str().replace("http:", "https:"),
                "https://localhost/x",
            ] {
                let mut bad_one = metadata();
                bad_one[member] = bad.into();
                let problem = of(bad_one).await.unwrap_err().to_string();
                assert!(
                    problem.contains(member) && problem.contains("can't be called"),
                    "{problem}"
                );
            }
        }
        assert_eq!(here.connections(), 0);
        for bad in ["http://id.example", "id.example", "https://id.example?a=b", "", "https://x#y"]
        {
            let (refused, asked) = discover(bad, |_| panic!("asked")).await;
            assert!(matches!(refused, Err(DiscoveryError::Issuer(_))), "{bad}");
            assert_eq!(asked, [""; 0]);
        }
    }

    // Rows: S37.
    #[tokio::test]
    async fn metadata_are_fetched_over_tls_and_from_nowhere_else() {
        let elsewhere = Server::new(|_| Response::new(full(""))).await;
        let there = elsewhere.url("/x").to_string();
        let certificate = Certificate::of("127.0.0.1");
        let server = Server::secure(&certificate, move |_| {
            Response::builder().status(302).header("location", &there).body(full("")).unwrap()
        })
        .await;
        let client = HttpClient::builder().trust_pem(certificate.pem.as_bytes()).unwrap();
        let client = client.build().unwrap();
        let issuer = format!("https://{}", server.address);
        let problem = Provider::discover(&client, &issuer).await.unwrap_err().to_string();
        assert!(problem.contains("answered 302") && problem.contains("redirects"), "{problem}");
        assert_eq!((server.requests(), elsewhere.connections()), (1, 0));
        let untrusting = HttpClient::new().unwrap();
        let problem = Provider::discover(&untrusting, &issuer).await.unwrap_err().to_string();
        assert!(problem.contains("no secure connection"), "{problem}");
        assert_eq!(server.requests(), 1);
    }
}
