//! Tools to test what is built on everfresh, and everfresh itself.
//!
//! * [`Jar`]: a browser's cookie jar by the rules of RFC 6265bis, on a clock of your own.
//! * [`Browser`]: an HTTP client with a jar, over real sockets.
//! * [`adapter_suite!`]: the cases that every adapter passes, one test each.
//! * [`store_suite!`]: the cases that every session store passes.
//! * [`world`]: every order of events around a rotating session, searched exhaustively; and long
//!   random schedules of several nodes, with crashes, outages and a thief.
//! * [`fault`]: a proxy that cuts, resets, holds or garbles what passes it, on command.
//! * [`contract`]: the small application that the adapter suite drives.
//! * [`texts`]: what the text of an error has to be, so that whoever reads it can act.
//!
//! Time is [`everfresh::ManualClock`]: an expiry is one line, and nothing sleeps.

mod browser;
pub mod contract;
pub mod fault;
mod jar;
pub mod store;
pub mod suite;
pub mod texts;
pub mod world;

pub use browser::{Answer, Browser};
pub use jar::{Jar, Refused, Site};
