//! No chain of imports leads from a module back to itself.
//!
//! In the core, a module is a top-level folder or file of `src`. In the other crates it is a file.
//! A file and its own folder may use each other, because the folder's `mod.rs` exports its files.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The only pair in the core that may use each other: the core holds the refresher, and the
/// refresher gets the core.
const PAIR: [&str; 2] = ["core", "refresh"];

type Imports = BTreeMap<String, BTreeSet<String>>;

/// Files of product code under `src`, by module path: `session::watch`, and "" for `lib.rs`.
fn files(src: &Path) -> BTreeMap<String, PathBuf> {
    fn visit(folder: &Path, path: &str, found: &mut BTreeMap<String, PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap().path();
            let name = entry.file_stem().unwrap().to_str().unwrap().to_owned();
            if name.ends_with("tests") || name == "testing" || name == "texts" {
                continue;
            }
            let below = match (path, &*name) {
                (_, "mod" | "lib") => path.to_owned(),
                ("", name) => name.to_owned(),
                (path, name) => format!("{path}::{name}"),
            };
            if entry.is_dir() {
                visit(&entry, &below, found);
            } else if entry.extension().is_some_and(|end| end == "rs") {
                found.insert(below, entry);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(src, "", &mut found);
    found
}

/// The code without comments and without items under `#[cfg(test)]`.
fn product(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
    let mut kept = String::new();
    let mut lines = lines.into_iter();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        // The item ends with a `;`, or with the brace that closes it.
        let mut depth = 0;
        for line in lines.by_ref() {
            depth += line.matches('{').count();
            depth -= line.matches('}').count();
            if depth == 0 && line.trim_end().ends_with([';', '}']) {
                break;
            }
        }
    }
    kept
}

/// The paths in a tree of imports: `a::{b, c::d}` contains `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let inside = rest.rsplit_once('}').unwrap().0;
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for character in inside.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if character == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(character);
        }
    }
    parts.push(part);
    let named = parts.iter().filter(|part| !part.trim().is_empty());
    named.flat_map(|part| paths(&format!("{}{}", before.trim(), part.trim()))).collect()
}

/// The imports of a file: the modules of its crate in its `use` lines and paths.
fn imports(text: &str, module: &str, all: &BTreeMap<String, PathBuf>) -> BTreeSet<String> {
    let code = product(text);
    let mut named = Vec::new();
    for part in code.split("use ").skip(1) {
        if ["crate::", "super::", "self::"].iter().any(|root| part.starts_with(root)) {
            named.extend(paths(part.split(';').next().unwrap()));
        }
    }
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for (at, _) in code.match_indices("crate::") {
        named.push(code[at..].split(|c| !word(c)).next().unwrap().to_owned());
    }
    let parent = |path: &str| path.rsplit_once("::").map_or("", |(above, _)| above).to_owned();
    // The `mod.rs` of a folder stands for the folder, so `super` in it leads above the folder.
    let mut found = BTreeSet::new();
    for path in named {
        let (mut base, mut rest) = (module.to_owned(), &*path);
        loop {
            if let Some(below) = rest.strip_prefix("crate::") {
                (base, rest) = (String::new(), below);
            } else if let Some(above) = rest.strip_prefix("super::") {
                (base, rest) = (parent(&base), above);
            } else if let Some(same) = rest.strip_prefix("self::") {
                rest = same;
            } else {
                break;
            }
        }
        let mut whole = match &*base {
            "" => rest.to_owned(),
            base => format!("{base}::{rest}"),
        };
        while !all.contains_key(&whole) && !whole.is_empty() {
            whole = parent(&whole);
        }
        found.insert(whole);
    }
    found.remove(module);
    found.remove("");
    found
}

/// The imports of a crate, each module named by `name`.
fn graph(krate: &str, name: impl Fn(&str) -> String) -> Imports {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let all = files(&src.join("crates").join(krate).join("src"));
    let mut graph = Imports::new();
    for (module, path) in all.iter().filter(|(module, _)| !module.is_empty()) {
        let text = std::fs::read_to_string(path).unwrap();
        for other in imports(&text, module, &all) {
            let of_one_folder = |a: &str, b: &str| a.starts_with(&format!("{b}::"));
            if !of_one_folder(module, &other) && !of_one_folder(&other, module) {
                let (from, to) = (name(module), name(&other));
                if from != to {
                    graph.entry(from).or_default().insert(to);
                }
            }
        }
    }
    graph
}

/// The modules on a circle.
fn circle(graph: &Imports) -> BTreeSet<String> {
    let reached = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> = vec![from];
        while let Some(module) = next.pop() {
            for other in graph.get(module).into_iter().flatten() {
                if seen.insert(other.clone()) {
                    next.push(other);
                }
            }
        }
        seen
    };
    graph.keys().filter(|module| reached(module).contains(*module)).cloned().collect()
}

fn report(graph: &Imports, circle: &BTreeSet<String>) -> String {
    let of = |module: &String| {
        let inside: Vec<_> = graph[module].intersection(circle).cloned().collect();
        format!("{module} uses {}", inside.join(", "))
    };
    circle.iter().map(of).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_module_of_the_core_leads_back_to_itself_but_the_core_and_its_refreshers() {
    let graph = graph("everfresh", |module| module.split("::").next().unwrap().to_owned());
    let circle = circle(&graph);
    assert_eq!(circle, PAIR.map(str::to_owned).into(), "\n{}", report(&graph, &circle));
}

#[test]
fn no_file_of_another_crate_leads_back_to_itself() {
    for krate in ["everfresh-upstream", "everfresh-redis", "everfresh-sqlx"] {
        let graph = graph(krate, str::to_owned);
        let circle = circle(&graph);
        assert!(circle.is_empty(), "{krate}:\n{}", report(&graph, &circle));
    }
}

#[test]
fn a_tree_of_imports_names_its_paths() {
    assert_eq!(
        paths("crate::a::{b, c::{D, e as f}}"),
        ["crate::a::b", "crate::a::c::D", "crate::a::c::e"]
    );
    let kept =
        product("use a;\n#[cfg(test)]\nmod tests {\n    use b;\n}\nuse c;\n#[cfg(test)]\nuse d;\n");
    assert_eq!(kept, "use a;\nuse c;\n");
    let edges = |pairs: &[(&str, &str)]| {
        let mut graph = Imports::new();
        for (from, to) in pairs {
            graph.entry((*from).into()).or_default().insert((*to).into());
        }
        circle(&graph).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(edges(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")]), ["b", "c"]);
}
