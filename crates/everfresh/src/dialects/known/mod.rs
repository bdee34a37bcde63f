//! Six dialects as constants: OAuth 2, and five products.

use super::dialect::{Dialect, List, Text};
use super::request::{
    Body, ClientMembers, Fixed, FixedValue, LifetimeMember, Method, Place, RequestFormat, TokenKind,
};
use super::response::{
    Condition, ExpiresIn, Outcome, ResponseFormat, Rule, Source, Statuses, Test, Unit,
};
use super::serving::{ErrorResponse, Errors, ServedMember, ServedValue, Serving};

const fn text(text: &'static str) -> Text {
    Text::Borrowed(text)
}

const fn error(status: u16, body: &'static str) -> ErrorResponse {
    ErrorResponse { status, body: text(body) }
}

const fn served(name: &'static str, value: ServedValue) -> ServedMember {
    ServedMember { name: text(name), value }
}

const fn attribute(name: &'static str) -> ServedMember {
    served(name, ServedValue::Attribute(text(name)))
}

const fn member(path: &'static str) -> Source {
    Source::Member(text(path))
}

const fn is(member: &'static str, test: Test) -> Condition {
    Condition { member: text(member), is: Some(test), is_not: None }
}

const fn seconds(member: &'static str) -> ExpiresIn {
    ExpiresIn { member: text(member), unit: Unit::Seconds }
}

/// Builds a list from a constant of its own, because its elements own their contents.
macro_rules! list {
    ($of:ty: $($one:expr),* $(,)?) => {{
        const LIST: &[$of] = &[$($one),*];
        List::Borrowed(LIST)
    }};
}

// Behind the macro that it uses.
mod products;

/// A request without query parameters and header fields of its own. Constants can't leave out
/// members, so each is an argument.
const fn request(
    token: TokenKind,
    places: List<Place>,
    body: Body,
    members: List<Fixed>,
    lifetime: Option<LifetimeMember>,
) -> RequestFormat {
    let client = match body {
        Body::Json => None,
        Body::Form => Some(ClientMembers::OAUTH2),
    };
    RequestFormat {
        method: Method::Post,
        token,
        places,
        access_token: None,
        body,
        members,
        query: List::Borrowed(&[]),
        headers: List::Borrowed(&[]),
        client,
        lifetime,
        earliest_before_expiry: None,
    }
}

const fn response(
    access_token: List<Source>,
    refresh_token: List<Source>,
    id_token: List<Source>,
    expires_in: List<ExpiresIn>,
    keep: List<Text>,
) -> ResponseFormat {
    let expires_at = List::Borrowed(&[]);
    ResponseFormat { access_token, refresh_token, id_token, expires_in, expires_at, keep }
}

/// A request that presents the refresh token as a member of a JSON object.
const IN_JSON: RequestFormat = request(
    TokenKind::Refresh,
    list![Place: Place::Body(text("refresh_token"))],
    Body::Json,
    NO_MEMBERS,
    None,
);

const NO_SOURCE: List<Source> = List::Borrowed(&[]);
const NO_MEMBERS: List<Fixed> = List::Borrowed(&[]);
const EXPIRES_IN: List<ExpiresIn> = list![ExpiresIn: seconds("expires_in")];

impl Dialect {
    /// All six dialects.
    pub const ALL: [&'static Self; 6] = [
        &Self::VIJIL,
        &Self::JWT_AUTH_PRO,
        &Self::FREDDY,
        &Self::REDIS_ENTERPRISE,
        &Self::GALILEO,
        &Self::OAUTH2,
    ];

    /// OAuth 2: the refresh token grant (RFC 6749 section 6). The endpoint takes a form and returns
    /// a token response (sections 5.1 and 5.2), with client authentication.
    ///
    /// The attribute `client_id` of a session names the client that its refresh token was issued
    /// to. Only that client can use the token, here and at any other endpoint (sections 6 and
    /// 10.4). The attribute `scope` is the granted scope.
    ///
    /// For a client, `invalid_grant` ends the session with any status from 400 to 499, since
    /// servers differ in the status. So do the errors of OpenID Connect by which a server says that
    /// the user has to sign in there again (OpenID Connect Core 1.0 section 3.1.2.6).
    pub const OAUTH2: Self = Self {
        schema: None,
        name: text("oauth2"),
        document: None,
        paths: list![Text: text("/oauth/token")],
        request: request(
            TokenKind::Refresh,
            list![Place: Place::Body(text("refresh_token"))],
            Body::Form,
            list![Fixed: Fixed {
                name: text("grant_type"),
                value: FixedValue::Text(text("refresh_token")),
            }],
            None,
        ),
        response: response(
            list![Source: member("access_token")],
            list![Source: member("refresh_token")],
            list![Source: member("id_token")],
            EXPIRES_IN,
            list![Text:],
        ),
        rules: list![Rule: Rule {
            status: list![Statuses: Statuses { from: 400, to: 499 }],
            when: list![Condition: is(
                "error",
                Test::OneOf(list![Text:
                    text("invalid_grant"),
                    text("interaction_required"),
                    text("login_required"),
                    text("consent_required"),
                    text("account_selection_required"),
                ]),
            )],
            outcome: Outcome::Rejected,
        }],
        sign_out: None,
        serving: Some(Serving {
            rotates: true,
            members: list![ServedMember:
                served("access_token", ServedValue::AccessToken),
                served("token_type", ServedValue::Text(text("Bearer"))),
                served("expires_in", ServedValue::ExpiresIn),
                served("refresh_token", ServedValue::RefreshToken),
            ],
            access_cookie: None,
            refresh_cookie: None,
            errors: {
                const GRANT: ErrorResponse = error(400, r#"{"error":"invalid_grant"}"#);
                Errors {
                    missing: error(400, r#"{"error":"invalid_request"}"#),
                    invalid: GRANT,
                    expired: GRANT,
                    user_gone: GRANT,
                    malformed: error(400, r#"{"error":"invalid_request"}"#),
                    client: Some(error(401, r#"{"error":"invalid_client"}"#)),
                    unsupported: Some(error(400, r#"{"error":"unsupported_grant_type"}"#)),
                    scope: Some(error(400, r#"{"error":"invalid_scope"}"#)),
                }
            },
        }),
    };
}
