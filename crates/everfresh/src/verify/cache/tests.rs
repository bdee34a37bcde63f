//! Each reason to drop an entry, and the behaviour of a full table.

use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1000);
const KEYS: u64 = 7;

/// The contents of a token of `subject` that is valid for the given number of seconds.
fn verified(subject: &str, secs: u64) -> Arc<Verified<()>> {
    Arc::new(Verified {
        claims: Ok(Arc::new(())),
        subject: Some(subject.into()),
        sid: "s1".into(),
        auth_time: None,
        issued: None,
        valid_from: NOW.minus(Duration::from_secs(10)),
        expires: NOW.plus(Duration::from_secs(secs)),
        session_expires: None,
        persistent: true,
        generation: None,
        fingerprint: 0,
        reported: Default::default(),
    })
}

fn token(n: u64) -> String {
    let end = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("eyJ0eXAiOiJhdCtqd3QifQ.eyJzdWIiOiJhbGljZSJ9.{n:022x}{end:021x}")
}

impl Cache<()> {
    /// The owner of the token, from the table.
    fn owner(&self, token: &str, keys: u64, now: Timestamp) -> Option<String> {
        let found = self.find(token.as_bytes(), keys, now)?;
        Some(found.subject.as_deref().unwrap().into())
    }

    fn keep(&self, token: &str, subject: &str, secs: u64) {
        self.insert(token.as_bytes(), KEYS, &verified(subject, secs));
    }

    fn count(&self) -> usize {
        let slots = self.sets.iter().flat_map(|set| &set.slots);
        slots.filter(|slot| slot.load().is_some()).count()
    }
}

#[test]
fn a_token_is_found_only_byte_for_byte() {
    let cache = Cache::new(64);
    let token = token(1);
    cache.keep(&token, "alice", 60);
    assert_eq!(cache.owner(&token, KEYS, NOW).as_deref(), Some("alice"));
    for at in 0..token.len() {
        let mut tampered = token.clone().into_bytes();
        tampered[at] ^= 1;
        assert!(cache.find(&tampered, KEYS, NOW).is_none(), "byte {at}");
    }
    for end in 0..token.len() {
        assert!(cache.find(&token.as_bytes()[..end], KEYS, NOW).is_none());
        assert!(cache.find(&token.as_bytes()[token.len() - end..], KEYS, NOW).is_none());
    }
    let longer = format!("x{token}");
    assert!(cache.find(longer.as_bytes(), KEYS, NOW).is_none(), "its end is the same");
    assert_eq!(cache.owner(&token, KEYS, NOW).as_deref(), Some("alice"), "it was left alone");
}

// Rows: S32.
#[test]
fn an_entry_dies_at_its_very_expiry() {
    let cache = Cache::new(64);
    let (token, before, at) = (token(1), Duration::from_millis(59_999), Duration::from_secs(60));
    cache.keep(&token, "alice", 60);
    assert!(cache.owner(&token, KEYS, NOW.plus(before)).is_some());
    assert!(cache.owner(&token, KEYS, NOW.plus(at)).is_none());
    assert!(cache.owner(&token, KEYS, NOW).is_none(), "and does not come back");
    assert_eq!(cache.count(), 0);
}

// Rows: S32.
#[test]
fn an_entry_dies_when_the_keys_change() {
    let cache = Cache::new(64);
    cache.keep(&token(1), "alice", 60);
    assert!(cache.owner(&token(1), KEYS + 1, NOW).is_none());
    assert_eq!(cache.count(), 0);
}

#[test]
fn an_entry_does_not_count_before_its_nbf() {
    let cache = Cache::new(64);
    cache.keep(&token(1), "alice", 60);
    let first = NOW.minus(Duration::from_secs(10));
    assert!(cache.owner(&token(1), KEYS, first).is_some());
    assert!(cache.owner(&token(1), KEYS, first.minus(Duration::from_millis(1))).is_none());
}

