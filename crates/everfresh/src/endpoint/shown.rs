//! The tokens that a request shows to a dialect's endpoint, and which of them counts.
//!
//! Rules, as for the layer
//! 1. The first place that brings a good token counts.
//! 2. Of several tokens of one session in one place the latest counts.
//! 3. Of two sessions in one place none counts, whatever their order: somebody planted one.
//! 4. More than four tokens in one place: none of them counts.

use zeroize::Zeroizing;

use super::answer::RefreshError;
use crate::cookie::chunks;

/// How many tokens in one place are looked at.
const MAX_IN_ONE_PLACE: usize = 4;

/// Tokens in the order of their places.
#[derive(Debug, Default)]
pub(super) struct Shown {
    tokens: Vec<One>,
    /// Some place brought too many.
    crowded: bool,
}

#[derive(Debug)]
struct One {
    /// Tells places apart.
    place: usize,
    token: Zeroizing<String>,
}

/// A good token.
pub(super) struct Good<T> {
    pub(super) sid: Box<str>,
    /// The latest of a session has the greatest.
    pub(super) rank: u64,
    pub(super) what: T,
}

impl Shown {
    /// What one place brings. What can't be a token by its length is passed over.
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
            self.crowded = true;
        }
    }

    /// Nothing that could be a token was shown.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty() && !self.crowded
    }

    /// The token that counts, of those that `judge` finds good.
    pub(super) fn pick<'t, T>(
        &'t self,
        judge: impl Fn(&'t str) -> Result<Good<T>, RefreshError>,
    ) -> Result<T, RefreshError> {
        let mut why = RefreshError::Invalid;
        for place in self.tokens.chunk_by(|one, next| one.place == next.place) {
            let mut best: Option<Good<T>> = None;
            let mut conflict = false;
            for One { token, .. } in place {
                match (judge(token), &best) {
                    (Ok(good), Some(kept)) if good.sid != kept.sid => conflict = true,
                    (Ok(good), Some(kept)) if good.rank <= kept.rank => {}
                    (Ok(good), _) => best = Some(good),
                    (Err(RefreshError::Expired), _) => why = RefreshError::Expired,
                    (Err(_), _) => {}
                }
            }
            match best {
                Some(_) if conflict => why = RefreshError::Invalid,
                Some(good) => return Ok(good.what),
                None => {}
            }
        }
        Err(why)
    }
}
