//! Recorded data: one CSV file per measurement, in `../data`.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What one subject took for one request.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Time {
    /// The algorithm of the token.
    pub algorithm: String,
    /// How the token travels.
    pub carried: String,
    /// What the subject stands in.
    pub host: String,
    /// Who it is.
    pub subject: String,
    /// Median of the rounds, in nanoseconds.
    pub ns: f64,
    /// The tenth and the ninetieth of a hundred rounds.
    pub p10: f64,
    /// See above.
    pub p90: f64,
    /// Median of what each round took above the bare host in the same round.
    pub added_ns: f64,
}

/// What one subject allocated for one request, above its bare host.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Count {
    /// The algorithm of the token.
    pub algorithm: String,
    /// How the token travels.
    pub carried: String,
    /// What the subject stands in.
    pub host: String,
    /// Who it is.
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

/// Reads it again; nothing if it is not there.
pub fn read<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let Ok(mut reader) = csv::Reader::from_path(path(name)) else { return Vec::new() };
    reader.deserialize().map(|row| row.expect("a row")).collect()
}

/// The value at a part of the way through sorted values.
pub fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

/// The middle of some values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    at(&values, 0.5)
}

/// What a whole request takes that signs in or is refreshed, median, in microseconds.
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

/// What one thread takes for a request while so many of them show the same token.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Shared {
    /// How many threads.
    pub threads: usize,
    /// What they share.
    pub how: String,
    /// The service without anything around it, median of the rounds, in nanoseconds.
    pub bare_ns: f64,
    /// The same with everfresh.
    pub ours_ns: f64,
    /// What that adds.
    pub added_ns: f64,
}

/// What is kept of one thing.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Kept {
    /// Of what.
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
    /// The algorithm of the token; none for bare.
    pub algorithm: String,
    /// Requests in a second, median of the rounds.
    pub per_second: f64,
    /// Median of the rounds' ratios to the bare framework in the same round.
    pub ratio: f64,
    /// Latencies in microseconds, median of the rounds.
    pub p50_us: f64,
    /// See above.
    pub p99_us: f64,
    /// See above.
    pub p999_us: f64,
}

/// Ten thousand sessions, each of which sends one request.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Storm {
    /// When.
    pub moment: String,
    /// How many were answered with 200.
    pub good: usize,
    /// How many got new tokens.
    pub refreshed: usize,
    /// Requests in a second.
    pub per_second: f64,
    /// Latencies in microseconds.
    pub p50_us: f64,
    /// See above.
    pub p99_us: f64,
    /// See above.
    pub p999_us: f64,
}
