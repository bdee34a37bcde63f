//! Nodes of the former release beside nodes of this one, on one database: an update node by node,
//! the way back, and forward again.
//!
//! Needs Redis, PostgreSQL and the former release's node, which `cargo xtask former` provides.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use everfresh_tests::cluster::{Backend, Client, Cluster, Tokens};
use everfresh_tests::database::Database;
use futures::future::join_all;
use tokio::time::Instant;

const SERVE: &str = env!("CARGO_BIN_EXE_serve-axum");

/// The reuse interval, which the tests wait for.
const REUSE_INTERVAL: Duration = Duration::from_secs(1);

/// Longer than a node needs to hear of a sign-out, also after its start.
const LIMIT: Duration = Duration::from_secs(20);

/// A session, as its client knows it.
struct Held {
    user: String,
    sid: String,
    generation: u64,
    tokens: Tokens,
}

/// Sessions that go on, and the tokens of those that are over.
#[derive(Default)]
struct Outcome {
    kept: Vec<Held>,
    ended: Vec<Tokens>,
}

/// Two nodes on one database, the client of both, and everything that must outlast an update.
struct Pair {
    cluster: Cluster,
    client: Client,
    former: PathBuf,
    new: PathBuf,
    lasting: Outcome,
    users: AtomicUsize,
}

impl Pair {
    /// Without nodes.
    fn new(backend: Backend) -> Self {
        let built = std::env::var_os("EVERFRESH_FORMER").expect("run `cargo xtask former`");
        let reuse_interval = REUSE_INTERVAL.as_secs().to_string();
        let cluster = Cluster::new(SERVE, backend, &[("REUSE_INTERVAL", &reuse_interval)]);
        let former = cluster.program(Path::new(&built));
        let new = cluster.program(Path::new(SERVE));
        let (client, lasting, users) = (Client::new(), Outcome::default(), AtomicUsize::new(0));
        Self { cluster, client, former, new, lasting, users }
    }

    fn user(&self) -> String {
        format!("user-{}", self.users.fetch_add(1, Ordering::Relaxed))
    }

    async fn sign_in(&self, at: usize, user: &str) -> Held {
        let tokens = self.client.sign_in(self.cluster.node(at), user).await;
        let (sid, generation) = self.accepted(at, &tokens).await;
        Held { user: user.to_owned(), sid, generation, tokens }
    }

    /// A node serves the access token. Returns its session and generation.
    async fn accepted(&self, at: usize, tokens: &Tokens) -> (String, u64) {
        let answer = self.client.me(self.cluster.node(at), &tokens.access_alone()).await.unwrap();
        assert_eq!(answer.status, 200, "node {at}");
        let me = answer.me.unwrap();
        (me.sid, me.generation)
    }

    /// A node rotates the session.
    async fn refreshed(&self, at: usize, held: &mut Held) {
        let (node, began) = (self.cluster.node(at), Instant::now());
        loop {
            let answer = self.client.me(node, &held.tokens.expired()).await.unwrap();
            assert_eq!(answer.status, 200, "node {at}, {}", held.user);
            let me = answer.me.unwrap();
            assert_eq!(me.sid, held.sid, "node {at}");
            held.tokens.take(answer.tokens);
            if me.generation > held.generation {
                assert_eq!(me.generation, held.generation + 1, "node {at}");
                held.generation += 1;
                return;
            }
            // Within the reuse interval after the rotation before, it is an access token only.
            assert!(began.elapsed() < LIMIT, "node {at} does not rotate");
            tokio::time::sleep(REUSE_INTERVAL / 10).await;
        }
    }

    /// A node lists exactly these sessions of a user.
    async fn lists(&self, at: usize, by: &Held, sessions: &[&Held]) {
        let listed = self.client.sessions(self.cluster.node(at), &by.tokens).await.unwrap();
        let mut wanted: Vec<_> = sessions.iter().map(|held| held.sid.clone()).collect();
        wanted.sort();
        assert_eq!((listed.status, listed.sids), (200, wanted), "node {at}");
    }

