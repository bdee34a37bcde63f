//! everfresh's client side: calls to other servers, and another issuer's keys.
//!
//! [`JwksUrl`] says where the keys are, [`RemoteKeys`] keeps them fresh. [`HttpClient`] makes one attempt per call, within limits, and its errors tell what certainly was
//! not sent from what may have been processed.

mod fetch;
mod http;
mod keys;
#[cfg(test)]
mod testing;

// The public interface is:
pub use crate::fetch::{FetchError, FetchProblem};
pub use crate::http::{Answer, Call, HttpClient, HttpError, SecureUrl, UrlError};
#[cfg(feature = "client")]
pub use crate::http::{ClientError, HttpClientBuilder};
pub use crate::keys::{JwksUrl, RemoteKeys};
