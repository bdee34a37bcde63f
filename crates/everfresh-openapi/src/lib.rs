//! An OpenAPI 3.1 document of the endpoints that an everfresh engine serves, dialects included.
//!
//! # Rules
//! 1. The document describes exactly the endpoints of [`everfresh::Engine::endpoints`], at the same
//!    paths.
//! 2. It lists each error with its status and its body, as the dialect defines them.
//! 3. The document is a [`utoipa::openapi::OpenApi`]. Merge it into your own with its `merge`, or
//!    serve it as it is.
//!
//! The paths have no prefix. If the app mounts the endpoints behind a prefix, name it as a server,
//! with [`OpenApi::servers`](utoipa::openapi::OpenApi).
//!
//! # Example
//! ```
//! use everfresh::{Engine, Keys, MemoryStore, Rotate};
//! use everfresh::dialect::Dialect;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret: &[u8] = &std::array::from_fn::<u8, 32, _>(|n| (n * 37 + 11) as u8);
//! let auth = Engine::<()>::builder(Keys::hs256(secret)?)
//!     .issuer("https://app.example")
//!     .audience("app")
//!     .refresh_with(Rotate::new(MemoryStore::new()))
//!     .dialect(Dialect::FREDDY)
//!     .build()?;
//! let text = everfresh_openapi::document(&auth).to_json()?;
//! assert!(text.contains("/v1/auth/refresh"));
//! # Ok(())
//! # }
//! ```

#[cfg(test)]
mod tests;

use everfresh::dialect::{
    Body, Dialect, ErrorResponse, Fixed, FixedValue, Method, Place, ServedValue, Serving, TokenKind,
};
use everfresh::{ClaimSet, Engine, NativeEndpoint};
use serde_json::Value;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, Schema};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, PathItem,
    PathsBuilder, RefOr, Required, ResponseBuilder, Type,
};

/// Returns the OpenAPI document of the endpoints that this engine serves.
pub fn document<C: ClaimSet>(auth: &Engine<C>) -> OpenApi {
    let info = InfoBuilder::new()
        .title("everfresh")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Refreshing and ending sessions."))
        .build();
    let paths = auth.endpoints().iter().fold(PathsBuilder::new(), |paths, endpoint| {
        let path = endpoint.path();
        let item = match endpoint.dialect() {
            Some(dialect) => {
                let method = match dialect.request.method {
                    Method::Put => HttpMethod::Put,
                    Method::Patch => HttpMethod::Patch,
                    // A dialect that is served has a body, and so no `GET`.
                    _ => HttpMethod::Post,
                };
                PathItem::new(method, dialect_operation(dialect, path))
            }
            None => native_item(endpoint.native(), endpoint.methods()),
        };
        paths.path(path, item)
    });
    OpenApiBuilder::new().info(info).paths(paths.build()).build()
}

/// Returns the path item of one of everfresh's native endpoints.
fn native_item(endpoint: Option<NativeEndpoint>, methods: &str) -> PathItem {
    let operation = OperationBuilder::new().tag("session");
    let operation = match endpoint {
        Some(NativeEndpoint::Refresh) => operation
            .summary(Some("Refresh the session; new tokens leave the way the old came."))
            .response("200", json("The session was refreshed.", refreshed())),
        Some(NativeEndpoint::Sessions) => operation
            .summary(Some("The signed-in user's sessions, the latest first."))
            .response("200", json("The sessions.", sessions())),
        Some(NativeEndpoint::OneSession) => operation
            .summary(Some("End one of one's own sessions."))
            .parameter(
                ParameterBuilder::new()
                    .name("sid")
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(of(Type::String)))
                    .build(),
            )
            .response("204", plain("The session is over."))
            .response("404", problem("There is no such session.")),
        Some(NativeEndpoint::LogoutAll) => operation
            .summary(Some("Ends every session of the signed-in user."))
            .response("204", plain("They are over.")),
        _ => operation
            .summary(Some("The public keys that verify access tokens (RFC 7517)."))
            .response("200", typed("application/jwk-set+json", "The keys.", key_set())),
    };
    let operation = match endpoint != Some(NativeEndpoint::Jwks) {
        true => operation
            .response("401", problem("No user is signed in, or the session has ended."))
            .response("403", problem("Another site caused the request."))
            .response(
                "503",
                problem(
                    "The session can't be checked or refreshed at the moment, and stays as it is. \
                     Try again after Retry-After.",
                ),
            ),
        false => operation,
    };
    let operation = operation.build();
    let methods = methods.split(", ").filter_map(|method| match method {
        "GET" => Some(HttpMethod::Get),
        "HEAD" => Some(HttpMethod::Head),
        "POST" => Some(HttpMethod::Post),
        "DELETE" => Some(HttpMethod::Delete),
        _ => None,
    });
    PathItem::from_http_methods(methods, operation)
}

