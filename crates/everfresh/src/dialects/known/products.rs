//! The dialects of five products. The docs of each constant say what the product's documents leave
//! open.

use crate::dialects::dialect::{Dialect, List, Text};
use crate::dialects::request::{Body, LifetimeMember, Place, TokenKind};
use crate::dialects::response::{Condition, ExpiresIn, Outcome, Rule, Source, Statuses, Test};
use crate::dialects::serving::{ErrorResponse, Errors, ServedMember, ServedValue, Serving};

use super::{
    EXPIRES_IN, IN_JSON, NO_MEMBERS, NO_SOURCE, attribute, error, is, member, request, response,
    served, text,
};

impl Dialect {
    /// Vijil Console: `POST /v1/auth/jwt/refresh` takes a JWT, valid or expired, in a cookie or in
    /// `Authorization`. It returns `access_token` and `token_type`, and sets the cookie.
    ///
    /// Vijil's documents leave three things open. The cookie's name and the scheme are
    /// `access_token` and `Bearer` here. This constant accepts a token that expired up to an hour
    /// ago. The two errors ("token is invalid or user not found") have the statuses 401 and 404
    /// here, in the format of the framework that the documents name. At 401 a client takes a
    /// `detail` of any type for the end of the session; at 403 and 404, where the framework answers
    /// requests that it can't read with a list, a text alone.
    ///
    /// # Security
    /// A copied access token could be renewed for as long as its session lasts. Therefore the
    /// endpoint renews only sessions whose sign-in allows it
    /// ([`SignIn::renewable_by_access_token`](crate::SignIn::renewable_by_access_token)). It
    /// refuses a token two generations older than its session's, and such a token ends the session
    /// once a client has presented the current generation. The cookie's name has no `__Host-`
    /// prefix, so a sibling subdomain can plant one.
    pub const VIJIL: Self = Self {
        schema: None,
        name: text("vijil"),
        document: None,
        paths: list![Text: text("/v1/auth/jwt/refresh")],
        request: request(
            TokenKind::Access { expired_for: 3600 },
            list![Place:
                Place::Authorization(text("Bearer")),
                Place::Cookie(text("access_token")),
            ],
            Body::Json,
            NO_MEMBERS,
            None,
        ),
        response: response(
            list![Source: member("access_token")],
            NO_SOURCE,
            NO_SOURCE,
            EXPIRES_IN,
            list![Text:],
        ),
        rules: list![Rule:
            Rule {
                status: list![Statuses: Statuses::only(401)],
                when: list![Condition: is("detail", Test::Present)],
                outcome: Outcome::Rejected,
            },
            Rule {
                status: list![Statuses: Statuses { from: 403, to: 404 }],
                when: list![Condition: is("detail", Test::String)],
                outcome: Outcome::Rejected,
            },
        ],
        sign_out: None,
        serving: Some(Serving {
            rotates: false,
            members: list![ServedMember:
                served("access_token", ServedValue::AccessToken),
                served("token_type", ServedValue::Text(text("bearer"))),
            ],
            access_cookie: Some(text("access_token")),
            refresh_cookie: None,
            errors: Errors {
                missing: error(401, r#"{"detail":"Not authenticated"}"#),
                invalid: error(401, r#"{"detail":"Invalid token"}"#),
                expired: error(401, r#"{"detail":"Invalid token"}"#),
                user_gone: error(404, r#"{"detail":"User not found"}"#),
                malformed: error(401, r#"{"detail":"Invalid token"}"#),
                client: None,
                unsupported: None,
                scope: None,
            },
        }),
    };

    /// JWT Auth Pro for `WordPress`: `POST /wp-json/jwt-auth/v1/token/refresh` takes a JSON
    /// `refresh_token`. By its document it returns `token`, the next `refresh_token` and the user's
    /// fields. The plugin itself returns `access_token`, `expires_in`, `token_type` and the next
    /// `refresh_token`. A client reads both, and the engine serves both at once.
    ///
    /// The user's fields come from attributes of the session with the same names, set at sign-in.
    /// The product's document has the path without the server's `/wp-json`, and clients call it
    /// with that prefix. 403 with its code is the only documented error, so a body that can't be
    /// read gets it too. The plugin revokes a refresh token before it has stored the next one, so
    /// its code for a refresh that failed in between leaves the session in doubt.
    pub const JWT_AUTH_PRO: Self = Self {
        schema: None,
        name: text("jwt_auth_pro"),
        document: None,
        paths: list![Text: text("/wp-json/jwt-auth/v1/token/refresh")],
        request: IN_JSON,
        response: response(
            list![Source: member("token"), member("access_token")],
            list![Source: member("refresh_token")],
            NO_SOURCE,
            EXPIRES_IN,
            list![Text:
                text("user_id"),
                text("user_email"),
                text("user_nicename"),
                text("user_display_name"),
            ],
        ),
        rules: list![Rule:
            Rule {
                status: list![Statuses: Statuses { from: 400, to: 404 }],
                when: list![Condition:
                    is(
                        "code",
                        Test::OneOf(list![Text:
                            text("jwt_auth_invalid_token"),
                            text("jwt_auth_invalid_refresh_token"),
                            text("jwt_auth_expired_refresh_token"),
                            text("jwt_auth_user_not_found"),
                        ]),
                    ),
                    is("message", Test::String),
                    is("data.status", Test::Integer),
                ],
                outcome: Outcome::Rejected,
            },
            Rule {
                status: list![Statuses: Statuses { from: 400, to: 404 }],
                when: list![Condition: is(
                    "code",
                    Test::OneOf(list![Text: text("jwt_auth_refresh_failed")]),
                )],
                outcome: Outcome::InDoubt,
            },
        ],
        sign_out: None,
        serving: Some(Serving {
            rotates: true,
            members: list![ServedMember:
                served("token", ServedValue::AccessToken),
                served("access_token", ServedValue::AccessToken),
                served("token_type", ServedValue::Text(text("Bearer"))),
                served("expires_in", ServedValue::ExpiresIn),
                served("refresh_token", ServedValue::RefreshToken),
                served("user_id", ServedValue::IntegerAttribute(text("user_id"))),
                attribute("user_email"),
                attribute("user_nicename"),
                attribute("user_display_name"),
            ],
            access_cookie: None,
            refresh_cookie: None,
            errors: {
                const INVALID: ErrorResponse = error(
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
        }),
    };

    /// Freddy: `POST /v1/auth/refresh` takes a JSON `refresh_token` and returns, by its page,
    /// `token` and `device_id`. Freddy's page on the response object and its Python SDK have
    /// `access_token` and `refresh_token`, which the SDK requires. A client reads both, and the
    /// engine serves both at once.
    ///
    /// One of the documented clients takes a new `refresh_token` if there is one, and the other
    /// does not. By default the refresh token therefore stays the same, and the response repeats
    /// it. To rotate it, set `serving.rotates`. The statuses of errors are not documented, and are
    /// 401 here; Freddy's clients read only the body. `device_id` is an attribute of the session.
    pub const FREDDY: Self = Self {
        schema: None,
        name: text("freddy"),
        document: None,
        paths: list![Text: text("/v1/auth/refresh")],
        request: IN_JSON,
        response: response(
            list![Source: member("token"), member("access_token")],
            list![Source: member("refresh_token"), member("refreshToken")],
            NO_SOURCE,
            EXPIRES_IN,
            list![Text: text("device_id")],
        ),
        rules: list![Rule:
            Rule {
                status: list![Statuses: Statuses { from: 400, to: 499 }],
                when: list![Condition: is(
                    "detail",
                    Test::OneOf(list![Text:
                        text("Invalid refresh token"),
                        text("Refresh token has expired"),
                    ]),
                )],
                outcome: Outcome::Rejected,
            },
            // The envelope of errors that the vendor's newer hosts have.
            Rule {
                status: list![Statuses: Statuses::only(401)],
                when: list![Condition:
                    is("success", Test::OneOf(list![Text: text("false")])),
                    is("error.code", Test::Present),
                ],
                outcome: Outcome::Rejected,
            },
        ],
        sign_out: None,
        serving: Some(Serving {
            rotates: false,
            members: list![ServedMember:
                served("token", ServedValue::AccessToken),
                attribute("device_id"),
                served("access_token", ServedValue::AccessToken),
                served("refresh_token", ServedValue::RefreshToken),
                served("token_type", ServedValue::Text(text("bearer"))),
                served("expires_in", ServedValue::ExpiresIn),
            ],
            access_cookie: None,
            refresh_cookie: None,
            errors: {
                const INVALID: ErrorResponse = error(401, r#"{"detail":"Invalid refresh token"}"#);
                Errors {
                    missing: INVALID,
                    invalid: INVALID,
                    expired: error(401, r#"{"detail":"Refresh token has expired"}"#),
                    user_gone: INVALID,
                    malformed: INVALID,
                    client: None,
                    unsupported: None,
                    scope: None,
                }
            },
        }),
    };

    /// Redis Enterprise: `POST /v1/users/refresh_jwt` takes a valid token in `Authorization: JWT`
    /// and an optional JSON `ttl` in seconds, and returns `access_token`. Clients must refresh
    /// before the token expires.
    ///
    /// The product's documents have a `ttl` of 1 to 86,400 s, and 300 s by default. The engine
    /// never gives more than its configuration and the session allow. The document has 401 for
    /// "the token is invalid or password has expired"; the app's revalidation decides the latter.
    /// A `ttl` of another type, which the document does not mention, is answered with 400. Newer
    /// pages of the product show the scheme `Bearer`, which the engine takes too.
    ///
    /// # Security
    /// As for [`VIJIL`](Self::VIJIL), the endpoint renews only sessions whose sign-in allows it.
    pub const REDIS_ENTERPRISE: Self = Self {
        schema: None,
        name: text("redis_enterprise"),
        document: None,
        paths: list![Text: text("/v1/users/refresh_jwt")],
        request: request(
            TokenKind::Access { expired_for: 0 },
            list![Place:
                Place::Authorization(text("JWT")),
                Place::Authorization(text("Bearer")),
            ],
            Body::Json,
            NO_MEMBERS,
            Some(LifetimeMember { member: text("ttl"), min: 1, max: 86_400, default: Some(300) }),
        ),
        response: response(
            list![Source: member("access_token")],
            NO_SOURCE,
            NO_SOURCE,
            list![ExpiresIn:],
            list![Text:],
        ),
        rules: list![Rule: Rule {
            status: list![Statuses: Statuses::only(401)],
            when: list![Condition:],
            outcome: Outcome::Rejected,
        }],
        sign_out: None,
        serving: Some(Serving {
            rotates: false,
            members: list![ServedMember: served("access_token", ServedValue::AccessToken)],
            access_cookie: None,
            refresh_cookie: None,
            errors: {
                const UNAUTHORIZED: ErrorResponse = error(
                    401,
                    r#"{"error_code":"unauthorized","message":"The token is invalid or the password has expired."}"#,
                );
                Errors {
                    missing: UNAUTHORIZED,
                    invalid: UNAUTHORIZED,
                    expired: UNAUTHORIZED,
                    user_gone: UNAUTHORIZED,
                    malformed: error(
                        400,
                        r#"{"error_code":"bad_request","message":"ttl must be a whole number of seconds."}"#,
                    ),
                    client: None,
                    unsupported: None,
                    scope: None,
                }
            },
        }),
    };

    /// Galileo: `POST /v1/refresh_token` takes the cookie `refresh_token` and returns
    /// `access_token` and `token_type`, which is `bearer` by default. The vendor's SDK calls
    /// `/refresh_token`, which the engine serves too.
    ///
    /// A missing cookie is answered with the framework's 422 with `loc`, `msg` and `type`. The
    /// answer to an invalid cookie is not documented, and is 401 with `detail` here. Each response
    /// sets the next refresh token in the cookie, or the same one again, because the SDK forgets a
    /// refresh token that a response does not set. The cookie's name has no `__Host-` prefix, so a
    /// sibling subdomain can plant one.
    pub const GALILEO: Self = Self {
        schema: None,
        name: text("galileo"),
        document: None,
        paths: list![Text: text("/v1/refresh_token"), text("/refresh_token")],
        request: request(
            TokenKind::Refresh,
            list![Place: Place::Cookie(text("refresh_token"))],
            Body::Json,
            NO_MEMBERS,
            None,
        ),
        response: response(
            list![Source: member("access_token")],
            list![Source: Source::Cookie(text("refresh_token"))],
            NO_SOURCE,
            list![ExpiresIn:],
            list![Text:],
        ),
        rules: list![Rule: Rule {
            status: list![Statuses: Statuses::only(401), Statuses::only(403)],
            when: list![Condition: is("detail", Test::Present)],
            outcome: Outcome::Rejected,
        }],
        sign_out: None,
        serving: Some(Serving {
            rotates: true,
            members: list![ServedMember:
                served("access_token", ServedValue::AccessToken),
                served("token_type", ServedValue::Text(text("bearer"))),
            ],
            access_cookie: None,
            refresh_cookie: Some(text("refresh_token")),
            errors: {
                const INVALID: ErrorResponse = error(401, r#"{"detail":"Invalid refresh token"}"#);
                Errors {
                    missing: error(
                        422,
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
        }),
    };
}
