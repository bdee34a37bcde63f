//! What the hammer and its test agree on.

use everfresh::SessionId;

/// How many sessions are hammered.
pub const SESSIONS: u8 = 24;

/// Sessions from here on are revoked at some time.
pub const REVOKED_FROM: u8 = 16;

/// The id of a session.
pub fn id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}
