//! everfresh's endpoints, mounted in an app.

use actix_web::dev::ServiceRequest;
use actix_web::web::{self, Bytes, ServiceConfig};
use everfresh::adapter::BODY_LIMIT;
use everfresh::{ClaimSet, Engine};

use crate::bridge::{self, Bridge};
use crate::session;

/// Returns a configuration with everfresh's endpoints: `POST /auth/refresh`, `GET /auth/sessions`,
/// `DELETE /auth/sessions/{sid}`, `POST /auth/logout-all`, `GET /.well-known/jwks.json`, and the
/// dialects that the engine serves. [`NativePaths`](everfresh::NativePaths) moves or omits the
/// first five.
///
/// ```
/// # use actix_web::App;
/// # use everfresh::{Engine, Keys, MemoryStore, Rotate};
/// # use everfresh_actix::{Refresh, endpoints};
/// # fn main() -> Result<(), everfresh::ConfigError> {
/// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
/// let auth = Engine::<()>::builder(Keys::hs256(secret)?)
///     .issuer("https://app.example")
///     .audience("app")
///     .refresh_with(Rotate::new(MemoryStore::new()))
///     .build()?;
/// let app = App::new().configure(endpoints(&auth)).wrap(Refresh::new(auth));
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
pub fn endpoints<C: ClaimSet>(auth: &Engine<C>) -> impl FnOnce(&mut ServiceConfig) + use<C> {
    let endpoints = auth.endpoints();
    move |app| {
        for endpoint in endpoints {
            let resource = web::resource(endpoint.path());
            let answer = move |mut request: ServiceRequest| {
                let endpoint = endpoint.clone();
                async move {
                    let call = endpoint.read(&Bridge(&mut request));
                    // Read every body, because actix-web closes a connection with an unread body.
                    let body = request.extract::<Bytes>().await.ok();
                    let body = body.filter(|body| body.len() <= BODY_LIMIT);
                    let session = session(request.request()).map_err(|rejection| rejection.0);
                    let answer = endpoint
                        .answer(call, body.as_deref(), session.as_ref().map_err(Clone::clone))
                        .await;
                    Ok(request.into_response(bridge::response(answer)))
                }
            };
            app.service(resource.default_service(answer));
        }
    }
}