    /// The session has ended at these nodes. They soon refuse its access token, which they accept
    /// without asking the store until they hear of the end, and they rotate it no more.
    async fn over(&self, at: &[usize], tokens: &Tokens) {
        let began = Instant::now();
        for at in at {
            let (node, access) = (self.cluster.node(*at), tokens.access_alone());
            while self.client.me(node, &access).await.unwrap().status != 401 {
                assert!(began.elapsed() < LIMIT, "node {at} never heard of the end");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        // Afterwards, because a node that is refused by the store knows of the end as well.
        for at in at {
            let refresh = self.client.me(self.cluster.node(*at), &tokens.expired()).await.unwrap();
            assert_eq!(refresh.status, 401, "node {at} refreshed a session that is over");
        }
    }

    /// What one node does, the other one knows.
    async fn each_serves_the_others_sessions(&mut self) {
        let own = &*self;
        let both_ways = [(0, 1), (1, 0)].map(|(a, b)| async move {
            tokio::join!(
                own.signed_in_at_one_and_refreshed_at_the_other(a, b),
                own.reuse_is_found(a, b),
                own.signed_out_at_one_and_refused_at_the_other(a, b),
                own.signed_out_everywhere(a, b),
            )
        });
        for (refreshed, reused, signed_out, everywhere) in join_all(both_ways).await {
            self.lasting.kept.extend(refreshed);
            self.lasting.ended.push(reused);
            for outcome in [signed_out, everywhere] {
                self.lasting.kept.extend(outcome.kept);
                self.lasting.ended.extend(outcome.ended);
            }
        }
    }

    async fn signed_in_at_one_and_refreshed_at_the_other(&self, a: usize, b: usize) -> [Held; 2] {
        let user = self.user();
        let mut first = self.sign_in(a, &user).await;
        self.accepted(b, &first.tokens).await;
        self.lists(b, &first, &[&first]).await;
        self.refreshed(b, &mut first).await;
        self.accepted(a, &first.tokens).await;
        self.refreshed(a, &mut first).await;
        let second = self.sign_in(b, &user).await;
        self.lists(a, &second, &[&first, &second]).await;
        self.lists(b, &first, &[&first, &second]).await;
        [first, second]
    }

    /// Both nodes derive the same successor while a response may be lost, and know when it was
    /// not.
    async fn reuse_is_found(&self, a: usize, b: usize) -> Tokens {
        let user = self.user();
        let mut held = self.sign_in(a, &user).await;
        let rotated = held.tokens.expired();
        self.refreshed(b, &mut held).await;
        tokio::time::sleep(REUSE_INTERVAL + REUSE_INTERVAL / 10).await;
        let again = self.client.me(self.cluster.node(a), &rotated).await.unwrap();
        assert_eq!(again.status, 200, "a lost response signed a user out");
        assert!(again.tokens.refresh == held.tokens.refresh, "the successors differ");
        // Shown at one node, so confirmed in the store, soon.
        self.accepted(a, &held.tokens).await;
        let began = Instant::now();
        while self.client.me(self.cluster.node(b), &rotated).await.unwrap().status != 401 {
            assert!(began.elapsed() < LIMIT, "node {b} does not know that node {a} confirmed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.over(&[a, b], &held.tokens).await;
        held.tokens
    }

    async fn signed_out_at_one_and_refused_at_the_other(&self, a: usize, b: usize) -> Outcome {
        let user = self.user();
        let (out, named) = (self.sign_in(a, &user).await, self.sign_in(a, &user).await);
        let stays = self.sign_in(b, &user).await;
        for held in [&out, &named, &stays] {
            self.accepted(b, &held.tokens).await;
            self.accepted(a, &held.tokens).await;
        }
        let node = self.cluster.node(b);
        assert_eq!(self.client.sign_out(node, &out.tokens).await.unwrap().status, 204);
        self.over(&[a, b], &out.tokens).await;
        let end = self.client.end(node, &stays.tokens, &named.sid).await.unwrap();
        assert_eq!(end.status, 204);
        self.over(&[a, b], &named.tokens).await;
        self.lists(a, &stays, &[&stays]).await;
        Outcome { kept: vec![stays], ended: vec![out.tokens, named.tokens] }
    }

    async fn signed_out_everywhere(&self, a: usize, b: usize) -> Outcome {
        let user = self.user();
        let mut sessions = Vec::new();
        for at in [a, b, a] {
            sessions.push(self.sign_in(at, &user).await);
        }
        let (node, by) = (self.cluster.node(b), &sessions[0].tokens);
        assert_eq!(self.client.sign_out_everywhere(node, by).await.unwrap().status, 204);
        for held in &sessions {
            self.over(&[a, b], &held.tokens).await;
        }
        let again = self.sign_in(a, &user).await;
        self.lists(b, &again, &[&again]).await;
        let ended = sessions.into_iter().map(|held| held.tokens).collect();
        Outcome { kept: vec![again], ended }
    }

    /// Stops a node and starts another program in its place. Sign-ins and sign-outs happen in the
    /// meantime. Afterwards both nodes know every session, and every end.
    async fn update(&mut self, n: usize, to: &Path) {
        let other = 1 - n;
        let (user, leaver, leaves) = (self.user(), self.user(), self.user());
        let out = self.sign_in(n, &leaver).await;
        let everywhere = self.sign_in(n, &leaves).await;
        let mut stays = self.sign_in(n, &user).await;
        self.cluster.stop(n);
        let node = self.cluster.node(other);
        assert_eq!(self.client.sign_out(node, &out.tokens).await.unwrap().status, 204);
        let answer = self.client.sign_out_everywhere(node, &everywhere.tokens).await.unwrap();
        assert_eq!(answer.status, 204);
        let meanwhile = self.sign_in(other, &user).await;
        self.refreshed(other, &mut stays).await;
        self.cluster.update(n, to);
        self.lists(n, &stays, &[&stays, &meanwhile]).await;
        self.lasting.ended.extend([out.tokens, everywhere.tokens]);
        self.lasting.kept.extend([stays, meanwhile]);
        self.nothing_is_lost().await;
    }

    /// Each session that was kept goes on at both nodes; each that ended stays over.
    async fn nothing_is_lost(&mut self) {
        let mut kept = std::mem::take(&mut self.lasting.kept);
        for (n, held) in kept.iter_mut().enumerate() {
            self.refreshed(n % 2, held).await;
            self.accepted((n + 1) % 2, &held.tokens).await;
        }
        self.lasting.kept = kept;
        for tokens in &self.lasting.ended {
            self.over(&[0, 1], tokens).await;
        }
    }
}

/// The former release alone, then both, a former node that starts again on the changed database,
/// the former release alone, and this release alone.
async fn an_update_goes_forward_back_and_forward(backend: Backend) {
    let mut pair = Pair::new(backend);
    let (former, new) = (pair.former.clone(), pair.new.clone());
    for _ in 0..2 {
        pair.cluster.add_as(&former);
    }
    pair.each_serves_the_others_sessions().await;
    for (node, program) in [(1, &new), (0, &former), (1, &former), (0, &new), (1, &new)] {
        pair.update(node, program).await;
        pair.each_serves_the_others_sessions().await;
    }
}

/// The former release joins a database that this release made, and has it alone in the end.
async fn the_former_release_joins(backend: Backend) {
    let mut pair = Pair::new(backend);
    let (former, new) = (pair.former.clone(), pair.new.clone());
    for program in [&new, &former] {
        pair.cluster.add_as(program);
    }
    pair.each_serves_the_others_sessions().await;
    for (node, program) in [(0, &former), (0, &new)] {
        pair.update(node, program).await;
        pair.each_serves_the_others_sessions().await;
    }
}

macro_rules! over {
    ($store:ident, $backend:expr) => {
        mod $store {
            use super::*;

            // Rows: S46.
            #[tokio::test(flavor = "multi_thread")]
            async fn an_update_goes_forward_back_and_forward() {
                super::an_update_goes_forward_back_and_forward($backend).await;
            }

            // Rows: S46.
            #[tokio::test(flavor = "multi_thread")]
            async fn the_former_release_joins() {
                super::the_former_release_joins($backend).await;
            }
        }
    };
}

over!(sqlite, Backend::Sqlite);
over!(redis, Backend::Server(Database::redis()));
over!(postgres, Backend::Server(Database::postgres()));
