//! Redis and PostgreSQL for tests: real servers on free ports, with data of their own.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Running, Workplace};

/// How often a start is tried after a crash.
const TRIES: u32 = 100;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A server on 127.0.0.1. It stops and its data is removed when this is dropped or the process
/// ends.
#[derive(Debug)]
pub struct Database {
    kind: Kind,
    port: u16,
    // Dropped before its folder.
    running: Mutex<Option<Running>>,
    workplace: Workplace,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Redis,
    RedisCluster,
    Postgres,
}

impl Database {
    /// A Redis that logs every change before it answers. `REDIS_SERVER` names another program, such
    /// as `valkey-server`.
    pub fn redis() -> Self {
        Self::start(Kind::Redis)
    }

    /// A Redis that is the only node of a cluster and has all its slots. It refuses commands that
    /// touch two slots, as a larger cluster does.
    pub fn redis_cluster() -> Self {
        let database = Self::start(Kind::RedisCluster);
        database.tell("CLUSTER ADDSLOTSRANGE 0 16383", "+OK");
        database.tell("CLUSTER INFO", "cluster_state:ok");
        database
    }

    /// Sends a line to Redis until the answer contains `wanted`.
    fn tell(&self, line: &str, wanted: &str) {
        let connection = TcpStream::connect(self.address()).expect("a server");
        let mut answers = BufReader::new(&connection);
        for _ in 0..TRIES {
            (&connection).write_all(format!("{line}\r\n").as_bytes()).expect("it listens");
            let mut answer = answers.fill_buf().expect("it answers").to_vec();
            answers.consume(answer.len());
            answer.retain(u8::is_ascii);
            if String::from_utf8_lossy(&answer).contains(wanted) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("{line}: no {wanted}");
    }

    /// A PostgreSQL with default settings.
    pub fn postgres() -> Self {
        Self::start(Kind::Postgres)
    }

    /// One Redis for all tests of this process. Each test uses its own prefix.
    pub fn shared_redis() -> &'static Self {
        static SHARED: OnceLock<Database> = OnceLock::new();
        SHARED.get_or_init(Self::redis)
    }

    /// One PostgreSQL for all tests of this process. Each test uses its own schema.
    pub fn shared_postgres() -> &'static Self {
        static SHARED: OnceLock<Database> = OnceLock::new();
        SHARED.get_or_init(Self::postgres)
    }

    fn start(kind: Kind) -> Self {
        let workplace = Workplace::new().expect("a folder");
        let port = free_port().expect("a free port");
        if let Kind::Postgres = kind {
            initialize(&workplace);
        }
        let mut database = Self { kind, port, running: Mutex::default(), workplace };
        database.restart();
        database
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The address in the form of `STORE`.
    pub fn url(&self) -> String {
        self.url_by(self.address())
    }

    /// The address in the form of `STORE`, through a proxy.
    pub fn url_by(&self, proxy: SocketAddr) -> String {
        match self.kind {
            Kind::Redis | Kind::RedisCluster => format!("redis://{proxy}"),
            Kind::Postgres => format!("postgres://everfresh@{proxy}/postgres"),
        }
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        *self.running() = None;
    }

    /// Pauses it, or continues it.
    pub fn signal(&self, signal: Signal) {
        if let Some(running) = &*self.running() {
            running.signal(signal);
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it on the same port and with the same data. Kills it first if it runs.
    pub fn restart(&mut self) {
        self.kill();
        let port = self.port.to_string();
        // The port for the connections between the nodes of a cluster. There are no other nodes.
        let bus = free_port().expect("a free port").to_string();
        let (program, arguments) = match self.kind {
            Kind::Redis => (redis_program(), redis_arguments(&port).to_vec()),
            Kind::RedisCluster => {
                let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus];
                (redis_program(), [&redis_arguments(&port)[..], &cluster].concat())
            }
            Kind::Postgres => (postgres_program("postgres"), postgres_arguments(&port).to_vec()),
        };
        for tries in 1.. {
            let running = Running::start_guarded(&self.workplace, &program, &arguments);
            let mut running = running.unwrap_or_else(|error| panic!("{program:?}: {error}"));
            match running.find("eady to accept connections") {
                Ok(_) => return *self.running() = Some(running),
                // PostgreSQL's processes watch each other and may still be shutting down.
                Err(said) => assert!(tries < TRIES, "{program:?}: {said}"),
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn redis_program() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or("redis-server".into())
}

#[rustfmt::skip] // one setting a line
fn redis_arguments(port: &str) -> [&str; 12] {
    [
        "--port", port,
        "--bind", "127.0.0.1",
        "--save", "",
        "--appendonly", "yes",
        "--appendfsync", "always",
        "--maxmemory-policy", "noeviction",
    ]
}

#[rustfmt::skip]
fn postgres_arguments(port: &str) -> [&str; 10] {
    [
        "-D", "data",
        "-p", port,
        "-c", "listen_addresses=127.0.0.1",
        "-c", "unix_socket_directories=",
        "-c", "max_connections=200",
    ]
}

/// A program on the path, or in Debian's folder.
fn postgres_program(name: &str) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(name).is_file()) {
        return name.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    found.sort();
    found.pop().unwrap_or_default().join(name).into()
}

fn initialize(workplace: &Workplace) {
    let mut command = workplace.command(postgres_program("initdb"));
    command.args(["-D", "data", "-U", "everfresh", "--auth=trust", "--encoding=UTF8"]);
    command.args(["--locale=C", "--no-sync"]);
    let mut running = Running::start(command).expect("initdb");
    let status = running.wait().expect("it ends");
    assert!(status.success(), "initdb: {}", running.stderr());
}
