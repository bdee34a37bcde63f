//! Plays one recorded script on every server. The answers must be equal, byte by byte.
//!
//! Random parts are replaced first: tokens, ids, and times that depend on a token's jitter. `Date`
//! and the framing of a body belong to the connection and are not compared.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use everfresh::{Engine, Keys, ManualClock, MemoryStore, Rotate, Timestamp, Transport};
use everfresh_testkit::contract::{User, with_dialects};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One request of the script.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Method and path.
    r#do: String,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// With the cookies of the jar.
    #[serde(default)]
    cookies: bool,
    /// Seconds that pass before the request.
    #[serde(default)]
    pass: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: String,
    fields: Vec<String>,
    body: String,
}

fn engine(clock: &ManualClock) -> Engine<User> {
    let builder = Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
        .issuer("https://everfresh.test")
        .audience("contract")
        .transports([Transport::cookies(), Transport::headers()])
        .insecure_dev_only()
        .clock(clock.clone())
        .refresh_with(Rotate::new(MemoryStore::new().clock(clock.clone())));
    with_dialects(builder).build().unwrap()
}

/// Plays the script on one server.
async fn play(script: &[Step], clock: ManualClock, address: SocketAddr) -> Vec<Answer> {
    let mut jar = BTreeMap::new();
    let mut answers = Vec::new();
    for step in script {
        clock.advance(Duration::from_secs(step.pass));
        let raw = send(step, &jar, address).await;
        answers.push(read(&raw, &mut jar));
    }
    answers
}

async fn send(step: &Step, jar: &BTreeMap<String, String>, address: SocketAddr) -> Vec<u8> {
    let mut head = format!("{} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n", step.r#do);
    for (name, value) in &step.fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if step.cookies && !jar.is_empty() {
        let pairs: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        head.push_str(&format!("cookie: {}\r\n", pairs.join("; ")));
    }
    if !step.body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", step.body.len()));
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\n{}", step.body).as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.unwrap();
    raw
}

/// Reads an answer, and keeps its cookies.
fn read(raw: &[u8], jar: &mut BTreeMap<String, String>) -> Answer {
    let text = String::from_utf8_lossy(raw);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().to_owned();
    let mut fields = Vec::new();
    let mut chunked = false;
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match &*name {
            "date" | "connection" => continue,
            "transfer-encoding" => {
                chunked = true;
                continue;
            }
            // Its value follows from the body, which is compared. An answer to HEAD has no body, so
            // it is not compared.
            "content-length" => continue,
            "set-cookie" => {
                let (cookie, rest) = value.split_once('=').unwrap();
                let value = rest.split(';').next().unwrap();
                match rest.contains("Max-Age=0") {
                    true => drop(jar.remove(cookie)),
                    false => drop(jar.insert(cookie.to_owned(), value.to_owned())),
                }
            }
            _ => {}
        }
        fields.push(format!("{name}: {}", apart_from_chance(value)));
    }
    fields.sort();
    let body = if chunked { dechunked(body) } else { body.to_owned() };
    Answer { status, fields, body: apart_from_chance(&body) }
}

fn dechunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        body.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    body
}

/// Tokens and ids are longer than any word. Times that depend on a token's jitter have names.
fn apart_from_chance(text: &str) -> String {
    const TIMES: [&str; 3] = ["\"exp\":", "\"expires_in\":", "\"expires_at\":"];
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at(end);
        let timed = TIMES.iter().any(|name| out.ends_with(name));
        let random =
            word.len() >= 22 && word.chars().any(|c| c.is_ascii_digit() || c.is_uppercase());
        out.push_str(if timed || random { "~" } else { word });
        rest = after;
    }
    out
}

#[tokio::test]
async fn one_script_gets_the_same_answers_from_every_server() {
    let script: Vec<Step> = serde_json::from_str(include_str!("../parity/script.json")).unwrap();
    let mut all: Vec<(&str, Vec<Answer>)> = Vec::new();
    macro_rules! on {
        ($name:literal, $serve:path) => {
            let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = $serve(listener, engine(&clock), std::future::pending());
            let server = tokio::spawn(async move { serving.await.unwrap() });
            all.push(($name, play(&script, clock, address).await));
            server.abort();
        };
    }
    on!("axum", everfresh_tests::axum::serve);
    on!("actix", everfresh_tests::actix::serve);
    on!("tower", everfresh_tests::tower::serve);
    on!("warp", everfresh_tests::warp::serve);
    let (_, expected) = &all[0];
    let mut different = Vec::new();
    for (name, answers) in &all[1..] {
        for ((step, answer), expected) in script.iter().zip(answers).zip(expected) {
            if answer != expected {
                different
                    .push(format!("{name}, {}:\n{answer:#?}\nand axum:\n{expected:#?}", step.r#do));
            }
        }
    }
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    eprintln!(
        "{} requests on {}: {} answers differ",
        script.len(),
        names.join(", "),
        different.len()
    );
    // A script that has no effect would find all servers equal.
    let statuses: std::collections::BTreeSet<_> =
        expected.iter().map(|answer| answer.status.split(' ').nth(1).unwrap()).collect();
    let wanted = ["200", "204", "400", "401", "403", "404", "405", "415", "422", "500"];
    assert!(wanted.iter().all(|status| statuses.contains(status)), "{statuses:?}");
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}
