//! A request or a response as the engine sees it: header fields, and the few facts beside them.
//!
//! Frameworks differ in their types (actix-web 4 still uses `http` 0.2). The engine reads heads
//! through these traits, so an adapter only converts types.

use http::header::{HeaderMap, HeaderName, HeaderValue, ValueIter};
use http::{Request, Response, StatusCode};

/// The header fields of a request or a response.
pub trait HeaderFields {
    /// Returns the values of every field of this name, in order, as bytes.
    fn values<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]>;

    /// Adds a field and keeps the existing fields of the same name.
    fn append(&mut self, name: &HeaderName, value: HeaderValue);

    /// Removes every field of this name.
    fn remove(&mut self, name: &HeaderName);
}

/// Returns the members of a field that is a list (RFC 9110 section 5.6.1), in one line or in
/// several.
pub(crate) fn members<'h>(
    fields: &'h impl HeaderFields,
    name: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> {
    fields.values(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// A request's head.
pub trait RequestHead {
    /// The type of its header fields.
    type Fields: HeaderFields;

    /// Returns the method as it is written on the wire: `GET`.
    fn method(&self) -> &str;

    /// Returns the path of the request target, without its query: `/me`.
    fn path(&self) -> &str;

    /// Returns the authority of the request target (HTTP/2's `:authority`), if it has one.
    fn authority(&self) -> Option<&str>;

    /// Returns the header fields.
    fn fields(&self) -> &Self::Fields;

    /// Returns the header fields, to be changed before the inner service sees them.
    fn fields_mut(&mut self) -> &mut Self::Fields;
}

/// A response's head.
pub trait ResponseHead {
    /// The type of its header fields.
    type Fields: HeaderFields;

    /// Returns the status code.
    fn status(&self) -> u16;

    /// Replaces the status by 500.
    fn fail(&mut self);

    /// Returns the header fields, to be changed.
    fn fields_mut(&mut self) -> &mut Self::Fields;
}

/// Returns whether the map certainly has no such field. Among few fields, comparing names is faster
/// than hashing one.
#[inline]
fn lacks(map: &HeaderMap, name: &HeaderName) -> bool {
    const FEW: usize = 8;
    map.keys_len() <= FEW && !map.keys().any(|other| other == name)
}

/// The values of the fields of one name, if there are any.
struct Values<'h>(Option<ValueIter<'h, HeaderValue>>);

impl<'h> Iterator for Values<'h> {
    type Item = &'h [u8];

    #[inline]
    fn next(&mut self) -> Option<&'h [u8]> {
        self.0.as_mut()?.next().map(HeaderValue::as_bytes)
    }
}

impl HeaderFields for HeaderMap {
    #[inline]
    fn values<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
        Values((!lacks(self, name)).then(|| self.get_all(name).into_iter()))
    }

    fn append(&mut self, name: &HeaderName, value: HeaderValue) {
        Self::append(self, name, value);
    }

    fn remove(&mut self, name: &HeaderName) {
        if !lacks(self, name) {
            Self::remove(self, name);
        }
    }
}

impl<B> RequestHead for Request<B> {
    type Fields = HeaderMap;

    fn method(&self) -> &str {
        self.method().as_str()
    }

    fn path(&self) -> &str {
        self.uri().path()
    }

    fn authority(&self) -> Option<&str> {
        self.uri().authority().map(http::uri::Authority::as_str)
    }

    fn fields(&self) -> &HeaderMap {
        self.headers()
    }

    fn fields_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}

impl<B> ResponseHead for Response<B> {
    type Fields = HeaderMap;

    fn status(&self) -> u16 {
        self.status().as_u16()
    }

    fn fail(&mut self) {
        *self.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }

    fn fields_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}
