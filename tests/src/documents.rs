//! Compiles the Rust examples of every document, and runs those that can run. They are doc tests of
//! this crate, because it alone depends on every adapter and store. `tests/documents` compares this
//! list with the existing documents.

macro_rules! documents {
    ($($name:ident: $file:literal)*) => {
        $(
            #[doc = include_str!(concat!("../../", $file))]
            pub struct $name;
        )*
    };
}

documents! {
    Readme: "README.md"
    Clients: "crates/everfresh/docs/clients.md"
    Cookies: "crates/everfresh/docs/cookies.md"
    Dialects: "crates/everfresh/docs/dialects.md"
    Keys: "crates/everfresh/docs/keys.md"
    Migrating: "crates/everfresh/docs/migrating.md"
    Observability: "crates/everfresh/docs/observability.md"
    Proxies: "crates/everfresh/docs/proxies.md"
    Refreshers: "crates/everfresh/docs/refreshers.md"
    Sockets: "crates/everfresh/docs/sockets.md"
    Testing: "crates/everfresh/docs/testing.md"
    Core: "crates/everfresh/README.md"
    Actix: "crates/everfresh-actix/README.md"
    Axum: "crates/everfresh-axum/README.md"
    Openapi: "crates/everfresh-openapi/README.md"
    Redis: "crates/everfresh-redis/README.md"
    Sqlx: "crates/everfresh-sqlx/README.md"
    Testkit: "crates/everfresh-testkit/README.md"
    Upstream: "crates/everfresh-upstream/README.md"
    Warp: "crates/everfresh-warp/README.md"
}