fn dialect_operation(dialect: &Dialect, path: &str) -> OperationBuilder {
    let request = &dialect.request;
    let what = match request.token {
        TokenKind::Refresh => "Exchange a refresh token for an access token.".to_owned(),
        TokenKind::Access { expired_for: 0 } => {
            "Exchange a valid access token for a new one.".to_owned()
        }
        TokenKind::Access { expired_for } => format!(
            "Exchange an access token, valid or expired at most {expired_for} s ago, for a new one."
        ),
    };
    let mut operation = OperationBuilder::new()
        .tag(&*dialect.name)
        .operation_id(Some(operation_id(dialect, path)))
        .summary(Some(what));
    for place in &*request.places {
        let (name, within) = match place {
            Place::Cookie(name) => (&**name, ParameterIn::Cookie),
            Place::Header(name) => (&**name, ParameterIn::Header),
            Place::Authorization(_) => ("Authorization", ParameterIn::Header),
            Place::Query(_) | Place::Body(_) => continue,
        };
        let required = if request.places.len() == 1 { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(within)
            .required(required)
            .schema(Some(of(Type::String)));
        let parameter = match place {
            Place::Authorization(scheme) => parameter.description(Some(format!("{scheme} TOKEN"))),
            _ => parameter,
        };
        operation = operation.parameter(parameter.build());
    }
    if let Some((content_type, schema)) = body(dialect) {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let body = RequestBodyBuilder::new().content(content_type, content);
        let needed = if request.lifetime.is_some() { Required::False } else { Required::True };
        operation = operation.request_body(Some(body.required(Some(needed)).build()));
    }
    operation = operation.response("200", json("New tokens.", answer(dialect)));
    let Some(Serving { errors, .. }) = &dialect.serving else { return operation };
    let always =
        [&errors.missing, &errors.invalid, &errors.expired, &errors.user_gone, &errors.malformed];
    let sometimes = [&errors.client, &errors.unsupported, &errors.scope].into_iter().flatten();
    let mut by_status: Vec<(u16, Vec<&ErrorResponse>)> = Vec::new();
    for failed in always.into_iter().chain(sometimes) {
        match by_status.iter_mut().find(|(status, _)| *status == failed.status) {
            Some((_, others)) if others.contains(&failed) => {}
            Some((_, others)) => others.push(failed),
            None => by_status.push((failed.status, vec![failed])),
        }
    }
    for (status, failures) in by_status {
        operation = operation.response(status.to_string(), failure(&failures));
    }
    operation.response(
        "503",
        problem(
            "The session can't be checked or refreshed at the moment, and stays as it is. Try \
             again after Retry-After.",
        ),
    )
}

/// Returns an id that no other operation of the document has. A dialect may have several paths.
fn operation_id(dialect: &Dialect, path: &str) -> String {
    match dialect.paths.iter().position(|one| path.ends_with(&**one)) {
        Some(at) if at > 0 => format!("refresh_{}_{}", dialect.name, at + 1),
        _ => format!("refresh_{}", dialect.name),
    }
}

/// Returns the content type and schema of a dialect's request body, if it has one.
fn body(dialect: &Dialect) -> Option<(&'static str, RefOr<Schema>)> {
    let request = &dialect.request;
    let mut object = ObjectBuilder::new();
    let mut has_body = request.client.is_some();
    for place in &*request.places {
        let Place::Body(path) = place else { continue };
        has_body = true;
        object = member(object, path, of(Type::String)).required(first(path));
    }
    if let Some(life) = &request.lifetime {
        has_body = true;
        object = member(object, &life.member, of(Type::Integer));
    }
    for Fixed { name, value } in &*request.members {
        let (kind, value) = match value {
            FixedValue::Text(text) => (Type::String, text.to_string()),
            FixedValue::Integer(integer) => (Type::Integer, integer.to_string()),
            FixedValue::Bool(value) => (Type::Boolean, value.to_string()),
            _ => continue,
        };
        has_body = true;
        let schema = ObjectBuilder::new().schema_type(kind).enum_values(Some([value]));
        object = member(object, name, Schema::from(schema.build()).into()).required(first(name));
    }
    if let Some(client) = &request.client {
        let optional = [&*client.id, &*client.secret, "scope"];
        object = optional
            .into_iter()
            .fold(object, |object, name| member(object, name, of(Type::String)));
    }
    let content_type = match request.body {
        Body::Json => "application/json",
        Body::Form => "application/x-www-form-urlencoded",
    };
    has_body.then(|| (content_type, Schema::from(object.build()).into()))
}

/// Returns the schema of a dialect's successful answer.
fn answer(dialect: &Dialect) -> RefOr<Schema> {
    let mut object =
        ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true)));
    for served in dialect.serving.iter().flat_map(|serving| serving.members.iter()) {
        let kind = match &served.value {
            ServedValue::ExpiresIn | ServedValue::ExpiresAt | ServedValue::IntegerAttribute(_) => {
                Type::Integer
            }
            _ => Type::String,
        };
        object = member(object, &served.name, of(kind));
        if served.value == ServedValue::AccessToken {
            object = object.required(first(&served.name));
        }
    }
    Schema::from(object.build()).into()
}

