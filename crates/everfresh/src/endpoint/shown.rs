//! The tokens that a request presents to a dialect's endpoint, and which of them counts.
//!
//! Rules, as for the layer
//! 1. The first place with a valid token counts.
//! 2. Of several tokens of one session in one place, the latest counts.
//! 3. If one place has tokens of two sessions, none counts, in any order, because an attacker may
//!    have planted one.
//! 4. If one place has more than four tokens, none of them counts.

use zeroize::Zeroizing;

use super::answer::RefreshError;
use crate::cookie::chunks;

/// The maximum number of tokens in one place. With more of them, none counts.
const MAX_IN_ONE_PLACE: usize = 4;

/// The presented tokens, in the order of their places.
#[derive(Debug, Default)]
pub(super) struct Shown {
    tokens: Vec<One>,
    /// Whether a place had too many tokens.
    too_many: bool,
}

#[derive(Debug)]
struct One {
    /// Identifies the place of the token.
    place: usize,
    token: Zeroizing<String>,
}

/// A valid token.
pub(super) struct Good<T> {
    pub(super) sid: Box<str>,
    /// The latest token of a session has the greatest rank.
    pub(super) rank: u64,
    pub(super) value: T,
}

impl Shown {
    /// Adds the tokens of one place. An empty text, and one that is too long for a token, is
    /// ignored.
    pub(super) fn add<'t>(&mut self, place: usize, tokens: impl Iterator<Item = &'t [u8]>) {
        let text = |token: &[u8]| {
            let small = !token.is_empty() && token.len() <= chunks::MAX_TEXT;
            let text = small.then(|| std::str::from_utf8(token).ok()).flatten()?;
            Some(One { place, token: Zeroizing::new(text.to_owned()) })
        };
        let before = self.tokens.len();
        self.tokens.extend(tokens.filter_map(text).take(MAX_IN_ONE_PLACE + 1));
        if self.tokens.len() - before > MAX_IN_ONE_PLACE {
            self.tokens.truncate(before);
            self.too_many = true;
        }
    }

    /// Returns whether the request presents no text that could be a token.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty() && !self.too_many
    }

    /// Returns the token that counts among the tokens that `check` accepts.
    pub(super) fn select<'t, T>(
        &'t self,
        check: impl Fn(&'t str) -> Result<Good<T>, RefreshError>,
    ) -> Result<T, RefreshError> {
        let mut error = RefreshError::Invalid;
        for place in self.tokens.chunk_by(|one, next| one.place == next.place) {
            let mut best: Option<Good<T>> = None;
            let mut conflict = false;
            for One { token, .. } in place {
                match (check(token), &best) {
                    (Ok(good), Some(kept)) if good.sid != kept.sid => conflict = true,
                    (Ok(good), Some(kept)) if good.rank <= kept.rank => {}
                    (Ok(good), _) => best = Some(good),
                    (Err(RefreshError::Expired), _) => error = RefreshError::Expired,
                    (Err(_), _) => {}
                }
            }
            match best {
                Some(_) if conflict => error = RefreshError::Invalid,
                Some(good) => return Ok(good.value),
                None => {}
            }
        }
        Err(error)
    }
}
