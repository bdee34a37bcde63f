//! What a node reads from PostgreSQL, and where it goes on.

use super::server::{Server, Snapshot, Transaction};
use super::{Anew, Feed, Reading};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// The last poll. `None`: the node starts.
    cursor: Option<Cursor>,
    /// The node reads pages.
    paging: Option<Paging>,
    /// The ends that were read, one bit each.
    pub(super) heard: u8,
    /// A poll that was caught up left out an end that was committed.
    pub(super) late: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cursor {
    snapshot: Snapshot,
    number: u8,
    at: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Paging {
    /// The transaction of the last end that was read.
    after: u8,
    /// The cursor to go on from.
    next: Option<Cursor>,
}

impl Feed {
    /// One poll, or one page.
    pub(super) fn poll(&self, server: &Server, node: &mut Node) {
        let Some(paging) = &mut node.paging else {
            let Some(cursor) = &node.cursor else { return self.page_from(server, node, 0) };
            let now = server.snapshot(self.primary);
            let last = &cursor.snapshot;
            let anew = match self.anew {
                Anew::Never => false,
                Anew::LowerXmax => now.xmax < last.xmax,
                Anew::Timeline => now.timeline != last.timeline,
                Anew::Started => now.started != last.started,
                Anew::Recovered => now.recovered != last.recovered,
            };
            if anew {
                return self.page_from(server, node, 0);
            }
            let ended: Vec<usize> = server.visible(|end| self.is_new(end, cursor, &now)).collect();
            if ended.len() > self.page {
                let first = if self.pages_from_xmin { last.xmin } else { last.xmax };
                return self.page_from(server, node, first - 1);
            }
            node.heard |= ended.iter().fold(0, |heard, end| heard | 1 << end);
            let cursor = cursor.clone();
            node.cursor = Some(self.cursor(server, Some(&cursor)));
            node.late |=
                self.prompt && server.visible(|_| true).any(|end| node.heard >> end & 1 == 0);
            return;
        };
        let mut page: Vec<usize> = server.visible(|end| end.xid > paging.after).collect();
        page.sort_unstable_by_key(|end| server.ends[*end].xid);
        let caught_up = page.len() < self.page;
        page.truncate(self.page);
        node.heard |= page.iter().fold(0, |heard, end| heard | 1 << end);
        paging.after = page.last().map_or(paging.after, |end| server.ends[*end].xid);
        if caught_up {
            let next = paging.next.take();
            node.cursor = Some(next.unwrap_or_else(|| self.cursor(server, node.cursor.as_ref())));
            node.paging = None;
        }
    }

    /// Begins to read pages of what follows that transaction.
    fn page_from(&self, server: &Server, node: &mut Node, after: u8) {
        let next = self.snapshot_first.then(|| self.cursor(server, node.cursor.as_ref()));
        node.paging = Some(Paging { after, next });
    }

    /// The position of a node that has read what is visible now.
    fn cursor(&self, server: &Server, last: Option<&Cursor>) -> Cursor {
        let numbers = server.visible(|_| true).map(|end| server.ends[end].number);
        let number = numbers.max().unwrap_or(0).max(last.map_or(0, |last| last.number));
        let mut cursor =
            Cursor { snapshot: server.snapshot(self.primary), number, at: server.clock };
        // What this way of reading does not look at must not tell states apart.
        if self.reading != Reading::Number {
            cursor.number = 0;
        }
        if !matches!(self.reading, Reading::Time(_)) {
            cursor.at = 0;
        }
        cursor
    }

    fn is_new(&self, end: &Transaction, last: &Cursor, now: &Snapshot) -> bool {
        let Cursor { snapshot, number, at } = last;
        let in_progress = snapshot.in_progress >> end.xid & 1 == 1;
        match self.reading {
            Reading::Number => end.number > *number,
            Reading::Time(back) => end.at + back >= *at,
            Reading::BelowXmin => (snapshot.xmin..now.xmin).contains(&end.xid),
            Reading::FromXmin => end.xid >= snapshot.xmin,
            Reading::Difference => end.xid >= snapshot.xmax || in_progress,
            Reading::OnlyFromXmax => end.xid >= snapshot.xmax,
            Reading::OnlyInProgress => in_progress,
        }
    }
}
