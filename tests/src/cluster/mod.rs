//! Several nodes over one store, as separate processes; clients that choose a node; and ways to
//! stop a node at a given step.

mod client;
mod gate;
mod history;
mod provider;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use everfresh::SessionId;
use everfresh::store::{SessionRecord, UpstreamTokenStore};
use futures::future::BoxFuture;
use rustix::process::Signal;

pub use client::{Answer, Client, Tokens};
pub use gate::{Gate, Way};
pub use history::{Call, History, Operation, Outcome};
pub use provider::{Provider, Step};

use crate::database::Database;
use crate::process::{Running, Workplace};
use crate::store::{Store, UseStore};

/// The signing secret of all nodes.
const SECRET: &str = "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";

/// The store of a cluster.
#[derive(Debug)]
pub enum Backend {
    /// A file next to the nodes.
    Sqlite,
    /// A server for this cluster alone.
    Server(Database),
}

/// Nodes over one store.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    settings: Vec<(String, String)>,
    program: PathBuf,
    // Dropped after the nodes.
    workplace: Workplace,
    /// The store of all nodes.
    pub backend: Backend,
}

/// One process.
#[derive(Debug)]
struct Node {
    process: Running,
    address: SocketAddr,
    program: PathBuf,
    store: String,
}

impl Cluster {
    /// A cluster without nodes. `built`: the program of a contract server; `settings`: its
    /// environment, except for the store and the secret.
    pub fn new(built: &str, backend: Backend, settings: &[(&str, &str)]) -> Self {
        let workplace = Workplace::new().expect("a folder");
        let program = workplace.program(Path::new(built)).expect("a copy");
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self { nodes: Vec::new(), settings: settings.collect(), program, workplace, backend }
    }

    /// A cluster with the given number of nodes.
    pub fn of(nodes: usize, built: &str, backend: Backend, settings: &[(&str, &str)]) -> Self {
        let mut cluster = Self::new(built, backend, settings);
        for _ in 0..nodes {
            cluster.add(None);
        }
        cluster
    }

    /// Adds a node, which reaches a server's store through `proxy` if there is one. Returns its
    /// number.
    pub fn add(&mut self, proxy: Option<SocketAddr>) -> usize {
        self.push(self.program.clone(), proxy)
    }

    /// Adds a node that runs another program. Returns its number.
    pub fn add_as(&mut self, program: &Path) -> usize {
        self.push(program.to_owned(), None)
    }

    fn push(&mut self, program: PathBuf, proxy: Option<SocketAddr>) -> usize {
        let store = match (&self.backend, proxy) {
            (Backend::Sqlite, _) => "sqlite:sessions.db".to_owned(),
            (Backend::Server(database), None) => database.url(),
            (Backend::Server(database), Some(proxy)) => database.url_by(proxy),
        };
        let node = self.start(program, store);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn start(&self, program: PathBuf, store: String) -> Node {
        let mut command = self.workplace.command(&program);
        command.envs([("PORT", "0"), ("SECRET", SECRET), ("STORE", &store)]);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let mut process = Running::start(command).expect("a process");
        let address = process.wait_for("listening on http://").parse().expect("an address");
        Node { process, address, program, store }
    }

    /// The address of a node.
    pub fn node(&self, n: usize) -> SocketAddr {
        self.nodes[n].address
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// `kill -9`, and a new process under the same number.
    pub fn restart(&mut self, n: usize) {
        self.kill(n);
        self.nodes[n] = self.start(self.nodes[n].program.clone(), self.nodes[n].store.clone());
    }

    /// Copies another program for [`add_as`](Self::add_as) and [`update`](Self::update).
    pub fn program(&self, built: &Path) -> PathBuf {
        self.workplace.program(built).expect("a copy")
    }

    /// Asks a node to end, and waits until it has ended. The number stays.
    pub fn stop(&mut self, n: usize) {
        let process = &mut self.nodes[n].process;
        process.signal(Signal::TERM);
        let status = process.wait().expect("it ends");
        assert!(status.success(), "{status}: {}", process.stderr());
    }

    /// Starts a node that was stopped, with this program.
    pub fn update(&mut self, n: usize, program: &Path) {
        self.nodes[n] = self.start(program.to_owned(), self.nodes[n].store.clone());
    }

    /// `kill -9`. The number stays.
    pub fn kill(&mut self, n: usize) {
        let process = &mut self.nodes[n].process;
        process.signal(Signal::KILL);
        process.wait().expect("it ends");
    }

    /// Pauses a node.
    pub fn pause(&self, n: usize) {
        self.nodes[n].process.signal(Signal::STOP);
    }

    /// Continues a node.
    pub fn go_on(&self, n: usize) {
        self.nodes[n].process.signal(Signal::CONT);
    }

    /// The file of the sessions.
    pub fn file(&self) -> PathBuf {
        self.workplace.path().join("sessions.db")
    }

    /// Opens the store for the tests.
    pub fn store(&self) -> Store {
        match &self.backend {
            Backend::Sqlite => Store::Sqlite(self.file()),
            Backend::Server(database) => Store::read(&database.url()).expect("an address"),
        }
    }

    /// The rows of these sessions, read without a node.
    pub async fn rows(&self, sids: &[SessionId]) -> Vec<Option<SessionRecord>> {
        let loading = self.store().open(Load(sids.to_vec())).await.expect("the store");
        loading.await
    }
}

/// A session's id, from the text in `GET /me`.
pub fn sid(text: &str) -> SessionId {
    SessionId::parse(text).expect("an id")
}

struct Load(Vec<SessionId>);

impl UseStore for Load {
    type Output = BoxFuture<'static, Vec<Option<SessionRecord>>>;

    fn use_store(self, store: impl UpstreamTokenStore + Clone) -> Self::Output {
        Box::pin(async move {
            let mut rows = Vec::new();
            for sid in self.0 {
                let loaded = store.load(sid).await.expect("an answer");
                rows.push(loaded.map(|loaded| loaded.record));
            }
            rows
        })
    }
}

/// A number from the environment, for longer runs than a test's short form.
pub fn figure(name: &str, short: usize) -> usize {
    std::env::var(name).map_or(short, |number| number.parse().expect("a whole number"))
}

/// The value below which the given percentage lies. `sorted` must be sorted.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or_default()
}
