//! PostgreSQL, as far as the feed depends on it: transactions, snapshots, and what a loss leaves.

/// How a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Waiting,
    Open,
    Committed,
    /// It was rolled back, or a loss took it.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transaction {
    pub(super) outcome: Outcome,
    /// Its id.
    pub(super) xid: u8,
    /// The sequence's number of its end.
    pub(super) number: u8,
    /// The time of its end, by the server's clock.
    pub(super) at: u8,
    /// The tick of its insert.
    begun: u8,
}

/// `pg_current_snapshot()`, and which server took it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Snapshot {
    /// The oldest transaction that is open.
    pub(super) xmin: u8,
    /// One more than the last transaction that has ended.
    pub(super) xmax: u8,
    /// The open transactions below `xmax`, one bit each.
    pub(super) in_progress: u16,
    /// `pg_postmaster_start_time()`.
    pub(super) started: u8,
    pub(super) timeline: u8,
    /// `pg_stat_get_bgwriter_stat_reset_time()`.
    pub(super) recovered: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) ends: Vec<Transaction>,
    /// Another application's transaction.
    pub(super) foreign: Transaction,
    /// The transactions that have ended, in that order, if the server may lose them.
    log: Option<Vec<u8>>,
    pub(super) clock: u8,
    pub(super) ticks: u8,
    next_xid: u8,
    next_number: u8,
    xmax: u8,
    started: u8,
    timeline: u8,
    recovered: u8,
}

const WAITING: Transaction =
    Transaction { outcome: Outcome::Waiting, xid: 0, number: 0, at: 0, begun: 0 };

impl Server {
    pub(super) fn new(ends: usize, clock: u8, logs: bool) -> Self {
        Self {
            ends: vec![WAITING; ends],
            foreign: WAITING,
            log: logs.then(Vec::new),
            clock,
            ticks: 0,
            next_xid: 1,
            next_number: 1,
            xmax: 1,
            started: 0,
            timeline: 0,
            recovered: 0,
        }
    }

    /// The ends of committed transactions that match.
    pub(super) fn visible(
        &self,
        matches: impl Fn(&Transaction) -> bool,
    ) -> impl Iterator<Item = usize> {
        let ends = self.ends.iter().enumerate();
        let ends = ends.filter(move |(_, end)| end.outcome == Outcome::Committed && matches(end));
        ends.map(|(at, _)| at)
    }

    /// How many of the last transactions may be lost, at most; `None` once some were.
    pub(super) fn losable(&self) -> Option<usize> {
        self.log.as_ref().map(Vec::len)
    }

    /// How many transactions are open, another application's aside.
    pub(super) fn open(&self) -> usize {
        self.ends.iter().filter(|end| end.outcome == Outcome::Open).count()
    }

    /// Whether time may pass although each commit follows its insert within so many ticks.
    pub(super) fn may_wait(&self, commit: u8) -> bool {
        let mut open = self.ends.iter().filter(|end| end.outcome == Outcome::Open);
        open.all(|end| self.ticks < end.begun + commit)
    }

    pub(super) fn insert(&mut self, end: usize) {
        let (xid, number) = (self.next_xid, self.next_number);
        self.ends[end] =
            Transaction { outcome: Outcome::Open, xid, number, at: self.clock, begun: self.ticks };
        self.next_xid += 1;
        self.next_number += 1;
    }

    pub(super) fn finish(&mut self, end: usize, outcome: Outcome) {
        self.ends[end].outcome = outcome;
        self.ended(self.ends[end].xid);
    }

    pub(super) fn begin_foreign(&mut self) {
        self.foreign = Transaction { outcome: Outcome::Open, xid: self.next_xid, ..WAITING };
        self.next_xid += 1;
    }

    pub(super) fn end_foreign(&mut self) {
        self.foreign.outcome = Outcome::Gone;
        self.ended(self.foreign.xid);
    }

    fn ended(&mut self, xid: u8) {
        if let Some(log) = &mut self.log {
            log.push(xid);
        }
        self.xmax = self.xmax.max(xid + 1);
    }

    /// Rolls back what is open.
    pub(super) fn finish_all(&mut self) {
        for end in 0..self.ends.len() {
            if self.ends[end].outcome == Outcome::Open {
                self.finish(end, Outcome::Gone);
            }
        }
        if self.foreign.outcome == Outcome::Open {
            self.end_foreign();
        }
    }

    /// How many of the last transactions to end rolled back.
    pub(super) fn rolled_back_last(&self) -> usize {
        let commits: Vec<u8> = self.visible(|_| true).map(|end| self.ends[end].xid).collect();
        let log = self.log.iter().flatten().rev();
        log.take_while(|xid| !commits.contains(xid)).count()
    }

    /// The server lacks the last transactions from now on; what was open is rolled back.
    /// `started`: it was started again. `promoted`: it was a standby.
    pub(super) fn lose(&mut self, lost: usize, started: bool, promoted: bool) {
        let mut log = self.log.take().unwrap_or_default();
        let lost = log.split_off(log.len() - lost);
        for end in self.ends.iter_mut().chain([&mut self.foreign]) {
            let was_lost = end.outcome == Outcome::Committed && lost.contains(&end.xid);
            if was_lost || end.outcome == Outcome::Open {
                end.outcome = Outcome::Gone;
            }
        }
        self.next_xid = log.iter().max().map_or(1, |xid| xid + 1);
        self.xmax = self.next_xid;
        self.recovered += 1;
        self.started += u8::from(started);
        self.timeline += u8::from(promoted);
    }

    /// A standby's snapshot lists no transaction in progress.
    pub(super) fn snapshot(&self, primary: bool) -> Snapshot {
        let all = self.ends.iter().chain([&self.foreign]);
        let open = all.filter(|end| end.outcome == Outcome::Open && end.xid < self.xmax);
        let in_progress: u16 = open.fold(0, |open, end| open | 1 << end.xid);
        let oldest = in_progress.trailing_zeros().min(u32::from(self.xmax)) as u8;
        let (xmin, in_progress) = if primary { (oldest, in_progress) } else { (self.xmax, 0) };
        let Self { xmax, started, timeline, recovered, .. } = *self;
        Snapshot { xmin, xmax, in_progress, started, timeline, recovered }
    }
}
