//! Guides: what to do, and why, where that takes more than one item of the reference.
//!
//! | you want to | read |
//! |---|---|
//! | decide how fresh tokens are made, and where sessions are kept | [`refreshers`] |
//! | know what the cookies are, and what keeps other sites out | [`cookies`] |
//! | serve a single-page app, a phone, a program | [`clients`] |
//! | serve or call a refresh endpoint that already exists | [`dialects`] |
//! | stand behind a CDN or a proxy | [`proxies`] |
//! | change keys | [`keys`] |
//! | run several nodes | [`scaling`] |
//! | keep connections open | [`sockets`] |
//! | see what it does, and be told when it goes wrong | [`observability`] |
//! | test your app without waiting | [`testing`] |
//! | find out what is wrong | [`troubleshooting`] |
//! | come from another crate | [`migrating`] |
//!
//! The same pages are in the crate's folder `docs`. Their examples are compiled with all
//! adapters at hand, by the repository's tests.

/// What pages call each other, here; in the files these names are defined as other files.
macro_rules! links {
    () => {
        "[clients]: crate::guide::clients
[cookies]: crate::guide::cookies
[dialects]: crate::guide::dialects
[observability]: crate::guide::observability
[proxies]: crate::guide::proxies
[refreshers]: crate::guide::refreshers
[scaling]: crate::guide::scaling
[sockets]: crate::guide::sockets
[troubleshooting]: crate::guide::troubleshooting
"
    };
}

macro_rules! guides {
    ($($name:ident)*) => {
        $(
            #[doc = links!()]
            #[doc = ""]
            #[doc = include_str!(concat!("../docs/", stringify!($name), ".md"))]
            pub mod $name {}
        )*
    };
}

guides! {
    refreshers
    cookies
    clients
    dialects
    proxies
    keys
    scaling
    sockets
    observability
    testing
    troubleshooting
    migrating
}
