//! A session as one string of bytes. A hash would take two to three times the memory if one field
//! is longer than 64 bytes, as claims are. The fields that a rotation changes are together at the
//! front, so that the script overwrites them in place, and only they are logged and replicated.
//!
//! Integers are big-endian. Times and durations are in milliseconds.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | the layout: 1 |
//! | 1 | 8 | generation |
//! | 9 | 4 | key id |
//! | 13 | 1 | confirmed |
//! | 14 | 6 | rotated at |
//! | 20 | 6 | idle end |
//! | 26 | 6 | absolute end |
//! | 32 | 6 | idle lifetime |
//! | 38 | 6 | created at |
//! | 44 | 1 | persistent |
//! | 45 | 16 | salt |
//! | 61 | 4 | length of the claims |
//! | 65 | 4 | length of the sealed tokens; the largest number if there are none |
//! | 69 | 4 | length of the subject |
//! | 73 | 40 | with tokens: seq (8), tries (4), reservation (16), reserved at (6), expires (6) |
//! | | | sealed tokens, claims, subject, attributes as JSON |

use std::time::Duration;

use everfresh::store::{NewSession, SessionRecord, StoreError, StoredUpstreamTokens};
use everfresh::{SessionId, Timestamp};

const LAYOUT: u8 = 1;

/// The length that stands for missing sealed tokens.
const NONE: u32 = u32::MAX;

/// 4,460 years. Six bytes hold the sum of this duration and the present time.
const LONGEST: u64 = 1 << 47;

/// The arguments of the script that creates a session, except for times.
pub(crate) struct Parts {
    /// The part of the head that follows the times.
    pub(crate) head: Vec<u8>,
    /// The part that follows the fields of upstream tokens.
    pub(crate) rest: Vec<u8>,
}

impl Parts {
    pub(crate) fn of(new: &NewSession) -> Result<Self, StoreError> {
        let attributes = serde_json::to_vec(&new.attributes).map_err(StoreError::new)?;
        let sealed = new.upstream.as_ref().map(|upstream| &*upstream.sealed);
        let mut head = vec![u8::from(new.persistent)];
        head.extend(new.salt);
        head.extend(length(new.claims.as_bytes())?);
        head.extend(sealed.map_or(Ok(NONE.to_be_bytes()), length)?);
        head.extend(length(new.subject.as_bytes())?);
        let rest = [
            sealed.unwrap_or_default(),
            new.claims.as_bytes(),
            new.subject.as_bytes(),
            &attributes,
        ];
        Ok(Self { head, rest: rest.concat() })
    }
}

fn length(bytes: &[u8]) -> Result<[u8; 4], StoreError> {
    match u32::try_from(bytes.len()) {
        Ok(length) if length < NONE => Ok(length.to_be_bytes()),
        _ => Err(StoreError::new("the session has more than 4 GiB")),
    }
}

/// Returns a lifetime in the form that scripts read.
pub(crate) fn milliseconds(lifetime: Duration) -> Result<Vec<u8>, StoreError> {
    match u64::try_from(lifetime.as_millis()) {
        Ok(millis) if millis < LONGEST => Ok(millis.to_string().into()),
        _ => Err(StoreError::new("the lifetime is longer than 4,000 years")),
    }
}

/// Decodes a session.
pub(crate) fn decode(sid: SessionId, value: &[u8]) -> Result<SessionRecord, StoreError> {
    let mut bytes = Bytes(value);
    if bytes.take(1)? != [LAYOUT] {
        return Err(StoreError::new(
            "a session has the layout of another version of everfresh; update all nodes to one \
             version",
        ));
    }
    let generation = bytes.number(8)?;
    let key_id = bytes.small()?;
    let confirmed = bytes.number(1)? == 1;
    let rotated_at = bytes.time()?;
    let idle_expires = bytes.time()?;
    let absolute_expires = bytes.time()?;
    let idle_lifetime = Duration::from_millis(bytes.number(6)?);
    let created_at = bytes.time()?;
    let persistent = bytes.number(1)? == 1;
    let salt = bytes.sixteen()?;
    let (claims, sealed, subject) = (bytes.small()?, bytes.small()?, bytes.small()?);
    let upstream = match sealed {
        NONE => None,
        length => Some(Box::new(bytes.upstream(length)?)),
    };
    let claims = bytes.text(claims)?;
    let mut record = SessionRecord::new(sid, bytes.text(subject)?);
    record.claims = claims;
    record.attributes = serde_json::from_slice(bytes.0).map_err(StoreError::new)?;
    (record.generation, record.key_id, record.confirmed) = (generation, key_id, confirmed);
    (record.rotated_at, record.created_at) = (rotated_at, created_at);
    (record.idle_expires, record.absolute_expires) = (idle_expires, absolute_expires);
    (record.idle_lifetime, record.persistent) = (idle_lifetime, persistent);
    (record.salt, record.upstream) = (salt, upstream);
    Ok(record)
}

/// The bytes that have not been read yet.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], StoreError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| StoreError::new("a session's bytes end too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, StoreError> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn small(&mut self) -> Result<u32, StoreError> {
        u32::try_from(self.number(4)?).map_err(StoreError::new)
    }

    fn time(&mut self) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::default().plus(Duration::from_millis(self.number(6)?)))
    }

    fn sixteen(&mut self) -> Result<[u8; 16], StoreError> {
        self.take(16)?.try_into().map_err(StoreError::new)
    }

    fn text(&mut self, length: u32) -> Result<String, StoreError> {
        String::from_utf8(self.take(length as usize)?.to_vec()).map_err(|error| {
            // The error's own text would contain the bytes.
            StoreError::new(error.utf8_error())
        })
    }

    fn upstream(&mut self, sealed: u32) -> Result<StoredUpstreamTokens, StoreError> {
        let seq = self.number(8)?;
        let tries = self.small()?;
        let reservation = self.sixteen()?;
        let (reserved_at, expires) = (self.time()?, self.time()?);
        let sealed = self.take(sealed as usize)?.to_vec();
        let mut upstream = StoredUpstreamTokens::new(sealed, expires);
        (upstream.seq, upstream.tries, upstream.reserved_at) = (seq, tries, reserved_at);
        // Tokens without a try have no reservation.
        upstream.reservation = (tries > 0).then_some(reservation);
        Ok(upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_kind_are_an_error_and_no_panic() {
        let sid = SessionId::from_bytes([1; 16]);
        let mut bytes = vec![0; 300];
        for length in 0..bytes.len() {
            assert!(decode(sid, &bytes[..length]).is_err());
        }
        bytes[0] = LAYOUT;
        // Lengths that exceed the bytes that follow.
        bytes[61..73].fill(0xfe);
        for length in 0..bytes.len() {
            assert!(decode(sid, &bytes[..length]).is_err());
        }
    }

    #[test]
    fn lifetimes_that_no_row_holds_are_an_error() {
        assert!(milliseconds(Duration::MAX).is_err());
        assert_eq!(milliseconds(Duration::from_secs(3)).unwrap(), b"3000");
    }
}
