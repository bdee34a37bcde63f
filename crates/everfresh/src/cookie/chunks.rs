//! A token that is larger than a cookie, split into several cookies.
//!
//! Rules
//! 1. A token of up to 3,800 bytes is one cookie, unchanged. A larger one is split into at most
//!    four pieces: `NAME`, `NAME.1`, `NAME.2`, `NAME.3`.
//! 2. Each piece names its token, its index, and the count of pieces: `tag.index.count.text`. Only
//!    pieces of one token are joined, and only if all of them are there. Pieces that an earlier
//!    token left behind are ignored.
//! 3. A response that writes a token writes or deletes all four cookies, so that no old piece
//!    stays.
//! 4. No count makes the engine read more than four cookies (CVE-2024-24814). The token's seal, and
//!    not this module, decides whether the joined token is genuine.

use zeroize::Zeroizing;

/// The bytes of a token that fit into one cookie beside its name and attributes.
const SIZE: usize = 3800;

/// How many cookies one token may take.
pub(crate) const MAX: usize = 4;

/// The longest token that is split.
pub(crate) const MAX_TEXT: usize = SIZE * MAX;

/// Returns a token as the values of one cookie or several. Returns `None` if it is too large, or
/// could not be told from a piece.
pub(crate) fn split(token: &str) -> Option<Vec<String>> {
    if token.len() > MAX_TEXT || token.contains('.') {
        return None;
    }
    if token.len() <= SIZE {
        return Some(vec![token.to_owned()]);
    }
    let tag = tag(token);
    let count = token.len().div_ceil(SIZE);
    let pieces = token.as_bytes().chunks(SIZE).enumerate();
    let piece = |(index, bytes)| Some(format!("{tag:08x}.{index}.{count}.{}", str(bytes)?));
    pieces.map(piece).collect()
}

/// Joins pieces. `values` returns the values of the cookie with an index. Returns the complete
/// tokens of more than one piece, in the order of the first cookie's values.
pub(crate) fn join<'v, I: Iterator<Item = &'v [u8]>>(
    values: impl Fn(usize) -> I,
) -> Vec<Zeroizing<Vec<u8>>> {
    let first = values(0).filter_map(Piece::read).filter(|piece| piece.index == 0);
    let whole = first.take(MAX).filter_map(|first| {
        let mut token = Zeroizing::new(first.text.to_vec());
        for index in 1..first.count {
            let mut pieces = values(index).filter_map(Piece::read);
            let next = pieces
                .find(|next| (next.tag, next.count, next.index) == (first.tag, first.count, index));
            token.extend_from_slice(next?.text);
        }
        Some(token)
    });
    whole.collect()
}

/// Whether a cookie's value is a piece, and no token by itself.
pub(crate) fn is_piece(value: &[u8]) -> bool {
    value.contains(&b'.')
}

struct Piece<'v> {
    tag: &'v [u8],
    index: usize,
    count: usize,
    text: &'v [u8],
}

impl<'v> Piece<'v> {
    fn read(value: &'v [u8]) -> Option<Self> {
        let mut parts = value.split(|byte| *byte == b'.');
        let tag = parts.next()?;
        let (index, count) = (digit(parts.next()?)?, digit(parts.next()?)?);
        let text = parts.next()?;
        let sound = tag.len() == 8 && (2..=MAX).contains(&count);
        (sound && text.len() <= SIZE && parts.next().is_none()).then_some(Self {
            tag,
            index,
            count,
            text,
        })
    }
}

