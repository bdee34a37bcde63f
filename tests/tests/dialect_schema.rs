//! `dialects/schema.json`, by which editors check the file of a dialect, against the parser.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};

use everfresh::dialect::Dialect;
use jsonschema::Validator;
use serde_json::{Value, json};

#[path = "../../crates/everfresh/src/endpoint/tests/refused.rs"]
mod refused;

/// Errors of rules that the schema lacks, because they are about several members, or about JSON in a
/// text.
const NOT_IN_THE_SCHEMA: [&str; 14] = [
    "found GET, which has no body",
    "found GET, which other sites can cause",
    "found `query`; a server reads no token",
    "found a place; a server reads one token",
    "found a place, and `token` presents",
    "found the refresh token's place",
    "found a value of a client",
    "found two values for `Authorization`",
    "found a form; a lifetime",
    "wanted is a range from 1 on",
    "found a source, and the request presents the access token alone",
    "an access token alone never yields",
    "is missing; ",
    "wanted is the text of a JSON value",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn schema() -> Validator {
    jsonschema::draft202012::new(&read(&root().join("dialects/schema.json"))).unwrap()
}

/// A file with the kinds of values that few vendors need.
fn rare() -> Value {
    json!({
        "name": "rare",
        "paths": ["/a", "/b"],
        "request": {
            "places": [{"header": "X-Refresh"}, {"query": "token"}],
            "access_token": {"authorization": "Bearer"},
            "members": [{"name": "device", "value": {"kept": "device"}}],
            "headers": [{"name": "X-Version", "value": 7}],
        },
        "response": {
            "access_token": [{"header": "X-Access"}, {"cookie": "access"}],
            "expires_at": ["a.b", "c"],
            "keep": ["device", "user.id"],
        },
        "rules": [{
            "status": [401, "403-404"],
            "when": [{"member": "error", "is_not": {"contains": ["limit"]}}, {"is": "present"}],
            "outcome": "rejected",
        }],
        "sign_out": {"method": "GET", "places": [{"query": "token"}]},
    })
}

/// The files of the catalogue, of the guide, and of the constants, each with a name.
fn files() -> Vec<(String, Value)> {
    let mut files = vec![("rare".to_owned(), rare())];
    for entry in std::fs::read_dir(root().join("dialects")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".json") && name != "schema.json" {
            let file = read(&path);
            assert_eq!(file["$schema"], "schema.json", "{name}");
            files.push((name, file));
        }
    }
    let guide = root().join("crates/everfresh/docs/dialects.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    for block in guide.split("```json\n").skip(1) {
        let (text, _) = block.split_once("```").unwrap();
        files.push(("the guide".to_owned(), serde_json::from_str(text).unwrap()));
    }
    for dialect in Dialect::ALL {
        files.push((dialect.name.to_string(), serde_json::to_value(dialect).unwrap()));
    }
    files
}

#[test]
fn the_schema_is_as_the_types_have_it() {
    let written = read(&root().join("dialects/schema.json"));
    assert!(written == Dialect::json_schema_of_files(), "run `cargo xtask schema`");
    jsonschema::draft202012::meta::validate(&written).unwrap();
}

#[test]
fn every_file_of_the_catalogue_and_the_guide_fits_the_schema() {
    let (schema, files) = (schema(), files());
    assert!(files.len() > 30);
    for (name, file) in files {
        let problems: Vec<_> = schema.iter_errors(&file).map(|e| e.to_string()).collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
    }
}

#[test]
fn the_schema_refuses_what_the_check_refuses_of_single_values() {
    let schema = schema();
    let good = serde_json::to_value(&Dialect::OAUTH2).unwrap();
    assert!(schema.is_valid(&good));
    for refused::Refused { pointer, value, field, says } in refused::refused() {
        let file = refused::put(&good, pointer, value);
        let problem = Dialect::from_json(&file.to_string()).unwrap_err().to_string();
        assert!(problem.contains(says), "{field}: {problem}");
        let excepted = NOT_IN_THE_SCHEMA.iter().any(|rule| problem.contains(rule));
        assert!(excepted || !schema.is_valid(&file), "{pointer}: {problem}");
    }
}

/// Each member of each file is left out, renamed, put into a list, and given values of every type.
#[test]
fn the_schema_and_the_parser_refuse_the_same_files() {
    let schema = schema();
    let (mut refused, mut accepted) = (0, 0);
    for (name, file) in files() {
        for changed in changes(&file) {
            let text = changed.to_string();
            let fits = schema.is_valid(&changed);
            match Dialect::from_json(&text) {
                Ok(_) => {
                    assert!(fits || is_list_for_object(&changed), "{name} is good: {text}");
                    accepted += 1;
                }
                Err(problem) => {
                    let problem = problem.to_string();
                    let is_read = serde_json::from_str::<Dialect>(&text).is_ok();
                    let rule = NOT_IN_THE_SCHEMA.iter().find(|rule| problem.contains(**rule));
                    let excepted = is_read && rule.is_some();
                    assert!(!fits || excepted, "{name} is bad: {problem}: {text}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 10_000 && accepted > 1000, "{refused} refused, {accepted} accepted");
}

/// serde reads a list without members for an object all of whose members have defaults. No guide
/// says so, and the schema takes objects alone.
fn is_list_for_object(file: &Value) -> bool {
    ["/request/client", "/sign_out/client"].iter().any(|at| file.pointer(at) == Some(&json!([])))
}

/// Returns the file with one change at each place.
fn changes(value: &Value) -> Vec<Value> {
    let mut changes = vec![
        json!([value]),
        json!([value, value, value, value, value]),
        json!(null),
        json!(true),
        json!(""),
        json!("a text"),
        json!("a..b"),
        json!(0),
        json!(7),
        json!(403),
        json!(700),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!([]),
        json!([true]),
        json!({}),
        json!({"a": "b"}),
    ];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let mut fewer = members.clone();
                fewer.remove(name);
                let mut renamed = fewer.clone();
                renamed.insert(format!("{name}s"), member.clone());
                let mut more = members.clone();
                more.insert("x".to_owned(), member.clone());
                changes.extend([fewer, renamed, more].map(Value::Object));
                for change in self::changes(member) {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), change);
                    changes.push(Value::Object(changed));
                }
            }
        }
        Value::Array(list) => {
            changes.push(list.iter().cycle().take(5).cloned().collect());
            for (at, one) in list.iter().enumerate() {
                let mut fewer = list.clone();
                changes.push(fewer.remove(at));
                changes.push(Value::Array(fewer));
                for change in self::changes(one) {
                    let mut changed = list.clone();
                    changed[at] = change;
                    changes.push(Value::Array(changed));
                }
            }
        }
        _ => {}
    }
    changes
}
