//! Six dialects as constants. What their documents leave open is said beside each.

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

/// `FastAPI`'s validation error for a value that is not there.
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

/// A list in a constant of its own, as its elements own what they hold.
macro_rules! list {
    ($of:ty: $($one:expr),* $(,)?) => {{
        const LIST: &[$of] = &[$($one),*];
        List::Borrowed(LIST)
    }};
}

impl Dialect {
    /// Every constant, by its name.
    pub const ALL: [&'static Self; 6] = [
        &Self::VIJIL,
        &Self::JWT_AUTH_PRO,
        &Self::FREDDY,
        &Self::REDIS_ENTERPRISE,
        &Self::GALILEO,
        &Self::OAUTH2,
    ];

    /// Vijil Console: `POST /v1/auth/jwt/refresh` takes a JWT, valid or expired, in a cookie or in
    /// `Authorization`, and gives `access_token` and `token_type`, and the cookie as well.
    ///
    /// Not documented: the cookie's name and the scheme, here `access_token` and `Bearer`; for how
    /// long a token may have expired, here an hour; the statuses of its two errors ("token is
    /// invalid or user not found"), here 401 and 404, in the form of the framework that it names.
    ///
    /// # Security
    /// A copied access token could be renewed for as long as its session lasts. So where this is
    /// served, it renews only sessions that were signed in for it
    /// ([`SignIn::renewable_by_access_token`](crate::SignIn::renewable_by_access_token)); a token two
    /// generations older than its session's is refused, and ends the session once the current
    /// generation was shown. Its cookie has no `__Host-`: a sibling subdomain can plant one.
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
    /// `refresh_token` and gives `token`, the next `refresh_token` and the user's fields, all of
    /// them optional when read.
    ///
    /// The user's fields come from attributes of the session of the same names, noted at sign-in.
    /// Its document gives the path without the server's `/wp-json`; clients call it with that. 403
    /// and its code are the one error that it has, so a body that can't be read gets it too.
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

    /// Freddy: `POST /v1/auth/refresh` takes a JSON `refresh_token` and gives `token` and
    /// `device_id`.
    ///
    /// Its text speaks of a new refresh token and its response has none; of its documented clients
    /// one takes a `refresh_token` if there is one and one does not, so by default the token stays
    /// what it is. To rotate, set `answer.successor` to that member. Statuses are not documented,
    /// here 401; its clients read the body alone. `device_id` is an attribute of the session.
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
    /// and an optional JSON `ttl` in seconds, and gives `access_token`. Clients must refresh before
    /// the token expires.
    ///
    /// `ttl` is brought within 1 s and what the configuration and the session allow. Its document
    /// has 401 for "the token is invalid or password has expired", the latter being the app's
    /// revalidation; a `ttl` of another type, of which it does not speak, is 400.
    ///
    /// # Security
    /// As [`VIJIL`](Self::VIJIL): it renews only sessions that were signed in for it.
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

    /// Galileo: `POST /v1/refresh_token` takes the cookie `refresh_token` and gives `access_token`
    /// and `token_type`, which is `bearer` unless said otherwise.
    ///
    /// A missing cookie is the framework's 422 with `loc`, `msg` and `type`. For a bad one nothing
    /// is documented: here 401 with `detail`. The next refresh token goes into the cookie, whose name
    /// has no `__Host-`: a sibling subdomain can plant one.
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

    /// OAuth 2: the refresh token grant (RFC 6749 section 6), a form in and a token response out
    /// (sections 5.1 and 5.2), with client authentication.
    ///
    /// The attribute `client_id` of a session names the client that its refresh token was issued to,
    /// which alone can use it, here and anywhere (sections 6 and 10.4); `scope` is what was granted.
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
