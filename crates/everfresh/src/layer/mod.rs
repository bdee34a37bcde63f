//! For apps on Tower or hyper that name the layer's types. [`Engine::layer`] and
//! [`Engine::require`] return the layers; most apps need no more than these two methods.
//!
//! ```
//! use everfresh::Engine;
//! use everfresh::layer::{Refresh, RefreshLayer};
//! use tower::{Layer, ServiceBuilder};
//!
//! /// The app's user.
//! type User = std::collections::BTreeMap<String, String>;
//!
//! /// A service that a struct can hold.
//! struct Front<S> {
//!     service: Refresh<S, User>,
//! }
//!
//! impl<S> Front<S> {
//!     fn new(auth: &Engine<User>, inner: S) -> Self {
//!         let layer: RefreshLayer<User> = auth.layer();
//!         Self { service: layer.layer(inner) }
//!     }
//! }
//! # let _ = Front::<()>::new;
//! ```

mod future;
mod require;
mod service;
#[cfg(test)]
mod tests;

use std::fmt;

use tower_layer::Layer;

use crate::engine::Engine;
use crate::mint::ClaimSet;

pub use future::ResponseFuture;
pub use require::{Require, RequireFuture, RequireLayer};
pub use service::Refresh;

/// Wraps a service in [`Refresh`].
///
/// The inner service has to be `Clone`, which is used only if a request waits for a refresh or a
/// key. Its response body can have any type, and its future need not be `Send`.
pub struct RefreshLayer<C>(Engine<C>);

impl<C: ClaimSet> Engine<C> {
    /// Returns the layer that reads, verifies and refreshes tokens, and puts a
    /// [`Session`](crate::Session) into every request's extensions.
    pub fn layer(&self) -> RefreshLayer<C> {
        RefreshLayer(self.clone())
    }

    /// Returns a second layer, inside the first, for services that require a signed-in user. It
    /// answers requests in place of the service, by the rule of
    /// [`Session::require`](crate::Session::require), and accepts sessions of this engine only.
    /// ```
    /// # use everfresh::{Engine, Keys, Reissue};
    /// # use tower::{ServiceBuilder, service_fn};
    /// # fn main() -> Result<(), everfresh::ConfigError> {
    /// # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
    /// # let auth = Engine::<()>::builder(Keys::hs256(secret)?)
    /// #     .issuer("https://app.example").audience("app").refresh_with(Reissue::new()).build()?;
    /// # let service = service_fn(|_: http::Request<Vec<u8>>| async {
    /// #     Ok::<_, std::convert::Infallible>(http::Response::new(Vec::<u8>::new()))
    /// # });
    /// let service = ServiceBuilder::new()
    ///     .layer(auth.layer())
    ///     .layer(auth.require())
    ///     .service(service);
    /// # let _ = service;
    /// # Ok(())
    /// # }
    /// ```
    pub fn require(&self) -> RequireLayer<C> {
        RequireLayer::new(self.clone())
    }
}

impl<S, C: ClaimSet> Layer<S> for RefreshLayer<C> {
    type Service = Refresh<S, C>;

    fn layer(&self, inner: S) -> Refresh<S, C> {
        Refresh::new(self.0.clone(), inner)
    }
}

impl<C> Clone for RefreshLayer<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> fmt::Debug for RefreshLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RefreshLayer").field(&self.0).finish()
    }
}
