//! Rules for the text of every error, so that its reader can act on it.
//!
//! 1. It states what was wrong, what was found, and what is allowed or what to do. The words that
//!    the caller names are in it.
//! 2. It is one line of one or two sentences, at most 500 characters.
//! 3. It can follow a colon: it starts in lower case, unless with a name, and ends without a full
//!    stop. Texts for clients are whole sentences instead.
//! 4. It contains no secret.

/// A secret that no error may contain. Tests put it into keys, passwords and tokens.
pub const SECRET: &str = "hunter2";

/// Checks the text of an error. `says`: the subject, the value found, and the remedy.
///
/// # Panics
/// If the text breaks a rule.
pub fn check_error(text: &str, says: &[&str]) {
    check(text, says);
    let mut chars = text.chars();
    let (first, second) = (chars.next().unwrap_or(' '), chars.next().unwrap_or(' '));
    let is_sentence = first.is_uppercase() && second.is_lowercase();
    assert!(!is_sentence, "begins as a sentence: {text}");
    assert!(
        !text.ends_with(['.', '!', ' ', ':', ';']),
        "ends as a sentence, or not at all: {text}"
    );
}

/// Checks a text for clients: the `detail` of a problem (RFC 9457).
///
/// # Panics
/// If the text breaks a rule.
pub fn check_detail(text: &str, says: &[&str]) {
    check(text, says);
    assert!(text.starts_with(char::is_uppercase), "begins in the middle: {text}");
    assert!(text.ends_with('.'), "ends without a full stop: {text}");
}

fn check(text: &str, says: &[&str]) {
    assert!(text.lines().count() == 1, "not one line: {text:?}");
    assert!((10..=500).contains(&text.chars().count()), "too short or too long: {text}");
    let sentences = text.matches(". ").count() + 1;
    assert!(sentences <= 2, "{sentences} sentences: {text}");
    assert!(!text.contains("  "), "white space: {text:?}");
    assert!(!text.contains(SECRET), "a secret is in it: {text}");
    for word in says {
        assert!(text.contains(word), "lacks {word:?}: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(check: impl FnOnce() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(check).is_ok()
    }

    #[test]
    fn a_broken_rule_is_found() {
        let good = "`leeway` is 301s; allowed are 0 s to 300 s";
        assert!(holds(|| check_error(good, &["`leeway`", "301", "300 s"])));
        assert!(holds(|| check_error("HS256 needs a secret; give one", &[])));
        assert!(holds(|| check_detail("Sign in again: the session is over.", &["Sign in"])));
        assert!(!holds(|| check_error(good, &["`issuer`"])), "says something else");
        for bad in [
            "The leeway is too large; make it smaller",
            "the leeway is too large.",
            "the leeway is too large:",
            "the leeway\nis too large",
            "the leeway is. too large. for that",
            "wrong",
            "the password \"hunter2\" is wrong; give another one",
        ] {
            assert!(!holds(|| check_error(bad, &[])), "{bad}");
        }
        for bad in ["sign in again.", "Sign in again", "Sign in. Or don't. Or do."] {
            assert!(!holds(|| check_detail(bad, &[])), "{bad}");
        }
    }
}
