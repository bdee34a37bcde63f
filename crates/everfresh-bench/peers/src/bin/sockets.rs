//! Over loopback, in interleaved rounds: each framework bare and with everfresh, the server on one
//! processor and the load on another. Then ten thousand sessions that expire at once.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use everfresh_peers::record::{Load, Storm, at, median, write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ROUNDS: usize = 5;
const SECONDS: &str = "2";
const SESSIONS: usize = 10_000;
const CONNECTIONS: usize = 64;

/// `(framework, subject, algorithm)`.
const SERVED: [(&str, &str, &str); 11] = [
    ("axum", "bare", ""),
    ("axum", "everfresh", "HS256"),
    ("axum", "everfresh", "RS256"),
    ("axum", "everfresh", "ES256"),
    ("axum", "everfresh", "EdDSA"),
    ("axum", "uncached", "HS256"),
    ("axum", "uncached", "EdDSA"),
    ("actix", "bare", ""),
    ("actix", "everfresh", "EdDSA"),
    ("warp", "bare", ""),
    ("warp", "everfresh", "EdDSA"),
];

fn main() {
    let servers: Vec<Server> =
        SERVED.iter().map(|(f, s, a)| Server::start(&[f, s, a], true)).collect();
    let mut measured: Vec<Vec<Wrk>> = vec![Vec::new(); servers.len()];
    for round in 0..=ROUNDS {
        for (server, measured) in servers.iter().zip(&mut measured) {
            let wrk = wrk(server);
            // The first round warms up.
            if round > 0 {
                measured.push(wrk);
            }
        }
        println!("round {round} of {ROUNDS}");
    }
    drop(servers);
    let of = |framework| SERVED.iter().position(|(f, s, _)| (*f, *s) == (framework, "bare"));
    let rows = SERVED.iter().zip(&measured).map(|((framework, subject, algorithm), own)| {
        let bare = &measured[of(*framework).expect("each framework is there bare")];
        let ratios = own.iter().zip(bare).map(|(own, bare)| own.per_second / bare.per_second);
        let middle = |read: fn(&Wrk) -> f64| median(own.iter().map(read).collect());
        Load {
            framework: (*framework).into(),
            subject: (*subject).into(),
            algorithm: (*algorithm).into(),
            ratio: median(ratios.collect()),
            per_second: middle(|wrk| wrk.per_second),
            p50_us: middle(|wrk| wrk.p50_us),
            p99_us: middle(|wrk| wrk.p99_us),
            p999_us: middle(|wrk| wrk.p999_us),
        }
    });
    write("sockets.csv", &rows.collect::<Vec<_>>());
    write("expiry.csv", &storms());
}

struct Server {
    child: Child,
    port: u16,
    cookies: Vec<String>,
}

impl Server {
    fn start(words: &[&str], pinned: bool) -> Self {
        let own = std::env::current_exe().expect("a path").with_file_name("serve");
        let mut command = Command::new("taskset");
        command.args(["-c", if pinned { "0" } else { "0-63" }]).arg(own).args(words);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a server");
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let port = lines.next().and_then(|line| line.parse().ok()).expect("a port");
        let cookies = lines.take_while(|line| !line.is_empty()).collect();
        Self { child, port, cookies }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone)]
struct Wrk {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

fn wrk(server: &Server) -> Wrk {
    const SCRIPT: &str = "done = function(summary, latency, requests)
        local bad = summary.errors.status + summary.errors.connect + summary.errors.read
        io.write(string.format('figures %f %f %f %f %d\\n',
            summary.requests / summary.duration * 1e6, latency:percentile(50),
            latency:percentile(99), latency:percentile(99.9), bad))
    end";
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("figures.lua");
    std::fs::write(&script, SCRIPT).expect("a script");
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", "-c32", "-d", SECONDS, "-H"])
        .arg(format!("Cookie: {}", server.cookies[0]))
        .arg("-s")
        .arg(&script)
        .arg(format!("http://127.0.0.1:{}/", server.port))
        .output()
        .expect("wrk");
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("figures ")).expect("figures");
    let figures: Vec<f64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
    let [per_second, p50_us, p99_us, p999_us, bad] = figures[..] else { panic!("{line}") };
    assert_eq!(bad, 0.0, "every request is answered with 200");
    Wrk { per_second, p50_us, p99_us, p999_us }
}

/// Each session sends one request while its token is fresh, one after all tokens have expired at
/// once, and one more with the old tokens, like a late concurrent request.
fn storms() -> Vec<Storm> {
    let own = std::process::id().to_string();
    Command::new("taskset").args(["-cp", "1", &own]).output().expect("taskset");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let sessions = SESSIONS.to_string();
        let began = Instant::now();
        let server = Server::start(&["axum", "everfresh", "HS256", &sessions], true);
        assert!(began.elapsed() < Duration::from_millis(1500), "signing in took too long");
        let mut rows = vec![storm(&server, "fresh").await];
        assert!(began.elapsed() < Duration::from_secs(3), "some tokens have expired by now");
        let over = Duration::from_secs(7).saturating_sub(began.elapsed());
        tokio::time::sleep(over).await;
        rows.push(storm(&server, "expired").await);
        rows.push(storm(&server, "late twins").await);
        rows
    })
}

async fn storm(server: &Server, moment: &str) -> Storm {
    let began = Instant::now();
    let share = server.cookies.len().div_ceil(CONNECTIONS);
    let connections = server.cookies.chunks(share).map(|cookies| session(server.port, cookies));
    let answers = futures::future::join_all(connections).await.concat();
    let taken = began.elapsed();
    let mut latencies: Vec<f64> = answers.iter().map(|answer| answer.us).collect();
    latencies.sort_by(f64::total_cmp);
    Storm {
        moment: moment.into(),
        good: answers.iter().filter(|answer| answer.good).count(),
        refreshed: answers.iter().filter(|answer| answer.refreshed).count(),
        per_second: answers.len() as f64 / taken.as_secs_f64(),
        p50_us: at(&latencies, 0.5),
        p99_us: at(&latencies, 0.99),
        p999_us: at(&latencies, 0.999),
    }
}

#[derive(Clone)]
struct Answer {
    us: f64,
    good: bool,
    refreshed: bool,
}

/// One connection, with its share of the sessions. It sends one request after the other.
async fn session(port: u16, cookies: &[String]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let (mut answers, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    for cookies in cookies {
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n");
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut length = 0;
        // The bodies are `ok`, or a problem's JSON.
        while !complete(&buffer[..length]) {
            let read = stream.read(&mut buffer[length..]).await.expect("an answer");
            assert!(read > 0, "the server hung up");
            length += read;
        }
        let us = began.elapsed().as_nanos() as f64 / 1000.0;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let (good, refreshed) = (text.starts_with("HTTP/1.1 200"), text.contains("set-cookie"));
        answers.push(Answer { us, good, refreshed });
    }
    answers
}

fn complete(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()).is_none_or(|length: usize| body.len() >= length)
}
