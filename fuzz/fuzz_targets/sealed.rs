//! Sealed tokens, and cookies in several pieces. Complete ones are opened among arbitrary other
//! cookies. A text that was not sealed never opens.

#![no_main]

use everfresh::fuzzing::{join, sealer, split};
use libfuzzer_sys::fuzz_target;

const PLACE: &[u8] = b"session 1";

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    // The values of up to four cookies, grouped by name.
    let strangers: Vec<Vec<Vec<u8>>> = rest
        .split(|byte| *byte == b'\n')
        .take(4)
        .map(|name| name.split(|byte| *byte == b';').map(<[u8]>::to_vec).collect())
        .collect();
    let sealed_by_us = sealer(b"G6Hj5Vt5KX2ZcVFTVKCfpFG9VFUqWWbZ");
    match mode % 3 {
        // Foreign values only.
        0 => {
            for token in join(&strangers) {
                assert!(token.len() <= 4 * 3800);
                assert!(sealed_by_us.open(PLACE, &token).is_err());
            }
            assert!(sealed_by_us.open(PLACE, rest).is_err());
        }
        // Other values around one of our tokens, whose length the input sets.
        1 => {
            let length = rest.iter().take(2).fold(0, |sum, byte| sum * 256 + usize::from(*byte));
            let token: String = ('a'..='z').cycle().take(length).collect();
            let Some(pieces) = split(&token) else {
                assert!(length > 4 * 3800);
                return;
            };
            let mut cookies = strangers;
            cookies.resize(4, Vec::new());
            if pieces.len() == 1 {
                assert_eq!(pieces, [token]);
                return;
            }
            for (values, piece) in cookies.iter_mut().zip(&pieces) {
                // The first position, because the browser sends the cookie with the longer path
                // first.
                values.insert(0, piece.clone().into_bytes());
            }
            let joined = join(&cookies);
            assert!(joined.iter().any(|one| one == token.as_bytes()), "{length} bytes are lost");
        }
        // A sealed text that was changed.
        _ => {
            let (edits, plain) = rest.split_at(rest.len().min(3));
            let mut sealed = sealed_by_us.seal(PLACE, plain).expect("random bytes");
            let opened = sealed_by_us.open(PLACE, &sealed).expect("it was sealed here");
            assert_eq!(opened.as_slice(), plain);
            assert!(sealed_by_us.open(b"session 2", &sealed).is_err());
            if let [high, low, bits] = edits
                && *bits != 0
            {
                let at = usize::from(u16::from_be_bytes([*high, *low])) % sealed.len();
                sealed[at] ^= bits;
                assert!(sealed_by_us.open(PLACE, &sealed).is_err(), "byte {at} does not count");
            }
        }
    }
});
