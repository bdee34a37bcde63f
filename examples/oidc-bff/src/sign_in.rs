//! The sign-in at the provider with authorization code, PKCE, `state` and `nonce`, by the
//! `openidconnect` crate over everfresh's HTTP client.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use cookie::{Cookie, SameSite};
use everfresh::AccessToken;
use everfresh::dialect::AccessTokenResponse;
use everfresh::refresher::RefreshToken;
use everfresh::upstream::UpstreamAccessToken;
use everfresh_upstream::{HttpClient, SecureUrl};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims,
};
use openidconnect::url::Url;
use openidconnect::{
    AccessTokenHash, AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse,
};
use serde::Deserialize;

/// The client type that the provider's metadata result in.
type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// This server's registration at the provider.
#[derive(Clone)]
pub(crate) struct RelyingParty {
    pub(crate) http: Http,
    pub(crate) issuer: String,
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
    pub(crate) callback: String,
}

/// The user who signed in.
pub(crate) struct Person {
    pub(crate) subject: String,
    pub(crate) name: String,
}

/// The query of the provider's redirect.
#[derive(Deserialize)]
pub(crate) struct Answer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

/// The reason why a sign-in failed.
pub(crate) enum SignInError {
    /// This browser has no such sign-in under way. It began in another browser, or too long ago.
    NotBegun,
    /// The provider refused, with this text.
    Refused(String),
    /// The provider can't be reached, or its response is invalid.
    Provider(String),
}

impl RelyingParty {
    /// Returns the URL to redirect to, and the state that the browser keeps until the user returns.
    pub(crate) async fn begin(&self) -> Result<(Url, Pending), SignInError> {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let client = self.client().await?;
        let (url, state, nonce) = client
            .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
            .add_scope(Scope::new("offline_access".into()))
            .set_pkce_challenge(challenge)
            .url();
        Ok((url, Pending { state, nonce, verifier }))
    }

    /// Exchanges the code, and accepts the ID token only if it was issued for this sign-in.
    pub(crate) async fn finish(
        &self,
        pending: Pending,
        answer: Answer,
    ) -> Result<(Person, AccessTokenResponse), SignInError> {
        if answer.state.as_ref() != Some(pending.state.secret()) {
            return Err(SignInError::NotBegun);
        }
        let Some(code) = answer.code else {
            return Err(SignInError::Refused(answer.error.unwrap_or_default()));
        };
        let client = self.client().await?;
        let tokens = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(provider)?
            .set_pkce_verifier(pending.verifier)
            .request_async(&self.http)
            .await
            .map_err(provider)?;
        let id_token = tokens.id_token().ok_or_else(|| provider("no ID token"))?;
        let verifier = client.id_token_verifier();
        let claims = id_token.claims(&verifier, &pending.nonce).map_err(provider)?;
        if let Some(expected) = claims.access_token_hash() {
            let key = id_token.signing_key(&verifier).map_err(provider)?;
            let alg = id_token.signing_alg().map_err(provider)?;
            let found = AccessTokenHash::from_token(tokens.access_token(), alg, key);
            if found.map_err(provider)? != *expected {
                return Err(provider("the access token is not the ID token's"));
            }
        }
        let subject = claims.subject().to_string();
        let name = claims.name().and_then(|name| name.get(None)).map(|name| name.to_string());
        let person = Person { name: name.unwrap_or_else(|| subject.clone()), subject };

        let mut issued =
            AccessTokenResponse::new(AccessToken::new(tokens.access_token().secret().clone()))
                .with_id_token(AccessToken::new(id_token.to_string()));
        if let Some(token) = tokens.refresh_token() {
            issued = issued.with_refresh_token(RefreshToken::new(token.secret().clone()));
        }
        if let Some(expires_in) = tokens.expires_in() {
            issued = issued.with_expires_in(expires_in);
        }
        Ok((person, issued))
    }

    /// Requests the provider's information about the user of this access token.
    pub(crate) async fn user_info(
        &self,
        token: &UpstreamAccessToken,
    ) -> Result<String, SignInError> {
        let token = openidconnect::AccessToken::new(token.expose().to_owned());
        let client = self.client().await?;
        let request = client.user_info(token, None).map_err(provider)?;
        let claims: CoreUserInfoClaims =
            request.request_async(&self.http).await.map_err(provider)?;
        Ok(format!("{}\n", claims.subject().as_str()))
    }

    /// Discovers the provider each time, because its keys change. A busy app caches the client for
    /// some minutes.
    async fn client(&self) -> Result<Client, SignInError> {
        let issuer = IssuerUrl::new(self.issuer.clone()).map_err(provider)?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &self.http).await;
        let (id, secret) = (self.id.clone(), self.secret.clone());
        let callback = RedirectUrl::new(self.callback.clone()).map_err(provider)?;
        Ok(CoreClient::from_provider_metadata(
            metadata.map_err(provider)?,
            ClientId::new(id),
            secret.map(ClientSecret::new),
        )
        .set_redirect_uri(callback))
    }
}

/// everfresh's HTTP client for `openidconnect`: one attempt, no redirects, and limits.
#[derive(Clone)]
pub(crate) struct Http(pub(crate) HttpClient);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, io::Error>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let url: SecureUrl = request.uri().to_string().parse().map_err(io::Error::other)?;
            let answer = self.0.get(&url).like(request).send().await.map_err(io::Error::other)?;
            let mut response = HttpResponse::new(answer.body.into());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

fn provider(problem: impl fmt::Display) -> SignInError {
    SignInError::Provider(problem.to_string())
}

/// A sign-in that one browser began and keeps. A browser that returns with the `state` of another
/// browser's sign-in did not begin it.
pub(crate) struct Pending {
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

impl Pending {
    /// Behind https, use `__Secure-sign_in` and `Secure`.
    const NAME: &str = "sign_in";
    const PATH: &str = "/callback";
    const LIFETIME: Duration = Duration::from_secs(10 * 60);

    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let mut cookies = fields.flat_map(Cookie::split_parse).filter_map(Result::ok);
        let cookie = cookies.find(|cookie| cookie.name() == Self::NAME)?;
        let [state, nonce, verifier] =
            cookie.value().split('.').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            state: CsrfToken::new(state.into()),
            nonce: Nonce::new(nonce.into()),
            verifier: PkceCodeVerifier::new(verifier.into()),
        })
    }

    pub(crate) fn cookie(&self) -> String {
        let Self { state, nonce, verifier } = self;
        let value = format!("{}.{}.{}", state.secret(), nonce.secret(), verifier.secret());
        Self::write(value, Self::LIFETIME)
    }

    pub(crate) fn removal() -> String {
        Self::write(String::new(), Duration::ZERO)
    }

    fn write(value: String, lifetime: Duration) -> String {
        // Lax, because the redirect from the provider is a cross-site navigation.
        Cookie::build((Self::NAME, value))
            .path(Self::PATH)
            .http_only(true)
            .same_site(SameSite::Lax)
            .max_age(lifetime.try_into().unwrap_or_default())
            .to_string()
    }
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => f.write_str("no sign-in was begun here"),
            Self::Refused(error) => write!(f, "the provider said {error:?}"),
            Self::Provider(problem) => f.write_str(problem),
        }
    }
}