fn digit(text: &[u8]) -> Option<usize> {
    match text {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

fn str(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Tells the pieces of two tokens apart (FNV-1a). It is neither a secret nor a seal.
fn tag(token: &str) -> u32 {
    token.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Jar = BTreeMap<usize, Vec<String>>;

    /// A token of this length, which begins unlike the others.
    fn token(length: usize) -> String {
        let begin = format!("{length}-");
        begin.chars().chain("abcdefghijklmnopqrstuvwxyz".chars().cycle()).take(length).collect()
    }

    /// What a browser does with a response that writes a token.
    fn write(jar: &mut Jar, token: &str) {
        let values = split(token).expect("it fits");
        for index in 0..MAX {
            match values.get(index) {
                Some(value) => drop(jar.insert(index, vec![value.clone()])),
                None => drop(jar.remove(&index)),
            }
        }
    }

    fn read(jar: &Jar) -> Vec<String> {
        let values = |index| jar.get(&index).into_iter().flatten().map(String::as_bytes);
        let joined = join(values).into_iter();
        let joined = joined.map(|token| String::from_utf8(token.to_vec()).unwrap());
        let whole = jar.get(&0).into_iter().flatten().filter(|value| !is_piece(value.as_bytes()));
        joined.chain(whole.cloned()).collect()
    }

    // Rows: F40, F41.
    #[test]
    fn tokens_of_every_size_come_back_after_any_other() {
        let sizes =
            [1, 124, 3799, 3800, 3801, 3900, 4000, 4100, 7600, 7601, 11_400, 12_000, 15_200];
        for before in sizes {
            for after in sizes {
                let mut jar = Jar::new();
                write(&mut jar, &token(before));
                assert_eq!(read(&jar), [token(before)]);
                write(&mut jar, &token(after));
                assert_eq!(read(&jar), [token(after)], "{before}, then {after}");
                assert_eq!(jar.len(), after.div_ceil(SIZE), "nothing is left behind");
            }
        }
        assert_eq!(split(&token(MAX_TEXT + 1)), None);
        assert_eq!(split("a.b"), None);
    }

    // Rows: F42.
    #[test]
    fn torn_pieces_are_no_token_and_foreign_pieces_hide_none() {
        let (old, new) = (token(9000), token(9001));
        let (old_pieces, new_pieces) = (split(&old).unwrap(), split(&new).unwrap());
        for torn in 0..3 {
            let mut jar: Jar = (0..3).map(|n| (n, vec![new_pieces[n].clone()])).collect();
            jar.insert(torn, vec![old_pieces[torn].clone()]);
            assert_eq!(read(&jar), [""; 0], "piece {torn} of another token");
            jar.insert(torn, vec![old_pieces[torn].clone(), new_pieces[torn].clone()]);
            assert_eq!(read(&jar), [&*new], "and of this one as well");
            jar.remove(&torn);
            assert_eq!(read(&jar), [""; 0], "piece {torn} is missing");
        }
    }

    // Rows: F42.
    #[test]
    fn tokens_that_differ_in_one_letter_have_tags_of_their_own() {
        let letters = || 'a'..='z';
        let tokens = letters().flat_map(|one| letters().map(move |other| format!("{one}-{other}")));
        let tags: BTreeMap<u32, String> = tokens.map(|token| (tag(&token), token)).collect();
        assert_eq!(tags.len(), 26 * 26);
    }

    // Rows: S09, F43.
    #[test]
    fn counts_and_order_prove_nothing_by_themselves() {
        let pieces = split(&token(9000)).unwrap();
        let swapped: Jar =
            [(0, 0), (1, 2), (2, 1)].map(|(n, m)| (n, vec![pieces[m].clone()])).into();
        assert_eq!(read(&swapped), [""; 0]);
        for odd in [
            "aaaaaaaa.0.99999999.text",
            "aaaaaaaa.0.5.text",
            "aaaaaaaa.0.1.text",
            "aaaaaaaa.0.0.text",
            "aaaaaaaa.-1.2.text",
            "aaaaaaaa.0.2.te.xt",
            "aaaaaaaa.0.2",
            "aaaa.0.2.text",
            "...",
            ".",
        ] {
            let jar: Jar = (0..MAX).map(|n| (n, vec![odd.to_owned()])).collect();
            assert_eq!(read(&jar), [""; 0], "{odd}");
        }
        let many: Jar = (0..MAX).map(|n| (n, vec!["aaaaaaaa.0.2.x".to_owned(); 10_000])).collect();
        assert_eq!(read(&many), [""; 0]);
    }
}
