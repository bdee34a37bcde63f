//! The store suite on the store in memory.

use std::time::Duration;

use everfresh::{ManualClock, MemoryStore, Timestamp};
use everfresh_testkit::store::Harness;

struct Memory {
    store: MemoryStore,
    clock: ManualClock,
}

impl Harness for Memory {
    type Store = MemoryStore;

    async fn open() -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
        Self { store: MemoryStore::new().clock(clock.clone()), clock }
    }

    fn store(&self) -> &MemoryStore {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

everfresh_testkit::store_suite!(Memory);
everfresh_testkit::upstream_suite!(Memory);
everfresh_testkit::feed_suite!(Memory);
