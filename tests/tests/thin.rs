//! Adapters only convert types: they have few lines, and name no header, cookie or rule.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};

/// Words that only the core may use.
const POLICY: [&str; 14] = [
    "access_token",
    "refresh_token",
    "SET_COOKIE",
    "set-cookie",
    "COOKIE",
    "AUTHORIZATION",
    "authorization",
    "Bearer",
    "WWW_AUTHENTICATE",
    "www-authenticate",
    "RETRY_AFTER",
    "CACHE_CONTROL",
    "SessionStatus::",
    "RejectionKind::",
];

/// Lines of code, without tests, comments and blank lines.
fn code(adapter: &str) -> Vec<(PathBuf, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let folder = crates.join(format!("everfresh-{adapter}/src"));
    let mut lines = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() || path.ends_with("tests.rs") {
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let line = line.trim();
            let of_tests = ["#[cfg(test)]", "mod tests;"].contains(&line);
            if !line.is_empty() && !line.starts_with("//") && !of_tests {
                lines.push((path.clone(), line.to_owned()));
            }
        }
    }
    assert!(lines.len() > 40, "{adapter} was found");
    lines
}

#[test]
fn adapters_are_short_and_hold_no_policy() {
    for adapter in ["actix", "axum", "warp"] {
        let code = code(adapter);
        eprintln!("everfresh-{adapter}: {} lines of code", code.len());
        assert!(code.len() < 300, "everfresh-{adapter} has {} lines of code", code.len());
        for (path, line) in code {
            let found = POLICY.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{}: {line}", path.display());
        }
    }
}
