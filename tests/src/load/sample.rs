//! The resources of a server's process: memory, descriptors, tasks.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// The time limit for a server to report its tasks.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The time between two samples of a server that comes to rest.
const LOOK: Duration = Duration::from_millis(250);

/// One sample of a server under load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The time since the start of the load, in seconds.
    pub at: f64,
    /// Resident memory, in KiB.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Live tasks on the engine's runtime.
    pub tasks: u64,
    /// Requests answered so far.
    pub requests: u64,
}

/// The resources of an idle server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Open descriptors.
    pub descriptors: u64,
    /// Live tasks on the engine's runtime.
    pub tasks: u64,
}

pub(super) struct Sampler {
    process: u32,
    address: SocketAddr,
}

impl Sampler {
    pub(super) fn new(process: u32, address: SocketAddr) -> Self {
        Self { process, address }
    }

    /// Takes one sample per second for the given time.
    pub(super) async fn every_second(
        &self,
        began: Instant,
        time: Duration,
        requests: impl Fn() -> u64,
    ) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut tick = tokio::time::interval_at(began, Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while tick.tick().await.duration_since(began) < time {
            let Level { descriptors, tasks } = self.level().await;
            let memory = memory(self.process).expect("the server runs");
            let at = began.elapsed().as_secs_f64();
            samples.push(Sample { at, memory, descriptors, tasks, requests: requests() });
        }
        samples
    }

    /// The level without clients. Returns as soon as it is at most `wanted` plus a pool's
    /// connections, stops changing, or `most` is over.
    pub(super) async fn rest(&self, wanted: Option<Level>, most: Duration) -> Level {
        let until = Instant::now() + most;
        let mut last = self.level().await;
        let mut still = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.level().await;
            still = if now == last { still + 1 } else { 0 };
            last = now;
            let is_down = match wanted {
                None => still >= 4,
                Some(wanted) => now.descriptors <= wanted.descriptors && now.tasks <= wanted.tasks,
            };
            if is_down || Instant::now() > until {
                return now;
            }
        }
    }

    async fn level(&self) -> Level {
        let tasks = number(&self.metrics().await, crate::TASKS).expect("a number of tasks");
        Level { descriptors: descriptors(self.process).expect("the server runs"), tasks }
    }

    /// How many sessions had a reported reuse.
    pub(super) async fn reuses(&self) -> u64 {
        const REUSES: &str = "everfresh_reuse_total{kind=\"reuse_detected\"}";
        // Metrics that are zero are not listed.
        number(&self.metrics().await, REUSES).unwrap_or_default()
    }

    async fn metrics(&self) -> String {
        let text = timeout(ANSWER_LIMIT, metrics(self.address)).await;
        text.expect("an answer in time").expect("GET /metrics")
    }
}

/// `VmRSS` in KiB (proc(5)).
fn memory(process: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    number.ok_or_else(|| io::Error::other("no VmRSS"))
}

fn descriptors(process: u32) -> io::Result<u64> {
    Ok(std::fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64)
}

/// The answer of `GET /metrics`, over a connection of its own.
async fn metrics(server: SocketAddr) -> Option<String> {
    let stream = TcpStream::connect(server).await.ok()?;
    let connecting = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connecting.ok()?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get("/metrics").header(http::header::HOST, "localhost");
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?).await.ok()?;
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    driver.abort();
    String::from_utf8(body.into()).ok()
}

fn number(metrics: &str, name: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The medians of memory over the first and the last third of the samples.
pub(super) fn thirds(samples: &[Sample]) -> (u64, u64) {
    let third = samples.len().div_ceil(3);
    let median = |part: &[Sample]| {
        let mut memory: Vec<u64> = part.iter().map(|sample| sample.memory).collect();
        memory.sort_unstable();
        memory.get(memory.len() / 2).copied().unwrap_or_default()
    };
    (median(&samples[..third]), median(&samples[samples.len() - third..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirds_are_compared_by_their_medians() {
        let sample = |memory| Sample { at: 0.0, memory, descriptors: 0, tasks: 0, requests: 0 };
        let samples: Vec<_> = [1, 9, 2, 7, 7, 7, 4, 5, 6].map(sample).into();
        assert_eq!(thirds(&samples), (2, 5));
        assert_eq!(thirds(&samples[..1]), (1, 1));
        assert_eq!(thirds(&[]), (0, 0));
    }

    #[test]
    fn numbers_are_found_among_the_metrics() {
        let text = "# TYPE x counter\nx{kind=\"a\"} 4\nxy 17\n";
        assert_eq!(number(text, "xy"), Some(17));
        assert_eq!(number(text, "x{kind=\"a\"}"), Some(4));
        assert_eq!(number(text, "x{kind=\"b\"}"), None);
    }

    #[test]
    fn a_process_reports_its_own_figures() {
        let own = std::process::id();
        assert!(memory(own).unwrap() > 100);
        let before = descriptors(own).unwrap();
        assert!(before > 2);
    }
}