#[test]
fn a_forgotten_session_has_no_result() {
    let cache = Cache::new(64);
    cache.keep(&token(1), "alice", 60);
    cache.keep(&token(2), "bob", 60);
    cache.forget(token(1).as_bytes());
    assert!(cache.owner(&token(1), KEYS, NOW).is_none());
    assert_eq!(cache.owner(&token(2), KEYS, NOW).as_deref(), Some("bob"));
}

// Rows: S32.
#[test]
fn a_flood_of_entries_stays_within_the_bound() {
    let cache = Cache::new(256);
    for n in 0..10_000 {
        cache.keep(&token(n), &format!("user-{n}"), 60 + n);
        assert_eq!(cache.owner(&token(n), KEYS, NOW).unwrap(), format!("user-{n}"));
    }
    assert_eq!(cache.count(), 256);
    let known = (0..10_000).filter(|n| cache.owner(&token(*n), KEYS, NOW).is_some()).count();
    assert_eq!(known, 256, "and each of them is found");
}

#[test]
fn expired_entries_are_dropped_before_the_next_to_expire() {
    let cache = Cache::new(8);
    for n in 1..=8 {
        cache.keep(&token(n), "early", 100 * n);
    }
    cache.keep(&token(9), "late", 5000);
    assert!(cache.owner(&token(1), KEYS, NOW).is_none());
    assert!((2..=9).all(|n| cache.owner(&token(n), KEYS, NOW).is_some()));

    cache.insert(token(9).as_bytes(), KEYS - 1, &verified("late", 5000));
    cache.keep(&token(10), "later", 50);
    assert!((2..=8).all(|n| cache.owner(&token(n), KEYS, NOW).is_some()), "others stay");
    assert!(cache.owner(&token(10), KEYS, NOW).is_some(), "in the place of former keys' token");
}

#[test]
fn one_token_is_sent_in_one_place() {
    let cache = Cache::new(8);
    for secs in 1..100 {
        cache.keep(&token(1), "alice", secs);
    }
    assert_eq!(cache.count(), 1);
    assert!(cache.owner(&token(1), KEYS, NOW.plus(Duration::from_secs(98))).is_some());
}

#[test]
fn every_bit_of_a_tokens_end_counts_for_its_place() {
    let cache = Cache::<()>::new(8);
    let end = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834_u128;
    for bit in 0..u128::BITS {
        assert_ne!(cache.hash(end ^ (1 << bit)), cache.hash(end), "bit {bit}");
    }
    // Both halves of the product count: 2^63 times 2, and 2 times 3.
    let plain = Cache::<()> { secret: [0, 0], sets: Box::default() };
    assert_eq!(plain.hash(2 << 64 | 1 << 63), 1);
    assert_eq!(plain.hash(3 << 64 | 2), 6);
    assert_ne!(Cache::<()>::new(8).hash(end), cache.hash(end), "no client can foresee it");
}

#[test]
fn without_entries_the_cache_is_off() {
    for entries in [0, 7] {
        let cache = Cache::new(entries);
        cache.keep(&token(1), "alice", 60);
        cache.forget(token(1).as_bytes());
        assert!(cache.owner(&token(1), KEYS, NOW).is_none());
    }
}

#[test]
fn short_tokens_are_no_trouble() {
    let cache = Cache::new(8);
    for short in ["", "a", "a.b.c"] {
        cache.keep(short, "alice", 60);
        assert!(cache.owner(short, KEYS, NOW).is_some());
    }
}

#[test]
fn many_threads_in_few_places_never_mix_tokens_up() {
    let cache = Cache::new(16);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..20_000_u64 {
                    let n = (round * 31 + thread) % 40;
                    if round % 3 == 0 {
                        cache.keep(&token(n), &n.to_string(), 60 + n);
                    }
                    if round % 97 == 0 {
                        cache.forget(token(n).as_bytes());
                    }
                    if let Some(owner) = cache.owner(&token(n), KEYS, NOW) {
                        assert_eq!(owner, n.to_string());
                    }
                }
            });
        }
    });
    assert!(cache.count() <= 16);
}
