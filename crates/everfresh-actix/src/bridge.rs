//! Presents actix-web's heads, which use the types of `http` 0.2, to the engine. Only the fields
//! that the engine adds are copied.

use std::panic::{AssertUnwindSafe, catch_unwind};

use actix_web::dev::{ResponseHead as Head, ServiceRequest};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpResponse};
use everfresh::adapter::{HeaderFields, RequestHead, ResponseHead};

/// A head of actix-web, with its header fields.
pub(crate) struct Bridge<T>(pub(crate) T);

/// Access to the header fields. `None` means that they can't be changed.
pub(crate) trait Fields {
    fn map(&self) -> &HeaderMap;
    fn map_mut(&mut self) -> Option<&mut HeaderMap>;
}

/// Marks, in a request's extensions, that the request had to change but other code shares it.
pub(crate) struct Held;

impl<T: Fields> HeaderFields for Bridge<T> {
    fn values<'h>(&'h self, name: &http::HeaderName) -> impl Iterator<Item = &'h [u8]> {
        self.0.map().get_all(name.as_str()).map(HeaderValue::as_bytes)
    }

    fn append(&mut self, name: &http::HeaderName, value: http::HeaderValue) {
        if let Some(map) = self.0.map_mut() {
            append(map, name, &value);
        }
    }

    fn remove(&mut self, name: &http::HeaderName) {
        // actix-web allows changes only while no other code holds the request, so change it only
        // if necessary.
        if self.0.map().contains_key(name.as_str())
            && let Some(map) = self.0.map_mut()
        {
            map.remove(name.as_str());
        }
    }
}

/// Converts a response of the engine to the types of `http` 0.2.
pub(crate) fn response(answer: http::Response<Vec<u8>>) -> HttpResponse {
    let (head, body) = answer.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16());
    let mut response = HttpResponse::InternalServerError().body(body);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &head.headers {
        append(response.headers_mut(), name, value);
    }
    response
}

/// Adds a field. Every value that `http` 1 accepts is also valid in `http` 0.2.
fn append(fields: &mut HeaderMap, name: &http::HeaderName, value: &http::HeaderValue) {
    let bridged = HeaderValue::from_bytes(value.as_bytes());
    if let (Ok(name), Ok(mut bridged)) = (HeaderName::from_bytes(name.as_ref()), bridged) {
        bridged.set_sensitive(value.is_sensitive());
        fields.append(name, bridged);
    }
}

impl Fields for &mut ServiceRequest {
    fn map(&self) -> &HeaderMap {
        self.headers()
    }

    /// actix-web reports a shared request only by a panic.
    fn map_mut(&mut self) -> Option<&mut HeaderMap> {
        let held = self.extensions().contains::<Held>()
            || catch_unwind(AssertUnwindSafe(|| self.headers_mut().len())).is_err();
        if held {
            self.extensions_mut().insert(Held);
        }
        (!held).then(|| self.headers_mut())
    }
}

impl RequestHead for Bridge<&mut ServiceRequest> {
    type Fields = Self;

    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn authority(&self) -> Option<&str> {
        self.0.uri().authority().map(|authority| authority.as_str())
    }

    fn fields(&self) -> &Self {
        self
    }

    fn fields_mut(&mut self) -> &mut Self {
        self
    }
}

impl Fields for &mut Head {
    fn map(&self) -> &HeaderMap {
        &self.headers
    }

    fn map_mut(&mut self) -> Option<&mut HeaderMap> {
        Some(&mut self.headers)
    }
}

impl ResponseHead for Bridge<&mut Head> {
    type Fields = Self;

    fn status(&self) -> u16 {
        self.0.status.as_u16()
    }

    fn fail(&mut self) {
        self.0.status = StatusCode::INTERNAL_SERVER_ERROR;
    }

    fn fields_mut(&mut self) -> &mut Self {
        self
    }
}
