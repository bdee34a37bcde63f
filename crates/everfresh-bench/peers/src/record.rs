//! Recorded data: one CSV file per measurement, in `../data`.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The duration of one request with one subject.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Time {
    /// The algorithm of the token.
    pub algorithm: String,
    /// How the token travels.
    pub carried: String,
    /// The host of the subject.
    pub host: String,
    /// The name of the subject.
    pub subject: String,
    /// Median of the rounds, in nanoseconds.
    pub ns: f64,
    /// The tenth percentile of a hundred rounds.
    pub p10: f64,
    /// The ninetieth percentile.
    pub p90: f64,
    /// The median of the differences to the bare host in the same round.
    pub added_ns: f64,
}

/// The allocations of one request with one subject, above its bare host.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Count {
    /// The algorithm of the token.
    pub algorithm: String,
    /// How the token travels.
    pub carried: String,
    /// The host of the subject.
    pub host: String,
    /// The name of the subject.
    pub subject: String,
    /// How many allocations.
    pub allocations: i64,
    /// How many bytes.
    pub bytes: i64,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../data")).join(name)
}

/// Writes a file of the data folder.
pub fn write<T: Serialize>(name: &str, rows: &[T]) {
    let path = path(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the data");
    let mut writer = csv::Writer::from_path(&path).expect("a file for the data");
    rows.iter().for_each(|row| writer.serialize(row).expect("a row"));
    writer.flush().expect("written");
    println!("wrote {} rows to {}", rows.len(), path.display());
}

/// Reads the records again. Returns none if the file does not exist.
pub fn read<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let Ok(mut reader) = csv::Reader::from_path(path(name)) else { return Vec::new() };
    reader.deserialize().map(|row| row.expect("a row")).collect()
}

/// The value at a fraction of the way through sorted values.
pub fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

/// The middle of some values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    at(&values, 0.5)
}

/// The median duration of a whole request that signs in or refreshes, in microseconds.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Cost {
    /// The algorithm of the tokens.
    pub algorithm: String,
    /// Where sessions are kept, or `reissue`.
    pub store: String,
    /// How many there are.
    pub sessions: usize,
    /// Signing in.
    pub sign_in_us: f64,
    /// A refresh after expiry.
    pub refresh_us: f64,
}

/// The duration of a request on one thread while the given number of threads present the same
/// token.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Shared {
    /// How many threads.
    pub threads: usize,
    /// What the threads share.
    pub how: String,
    /// The bare service, as the median of the rounds, in nanoseconds.
    pub bare_ns: f64,
    /// The same with everfresh.
    pub ours_ns: f64,
    /// The added time.
    pub added_ns: f64,
}

/// The size of a stored item.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Kept {
    /// The kind of item.
    pub what: String,
    /// How many there were.
    pub count: usize,
    /// Bytes for each.
    pub bytes: f64,
}

/// A server under load over loopback.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Load {
    /// The framework.
    pub framework: String,
    /// `bare`, `everfresh`, or `without cache`.
    pub subject: String,
    /// The algorithm of the token; empty for bare.
    pub algorithm: String,
    /// Requests per second, as the median of the rounds.
    pub per_second: f64,
    /// The median of the rounds' ratios to the bare framework in the same round.
    pub ratio: f64,
    /// The median latency in microseconds, as the median of the rounds.
    pub p50_us: f64,
    /// The ninety-ninth percentile.
    pub p99_us: f64,
    /// The 99.9th percentile.
    pub p999_us: f64,
}

/// Ten thousand sessions, each with one request.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Storm {
    /// The moment of the requests.
    pub moment: String,
    /// How many were answered with 200.
    pub good: usize,
    /// How many got new tokens.
    pub refreshed: usize,
    /// Requests per second.
    pub per_second: f64,
    /// The median latency in microseconds.
    pub p50_us: f64,
    /// The ninety-ninth percentile.
    pub p99_us: f64,
    /// The 99.9th percentile.
    pub p999_us: f64,
}
