//! Six dialects as constants. The docs of each constant say what the product's documents leave
//! open.

use super::dialect::{
    Answer, Dialect, Errors, Expected, Failed, Fixed, Is, Kind, List, Member, Place, Rejected,
    Source, Successor, Text, TokenKind,
};

const fn text(text: &'static str) -> Text {
    Text::Borrowed(text)
}

const fn failed(status: u16, body: &'static str) -> Failed {
    Failed { status, body: text(body) }
}

/// `FastAPI`'s validation error for a missing value.
const fn field_required(body: &'static str) -> Failed {
    failed(422, body)
}

const fn expected(at: &'static str, is: Is) -> Expected {
    Expected { at: text(at), is }
}

const fn member(name: &'static str, from: Source, kind: Kind) -> Member {
    Member { name: text(name), from, kind }
}

const fn attribute(name: &'static str, kind: Kind) -> Member {
    member(name, Source::Attribute(text(name)), kind)
}

/// Builds a list from a constant of its own, because its elements own their contents.
macro_rules! list {
    ($of:ty: $($one:expr),* $(,)?) => {{
        const LIST: &[$of] = &[$($one),*];
        List::Borrowed(LIST)
    }};
}

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

    /// Vijil Console: `POST /v1/auth/jwt/refresh` takes a JWT, valid or expired, in a cookie or in
    /// `Authorization`. It returns `access_token` and `token_type`, and sets the cookie.
    ///
    /// Vijil's documents leave three things open. The cookie's name and the scheme are
    /// `access_token` and `Bearer` here. This constant accepts a token that expired up to an hour
    /// ago. The two errors ("token is invalid or user not found") have the statuses 401 and 404
    /// here, in the format of the framework that the documents name.
    ///
    /// # Security
    /// A copied access token could be renewed for as long as its session lasts. Therefore the
    /// endpoint renews only sessions whose sign-in allows it
    /// ([`SignIn::renewable_by_access_token`](crate::SignIn::renewable_by_access_token)). It
    /// refuses a token two generations older than its session's, and such a token ends the session
    /// once a client has presented the current generation. The cookie's name has no `__Host-`
    /// prefix, so a sibling subdomain can plant one.
    pub const VIJIL: Self = Self {
        name: text("vijil"),
        path: text("/v1/auth/jwt/refresh"),
        token: TokenKind::Access { expired_for: 3600 },
        places: list![Place:
            Place::Authorization(text("Bearer")),
            Place::Cookie(text("access_token")),
        ],
        fixed: list![Fixed:],
        ttl: None,
        client_authentication: false,
        answer: Answer {
            access_token: text("access_token"),
            access_cookie: Some(text("access_token")),
            token_type: Some(Fixed { name: text("token_type"), value: text("bearer") }),
            expires_in: None,
            successor: Successor::Nowhere,
            members: list![Member:],
        },
        errors: Errors {
            missing: failed(401, r#"{"detail":"Not authenticated"}"#),
            invalid: failed(401, r#"{"detail":"Invalid token"}"#),
            expired: failed(401, r#"{"detail":"Invalid token"}"#),
            user_gone: failed(404, r#"{"detail":"User not found"}"#),
            malformed: failed(401, r#"{"detail":"Invalid token"}"#),
            client: None,
            unsupported: None,
            scope: None,
        },
        rejected: list![Rejected:
            Rejected {
                from: 401,
                to: 401,
                body: list![Expected: expected("detail", Is::String)],
            },
            Rejected {
                from: 403,
                to: 404,
                body: list![Expected: expected("detail", Is::String)],
            },
        ],
    };

    /// JWT Auth Pro for `WordPress`: `POST /wp-json/jwt-auth/v1/token/refresh` takes a JSON
    /// `refresh_token`. It returns `token`, the next `refresh_token` and the user's fields, all of
    /// which are optional in a response that the client reads.
    ///
    /// The user's fields come from attributes of the session with the same names, set at sign-in.
    /// The product's document has the path without the server's `/wp-json`, and clients call it
    /// with that prefix. 403 with its code is the only documented error, so a body that can't be
    /// read gets it too.
    pub const JWT_AUTH_PRO: Self = Self {
        name: text("jwt_auth_pro"),
        path: text("/wp-json/jwt-auth/v1/token/refresh"),
        token: TokenKind::Refresh,
        places: list![Place: Place::Json(text("refresh_token"))],
        fixed: list![Fixed:],
        ttl: None,
        client_authentication: false,
        answer: Answer {
            access_token: text("token"),
            access_cookie: None,
            token_type: None,
            expires_in: None,
            successor: Successor::Member(text("refresh_token")),
            members: list![Member:
                attribute("user_id", Kind::Integer),
                attribute("user_email", Kind::String),
                attribute("user_nicename", Kind::String),
                attribute("user_display_name", Kind::String),
            ],
        },
        errors: {
            const INVALID: Failed = failed(
                403,
                r#"{"code":"jwt_auth_invalid_token","message":"The refresh token is invalid or expired.","data":{"status":403}}"#,
            );
            Errors {
                missing: INVALID,
                invalid: INVALID,
                expired: INVALID,
                user_gone: INVALID,
                malformed: INVALID,
                client: None,
                unsupported: None,
                scope: None,
            }
        },
        rejected: list![Rejected: Rejected {
            from: 403,
            to: 403,
            body: list![Expected:
                expected("code", Is::OneOf(list![Text: text("jwt_auth_invalid_token")])),
                expected("message", Is::String),
                expected("data.status", Is::Integer),
            ],
        }],
    };

    /// Freddy: `POST /v1/auth/refresh` takes a JSON `refresh_token` and returns `token` and
    /// `device_id`.
    ///
    /// The text of Freddy's document mentions a new refresh token, and the documented response has
    /// none. One of the documented clients takes a `refresh_token` if there is one, and the other
    /// does not. By default the refresh token therefore stays the same. To rotate it, set
    /// `answer.successor` to that member. The statuses of errors are not documented, and are 401
    /// here; Freddy's clients read only the body. `device_id` is an attribute of the session.
    pub const FREDDY: Self = Self {
        name: text("freddy"),
        path: text("/v1/auth/refresh"),
        token: TokenKind::Refresh,
        places: list![Place: Place::Json(text("refresh_token"))],
        fixed: list![Fixed:],
        ttl: None,
        client_authentication: false,
        answer: Answer {
            access_token: text("token"),
            access_cookie: None,
            token_type: None,
            expires_in: None,
            successor: Successor::Nowhere,
            members: list![Member: attribute("device_id", Kind::String)],
        },
        errors: {
            const INVALID: Failed = failed(401, r#"{"detail":"Invalid refresh token"}"#);
            const EXPIRED: Failed = failed(401, r#"{"detail":"Refresh token has expired"}"#);
            Errors {
                missing: INVALID,
                invalid: INVALID,
                expired: EXPIRED,
                user_gone: INVALID,
                malformed: INVALID,
                client: None,
                unsupported: None,
                scope: None,
            }
        },
        rejected: list![Rejected: Rejected {
            from: 400,
            to: 499,
            body: list![Expected: expected(
                "detail",
                Is::OneOf(list![Text:
                    text("Invalid refresh token"),
                    text("Refresh token has expired"),
                ]),
            )],
        }],
    };

    /// Redis Enterprise: `POST /v1/users/refresh_jwt` takes a valid token in `Authorization: JWT`
    /// and an optional JSON `ttl` in seconds, and returns `access_token`. Clients must refresh
    /// before the token expires.
    ///
    /// The `ttl` is limited to at least 1 s and at most what the configuration and the session
    /// allow. The product's document has 401 for "the token is invalid or password has expired";
    /// the app's revalidation decides the latter. A `ttl` of another type, which the document does
    /// not mention, is answered with 400.
    ///
    /// # Security
    /// As for [`VIJIL`](Self::VIJIL), the endpoint renews only sessions whose sign-in allows it.
    pub const REDIS_ENTERPRISE: Self = Self {
        name: text("redis_enterprise"),
        path: text("/v1/users/refresh_jwt"),
        token: TokenKind::Access { expired_for: 0 },
        places: list![Place: Place::Authorization(text("JWT"))],
        fixed: list![Fixed:],
        ttl: Some(text("ttl")),
        client_authentication: false,
        answer: Answer {
            access_token: text("access_token"),
            access_cookie: None,
            token_type: None,
            expires_in: None,
            successor: Successor::Nowhere,
            members: list![Member:],
        },
        errors: {
            const UNAUTHORIZED: Failed = failed(401, r#"{"error":"unauthorized"}"#);
            Errors {
                missing: UNAUTHORIZED,
                invalid: UNAUTHORIZED,
                expired: UNAUTHORIZED,
                user_gone: UNAUTHORIZED,
                malformed: failed(400, r#"{"error":"ttl must be a whole number of seconds"}"#),
                client: None,
                unsupported: None,
                scope: None,
            }
        },
        rejected: list![Rejected: Rejected { from: 401, to: 401, body: list![Expected:] }],
    };

    /// Galileo: `POST /v1/refresh_token` takes the cookie `refresh_token` and returns
    /// `access_token` and `token_type`, which is `bearer` by default.
    ///
    /// A missing cookie is answered with the framework's 422 with `loc`, `msg` and `type`. The
    /// answer to an invalid cookie is not documented, and is 401 with `detail` here. The response
    /// sets the next refresh token in the cookie. The cookie's name has no `__Host-` prefix, so a
    /// sibling subdomain can plant one.
    pub const GALILEO: Self = Self {
        name: text("galileo"),
        path: text("/v1/refresh_token"),
        token: TokenKind::Refresh,
        places: list![Place: Place::Cookie(text("refresh_token"))],
        fixed: list![Fixed:],
        ttl: None,
        client_authentication: false,
        answer: Answer {
            access_token: text("access_token"),
            access_cookie: None,
            token_type: Some(Fixed { name: text("token_type"), value: text("bearer") }),
            expires_in: None,
            successor: Successor::Cookie(text("refresh_token")),
            members: list![Member:],
        },
        errors: {
            const INVALID: Failed = failed(401, r#"{"detail":"Invalid refresh token"}"#);
            Errors {
                missing: field_required(
                    r#"{"detail":[{"loc":["cookie","refresh_token"],"msg":"Field required","type":"missing"}]}"#,
                ),
                invalid: INVALID,
                expired: INVALID,
                user_gone: INVALID,
                malformed: INVALID,
                client: None,
                unsupported: None,
                scope: None,
            }
        },
        rejected: {
            const DETAIL: &[Expected] = &[expected("detail", Is::Present)];
            list![Rejected:
                Rejected { from: 401, to: 401, body: List::Borrowed(DETAIL) },
                Rejected { from: 403, to: 403, body: List::Borrowed(DETAIL) },
            ]
        },
    };

    /// OAuth 2: the refresh token grant (RFC 6749 section 6). The endpoint takes a form and returns
    /// a token response (sections 5.1 and 5.2), with client authentication.
    ///
    /// The attribute `client_id` of a session names the client that its refresh token was issued
    /// to. Only that client can use the token, here and at any other endpoint (sections 6 and
    /// 10.4). The attribute `scope` is the granted scope.
    pub const OAUTH2: Self = Self {
        name: text("oauth2"),
        path: text("/oauth/token"),
        token: TokenKind::Refresh,
        places: list![Place: Place::Form(text("refresh_token"))],
        fixed: list![Fixed: Fixed { name: text("grant_type"), value: text("refresh_token") }],
        ttl: None,
        client_authentication: true,
        answer: Answer {
            access_token: text("access_token"),
            access_cookie: None,
            token_type: Some(Fixed { name: text("token_type"), value: text("Bearer") }),
            expires_in: Some(text("expires_in")),
            successor: Successor::Member(text("refresh_token")),
            members: list![Member:],
        },
        errors: {
            const GRANT: Failed = failed(400, r#"{"error":"invalid_grant"}"#);
            Errors {
                missing: failed(400, r#"{"error":"invalid_request"}"#),
                invalid: GRANT,
                expired: GRANT,
                user_gone: GRANT,
                malformed: failed(400, r#"{"error":"invalid_request"}"#),
                client: Some(failed(401, r#"{"error":"invalid_client"}"#)),
                unsupported: Some(failed(400, r#"{"error":"unsupported_grant_type"}"#)),
                scope: Some(failed(400, r#"{"error":"invalid_scope"}"#)),
            }
        },
        rejected: list![Rejected: Rejected {
            from: 400,
            to: 400,
            body: list![Expected: expected(
                "error",
                Is::OneOf(list![Text: text("invalid_grant")]),
            )],
        }],
    };
}