/// Adds a member, or the object that it is in.
fn member(object: ObjectBuilder, path: &str, schema: RefOr<Schema>) -> ObjectBuilder {
    match path.split_once('.') {
        Some((first, _)) => object.property(first, of(Type::Object)),
        None => object.property(path, schema),
    }
}

/// Returns the first name of a path.
fn first(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn failure(failures: &[&ErrorResponse]) -> ResponseBuilder {
    let mut content = ContentBuilder::new();
    if let [only] = failures {
        content = content.example(serde_json::from_str(&only.body).ok());
    } else {
        let examples = failures.iter().enumerate().map(|(at, failed)| {
            let value: Option<Value> = serde_json::from_str(&failed.body).ok();
            let example = utoipa::openapi::example::ExampleBuilder::new().value(value).build();
            (format!("{}", at + 1), example)
        });
        content = content.examples_from_iter(examples);
    }
    ResponseBuilder::new().description("No tokens.").content("application/json", content.build())
}

fn refreshed() -> RefOr<Schema> {
    object(&[
        ("sub", Type::String),
        ("sid", Type::String),
        ("expires_in", Type::Integer),
        ("session_expires_in", Type::Integer),
    ])
}

fn sessions() -> RefOr<Schema> {
    let attributes = ObjectBuilder::new().additional_properties(Some(of(Type::String)));
    let session = [
        ("sid", Type::String),
        ("current", Type::Boolean),
        ("signed_in_at", Type::Integer),
        ("last_used_at", Type::Integer),
        ("expires_at", Type::Integer),
    ];
    let session = members(&session).property("attributes", attributes).required("attributes");
    let list = ArrayBuilder::new().items(session.build());
    Schema::from(ObjectBuilder::new().property("sessions", list).required("sessions").build())
        .into()
}

fn key_set() -> RefOr<Schema> {
    let list = ArrayBuilder::new().items(of(Type::Object));
    Schema::from(ObjectBuilder::new().property("keys", list).required("keys").build()).into()
}

fn object(of: &[(&str, Type)]) -> RefOr<Schema> {
    Schema::from(members(of).build()).into()
}

fn members(all: &[(&str, Type)]) -> ObjectBuilder {
    all.iter().fold(ObjectBuilder::new(), |object, (name, kind)| {
        object.property(*name, of(kind.clone())).required(*name)
    })
}

fn of(kind: Type) -> RefOr<Schema> {
    Schema::from(ObjectBuilder::new().schema_type(kind).build()).into()
}

fn plain(description: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(description)
}

fn json(description: &str, schema: RefOr<Schema>) -> ResponseBuilder {
    typed("application/json", description, schema)
}

/// Returns a response with problem details (RFC 9457).
fn problem(description: &str) -> ResponseBuilder {
    let schema = object(&[
        ("type", Type::String),
        ("title", Type::String),
        ("status", Type::Integer),
        ("detail", Type::String),
    ]);
    typed("application/problem+json", description, schema)
}

fn typed(content_type: &str, description: &str, schema: RefOr<Schema>) -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    plain(description).content(content_type, content)
}
