//! Checks of the documents: their links lead to existing targets, their commands name existing
//! things, and the commands that a reader is told to run succeed and print what the document says.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod command;
mod page;
mod run;
mod workspace;

use std::path::{Path, PathBuf};

use command::{Command, lines};
use page::Page;
use run::Reader;
use workspace::Workspace;

/// Commands of blocks that are checked and not run, with the reason. The test fails if one is
/// missing from the documents.
const NOT_RUN: [(&str, &str); 10] = [
    ("cargo test -p everfresh", "`cargo xtask test` runs these tests"),
    ("cargo xtask test", "this test is a part of it"),
    (
        "ROUNDS=1000 STOP_SECONDS=33 FAULT_ROUNDS=3 CALLS=100000 SIGN_OUTS=300 OUTAGES=60 \
         cargo test -p everfresh-tests --features cluster,redis,postgres --test cluster -- --nocapture",
        "its figures take long; `cargo xtask test` runs its short form",
    ),
    (
        "REFRESH_TOKEN=.. CLIENT_ID=app CLIENT_SECRET=.. \
         cargo run -p everfresh-upstream --example try-dialect -- acme.json https://id.example/token",
        "it needs a vendor's endpoint, and a refresh token of it",
    ),
    (
        "cargo package --no-verify -p everfresh -p everfresh-testkit -p everfresh-redis \
         -p everfresh-sqlx",
        "it is for a checkout of the former release",
    ),
    ("npm install everfresh-client", "fetches; the package is built and tried by `npm test`"),
    (
        "(cd tests/idp && npm ci && ACCESS_TTL=10 node server.mjs) &",
        "fetches; the tests of the feature `idp` install it and start it",
    ),
    (
        "SECRET=$(openssl rand -hex 32) ISSUER=http://127.0.0.1:4000 CLIENT_ID=spa cargo run -p oidc-bff",
        "needs that provider; `idp/bff.rs` runs it",
    ),
    (
        "REFRESH=upstream UPSTREAM_URL=https://id.example/token UPSTREAM_CLIENT_ID=app \
         cargo run -p everfresh-tests --bin serve-axum &",
        "no server answers at id.example; the tests of the feature `idp` have a provider",
    ),
    (
        "curl -i -c jar -H 'content-type: application/json' -d '{\"access_token\": \"..\", \
         \"refresh_token\": \"..\", \"expires_in\": 300}' http://127.0.0.1:3000/adopt",
        "the same",
    ),
];

