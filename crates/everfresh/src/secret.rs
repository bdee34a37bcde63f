//! Text that must not be seen: tokens. Wiped on drop, never printed.

use std::fmt;

use zeroize::Zeroizing;

/// A signed access token, ready to be sent.
///
/// `Debug` shows its first four characters and its length, which is enough to tell two apart in
/// a log and too little to use; there is no `Display`. [`expose`](Self::expose) names the moment
/// when it leaves.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// Wraps a token's text.
    pub fn new(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    /// The token itself. Whoever holds it is the user until it expires.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(4).collect();
        write!(f, "AccessToken({shown}.., {} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_four_characters_and_a_length() {
        let token = AccessToken::new("eyJhbGciOiJIUzI1NiJ9.e30.c2ln".into());
        assert_eq!(format!("{token:?}"), "AccessToken(eyJh.., 29 bytes)");
    }
}
