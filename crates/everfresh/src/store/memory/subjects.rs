//! Which sessions somebody has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::store::SessionId;

/// The sessions of each subject. An id stands here before its row does, and goes after it.
#[derive(Default)]
pub(super) struct Subjects(HashMap<Arc<str>, Sessions>);

/// Nearly everybody has one.
enum Sessions {
    One(SessionId),
    #[expect(clippy::box_collection, reason = "half the space where there is one")]
    Many(Box<HashSet<SessionId>>),
}

impl Subjects {
    /// One session more. Gives the subject as it is kept.
    pub(super) fn insert(&mut self, subject: &str, sid: SessionId) -> Arc<str> {
        let kept = self.0.get_key_value(subject).map(|(kept, _)| kept.clone());
        let subject = kept.unwrap_or_else(|| subject.into());
        let sessions = self.0.entry(subject.clone());
        sessions.and_modify(|many| many.insert(sid)).or_insert(Sessions::One(sid));
        subject
    }

    pub(super) fn remove(&mut self, subject: &str, sid: SessionId) {
        let is_last = match self.0.get_mut(subject) {
            None => false,
            Some(Sessions::One(one)) => *one == sid,
            Some(Sessions::Many(many)) => many.remove(&sid) && many.is_empty(),
        };
        if is_last {
            self.0.remove(subject);
        }
    }

    pub(super) fn of(&self, subject: &str) -> Vec<SessionId> {
        match self.0.get(subject) {
            None => Vec::new(),
            Some(Sessions::One(one)) => vec![*one],
            Some(Sessions::Many(many)) => many.iter().copied().collect(),
        }
    }
}

impl Sessions {
    fn insert(&mut self, sid: SessionId) {
        match self {
            Self::One(one) => *self = Self::Many(Box::new(HashSet::from([*one, sid]))),
            Self::Many(many) => {
                many.insert(sid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_somebodys_sessions_is_there_until_it_is_removed() {
        let [one, two, other] = [1, 2, 3].map(|n| SessionId::from_bytes([n; 16]));
        let mut subjects = Subjects::default();
        assert_eq!(&*subjects.insert("ann", one), "ann");
        subjects.insert("ann", one);
        assert_eq!(subjects.of("ann"), [one]);
        subjects.insert("ann", two);
        subjects.insert("bob", other);
        let mut all = subjects.of("ann");
        all.sort();
        assert_eq!(all, [one, two]);
        subjects.remove("ann", other);
        subjects.remove("ann", one);
        assert_eq!((subjects.of("ann"), subjects.of("bob")), (vec![two], vec![other]));
        subjects.remove("ann", two);
        subjects.remove("bob", one);
        subjects.remove("bob", other);
        assert!(subjects.of("ann").is_empty() && subjects.0.is_empty());
    }
}
