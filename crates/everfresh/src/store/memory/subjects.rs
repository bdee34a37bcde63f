//! The sessions of each subject.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::store::SessionId;

/// The sessions of each subject. An id is inserted here before its row, and removed after it.
#[derive(Default)]
pub(super) struct Subjects(HashMap<Arc<str>, Sessions>);

/// When a session began, and its id.
pub(super) type Entry = (Timestamp, SessionId);

/// The sessions of one subject: most have one.
enum Sessions {
    One(Entry),
    #[expect(clippy::box_collection, reason = "half the space where there is one")]
    Many(Box<BTreeSet<Entry>>),
}

impl Subjects {
    /// Adds a session. Returns the shared subject.
    pub(super) fn insert(&mut self, subject: &str, entry: Entry) -> Arc<str> {
        let kept = self.0.get_key_value(subject).map(|(kept, _)| kept.clone());
        let subject = kept.unwrap_or_else(|| subject.into());
        let sessions = self.0.entry(subject.clone());
        sessions.and_modify(|many| many.insert(entry)).or_insert(Sessions::One(entry));
        subject
    }

    pub(super) fn remove(&mut self, subject: &str, entry: Entry) {
        let is_last = match self.0.get_mut(subject) {
            None => false,
            Some(Sessions::One(one)) => *one == entry,
            Some(Sessions::Many(many)) => many.remove(&entry) && many.is_empty(),
        };
        if is_last {
            self.0.remove(subject);
        }
    }

    /// Returns up to `count` sessions of a subject that began before `that` (`None`: the latest),
    /// the latest first.
    pub(super) fn before(&self, subject: &str, that: Option<Entry>, count: usize) -> Vec<Entry> {
        let is_before = |entry: &Entry| that.is_none_or(|that| *entry < that);
        match (self.0.get(subject), that) {
            (None, _) => Vec::new(),
            (Some(Sessions::One(one)), _) => Some(*one).filter(is_before).into_iter().collect(),
            (Some(Sessions::Many(many)), None) => many.iter().rev().take(count).copied().collect(),
            (Some(Sessions::Many(many)), Some(that)) => {
                many.range(..that).rev().take(count).copied().collect()
            }
        }
    }
}

impl Sessions {
    fn insert(&mut self, entry: Entry) {
        match self {
            Self::One(one) => *self = Self::Many(Box::new(BTreeSet::from([*one, entry]))),
            Self::Many(many) => {
                many.insert(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> Entry {
        (Timestamp::from_secs(n.into()), SessionId::from_bytes([n; 16]))
    }

    #[test]
    fn each_session_of_a_subject_is_listed_until_it_is_removed() {
        let [one, two, other] = [1, 2, 3].map(entry);
        let mut subjects = Subjects::default();
        let of = |subjects: &Subjects, subject: &str| subjects.before(subject, None, 9);
        assert_eq!(&*subjects.insert("ann", one), "ann");
        subjects.insert("ann", one);
        assert_eq!(of(&subjects, "ann"), [one]);
        subjects.insert("ann", two);
        subjects.insert("bob", other);
        assert_eq!(of(&subjects, "ann"), [two, one], "the latest first");
        subjects.remove("ann", other);
        subjects.remove("ann", one);
        assert_eq!((of(&subjects, "ann"), of(&subjects, "bob")), (vec![two], vec![other]));
        subjects.remove("ann", two);
        subjects.remove("bob", one);
        subjects.remove("bob", other);
        assert!(of(&subjects, "ann").is_empty() && subjects.0.is_empty());
    }

    #[test]
    fn ends_are_read_page_by_page() {
        let mut subjects = Subjects::default();
        for n in 1..=5 {
            subjects.insert("ann", entry(n));
        }
        assert_eq!(subjects.before("ann", None, 2), [entry(5), entry(4)]);
        assert_eq!(subjects.before("ann", Some(entry(4)), 2), [entry(3), entry(2)]);
        assert_eq!(subjects.before("ann", Some(entry(2)), 2), [entry(1)]);
        assert!(subjects.before("ann", Some(entry(1)), 2).is_empty());
        subjects.insert("bob", entry(3));
        assert_eq!(subjects.before("bob", Some(entry(4)), 2), [entry(3)]);
        assert!(subjects.before("bob", Some(entry(3)), 2).is_empty());
    }
}
