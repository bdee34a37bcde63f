//! everfresh's client side: calls to other servers.
//!
//! [`HttpClient`] makes one attempt per call, within limits, and its errors tell what certainly was
//! not sent from what may have been processed.

mod http;
#[cfg(test)]
mod testing;

// The public interface is:
pub use crate::http::{Answer, Call, HttpClient, HttpError, SecureUrl, UrlError};
#[cfg(feature = "client")]
pub use crate::http::{ClientError, HttpClientBuilder};