/// Languages of shell blocks.
const SHELL: [&str; 4] = ["sh", "bash", "shell", "console"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The errors in a page's links, given all pages.
fn dead_links(root: &Path, page: &Page, pages: &[Page]) -> Vec<String> {
    let name = &page.name;
    let undefined = page.undefined.iter().map(|link| format!("{name}: [{link}] is not defined"));
    let dead = page.links.iter().filter_map(|link| {
        let dead = |why: &str| Some(format!("{name}: {link}: {why}"));
        let Ok((path, fragment)) = page.resolve(link)? else {
            return dead("leads out of the repository");
        };
        let of = pages.iter().chain([page]).find(|page| page.name == path);
        if of.is_none() && !root.join(&path).exists() {
            return dead("is not there");
        }
        let has = |page: &Page| page.anchors.iter().any(|anchor| anchor == fragment);
        if !fragment.is_empty() && !of.is_some_and(has) {
            dead("has no such heading")
        } else {
            None
        }
    });
    undefined.chain(dead).collect()
}

/// The errors in the commands of a page, in blocks and in running text.
fn wrong_commands(workspace: &Workspace, page: &Page) -> Vec<String> {
    let is_ours = |text: &&str| matches!(Command::parse(text).program(), "cargo" | "npm");
    let mut named = page.spans.clone();
    let mut hidden = Vec::new();
    for block in &page.blocks {
        for line in lines(&block.text) {
            let fenced = block.language.is_some() && !is_shell(block);
            if fenced && matches!(first(&line.text), "cargo" | "curl" | "npm") {
                hidden.push(format!("{}: {}: its block is not marked `sh`", page.name, line.text));
            } else {
                named.push(line.text);
            }
        }
    }
    let wrong = named.iter().map(String::as_str).filter(is_ours).filter_map(|text| {
        // A mention of cargo alone is not a command.
        let command = Command::parse(text);
        let problem = workspace.check(&command).err().filter(|_| command.words.len() > 1)?;
        Some(format!("{}: `{text}`: {problem}", page.name))
    });
    hidden.into_iter().chain(wrong).collect()
}

fn first(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

fn is_shell(block: &page::Block) -> bool {
    block.language.as_deref().is_some_and(|language| SHELL.contains(&language))
}

#[test]
fn every_link_has_a_target() {
    let (root, pages) = (root(), page::all(&root()));
    let dead: Vec<_> = pages.iter().flat_map(|page| dead_links(&root, page, &pages)).collect();
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(pages.iter().map(|page| page.links.len()).sum::<usize>() > 50, "links were found");
}

#[test]
fn every_command_names_existing_files_and_tests() {
    let (workspace, pages) = (Workspace::read(&root()), page::all(&root()));
    let wrong: Vec<_> = pages.iter().flat_map(|page| wrong_commands(&workspace, page)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_commands_in_the_documents_run() {
    let root = root();
    run::build(&root);
    let mut unused: Vec<_> = NOT_RUN.iter().map(|(text, _)| *text).collect();
    let mut problems = Vec::new();
    let mut ran = 0;
    for page in page::all(&root) {
        let mut reader = Reader::new(&root);
        for line in page.blocks.iter().filter(|block| is_shell(block)).flat_map(|b| lines(&b.text))
        {
            if NOT_RUN.iter().any(|(text, _)| *text == line.text) {
                unused.retain(|text| *text != line.text);
                continue;
            }
            ran += 1;
            let problem = match reader.run(&line) {
                None => Some("is neither run here nor on the list of what is not".to_owned()),
                Some(ended) => ended.err(),
            };
            problems.extend(problem.map(|why| format!("{}: `{}`: {why}", page.name, line.text)));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(unused.is_empty(), "no document has these any more: {unused:#?}");
    assert!(ran > 20, "{ran} commands were run");
}

#[test]
fn every_rust_example_is_compiled() {
    let list = include_str!("../../src/documents.rs");
    for page in page::all(&root()).iter().filter(|page| page.name.ends_with(".md")) {
        let is_rust = |block: &&page::Block| block.language.as_deref() == Some("rust");
        let (has, listed) = (
            page.blocks.iter().any(|block| is_rust(&block)),
            list.contains(&format!("\"{}\"", page.name)),
        );
        assert_eq!(has, listed, "{}: in tests/src/documents.rs?", page.name);
    }
}

/// Each number in the table of figures also occurs in the page of its measurement.
#[test]
fn figures_of_the_index_are_those_of_their_pages() {
    let root = root();
    let text = std::fs::read_to_string(root.join("docs/README.md")).unwrap();
    let index = Page::parse("docs/README.md", &text);
    let head = index.rows.iter().position(|row| {
        row.first().is_some_and(|cell| cell == "what")
            && row.get(1).is_some_and(|cell| cell == "figure")
    });
    let rows = index.rows[head.unwrap() + 1..].iter().take_while(|row| row.len() == 3);
    let mut numbers = 0;
    for row in rows {
        let measured = std::fs::read_to_string(root.join(&row[2])).unwrap();
        let words: Vec<&str> =
            measured.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').collect();
        let of = row[1].split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
        for number in of.map(|one| one.trim_matches([',', '.'])).filter(|one| !one.is_empty()) {
            numbers += 1;
            let found = words.iter().any(|word| word.trim_matches([',', '.']) == number);
            assert!(found, "docs/README.md says {number}, and {} does not: {row:?}", row[2]);
        }
    }
    assert!(numbers > 10, "{numbers} figures");
}

/// The manifest in docs/first-app.md has all dependencies of each example, at the same versions.
#[test]
fn an_app_needs_only_the_examples_dependencies() {
    let root = root();
    let manifest = |path: &str| -> toml::Table {
        std::fs::read_to_string(root.join(path)).unwrap().parse().unwrap()
    };
    let text = std::fs::read_to_string(root.join("docs/first-app.md")).unwrap();
    let page = Page::parse("docs/first-app.md", &text);
    let block = page.blocks.iter().find(|block| block.language.as_deref() == Some("toml"));
    let own: toml::Table = block.unwrap().text.parse().unwrap();
    let (own, workspace) =
        (&own["dependencies"], &manifest("Cargo.toml")["workspace"]["dependencies"]);
    for (name, dependency) in own.as_table().unwrap() {
        if let Some(path) = dependency.get("path").and_then(toml::Value::as_str) {
            let path = path.strip_prefix("../everfresh/").unwrap();
            assert!(root.join(path).join("Cargo.toml").is_file(), "{name}: {path}");
            continue;
        }
        let version = |value: &toml::Value| -> String {
            value
                .as_str()
                .or(value.get("version").and_then(toml::Value::as_str))
                .unwrap()
                .to_owned()
        };
        let (told, needed) = (version(dependency), version(&workspace[name]));
        assert!(format!("{needed}.").starts_with(&format!("{told}.")), "{name}: {told}, {needed}");
    }
    for example in ["axum-app", "actix-app", "warp-app", "tower-stack"] {
        let needed = manifest(&format!("examples/{example}/Cargo.toml"));
        for name in needed["dependencies"].as_table().unwrap().keys() {
            assert!(own.get(name).is_some(), "{example} needs {name}");
        }
    }
}

/// Tests the checks themselves: they find errors.
#[test]
fn a_wrong_name_a_dead_link_and_an_unknown_command_are_found() {
    let (root, workspace) = (root(), Workspace::read(&root()));
    let wrong = |text: &str| wrong_commands(&workspace, &Page::parse("x.md", text)).len();
    for good in [
        "`cargo run -p quickstart`",
        "`cargo xtask fuzz --seconds 60`",
        "`cargo test -p everfresh-tests --features redis --test redis`",
        "`cargo run --release -p everfresh-sqlx --example growth`",
        "`cargo semver-checks --package NAME`",
        "`npm run build`, and `cargo` alone",
        "```sh\ncurl -i http://127.0.0.1:3000/\n```",
    ] {
        assert_eq!(wrong(good), 0, "{good}");
    }
    for bad in [
        "`cargo run -p quickstat`",
        "`cargo xtask tset`",
        "`cargo xtask fuzz --minutes 1`",
        "`cargo test -p everfresh-tests --features redsi --test redis`",
        "`cargo test -p everfresh-tests --test rediss`",
        "`cargo test -p everfresh-tests no_such_test_anywhere`",
        "`cargo run -p everfresh-sqlx --example growht`",
        "`SECRET=x cargo frobnicate`",
        "`cargo run -p quickstart --relaese`",
        "`npm run biuld`",
        "```text\ncurl http://127.0.0.1:3000/\n```",
    ] {
        assert_eq!(wrong(bad), 1, "{bad}");
    }
    let dead = |text: &str| dead_links(&root, &Page::parse("docs/x.md", text), &[]).len();
    for good in
        ["[a](../README.md)", "# Big  heading!\n[b](#big--heading)", "[c](https://x.example/y)"]
    {
        assert_eq!(dead(good), 0, "{good}");
    }
    for bad in [
        "[a](CHANGELOG.md)",
        "[a](../../elsewhere.md)",
        "[a](#nowhere)",
        "[a][b]",
        "<img src=\"images/none.png\">",
        "[a]: none.md\n\n[a]",
    ] {
        assert_eq!(dead(bad), 1, "{bad}");
    }
    let unknown = lines("frobnicate --all\n").remove(0);
    assert!(Reader::new(&root).run(&unknown).is_none());
    let unstarted = lines("curl -i http://127.0.0.1:3000/   # 200\n").remove(0);
    assert!(Reader::new(&root).run(&unstarted).unwrap().is_err());
}

#[test]
fn every_dialect_of_the_page_about_them_is_read() {
    let name = "crates/everfresh/docs/dialects.md";
    let page = Page::parse(name, &std::fs::read_to_string(root().join(name)).unwrap());
    let files = page.blocks.iter().filter(|block| block.language.as_deref() == Some("json"));
    let read = files.map(|file| everfresh::dialect::Dialect::from_json(&file.text).unwrap());
    assert_ne!(read.count(), 0);
}
