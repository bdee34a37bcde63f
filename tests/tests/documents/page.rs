//! A document as GitHub parses it: its code, its links, and its link targets.

use std::path::{Path, PathBuf};

use pulldown_cmark::{
    BrokenLink, CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd,
};

/// Folders that are skipped.
const PASSED_OVER: [&str; 2] = ["target", "node_modules"];

/// A document.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Its path from the root, as text.
    pub(crate) name: String,
    pub(crate) blocks: Vec<Block>,
    /// Code within text.
    pub(crate) spans: Vec<String>,
    /// The targets of its links, including HTML links.
    pub(crate) links: Vec<String>,
    /// Link names without a definition.
    pub(crate) undefined: Vec<String>,
    /// The possible link fragments.
    pub(crate) anchors: Vec<String>,
    /// Table rows: the code and text of each cell.
    pub(crate) rows: Vec<Vec<String>>,
}

/// A block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// `None` for an indented block.
    pub(crate) language: Option<String>,
    pub(crate) text: String,
}

/// Every document of the project: Markdown files, and the docs of examples.
pub(crate) fn all(root: &Path) -> Vec<Page> {
    let mut files = Vec::new();
    walk(root, &mut files);
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let name = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            match name.ends_with(".rs") {
                true => Page::parse(&name, &inner_docs(&text)),
                false => Page::parse(&name, &text),
            }
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let name = entry.file_name().into_string().unwrap();
        let is_example =
            name.ends_with(".rs") && path.components().any(|part| part.as_os_str() == "examples");
        // A symbolic link is another name of an existing document.
        if kind.is_dir() && !name.starts_with('.') && !PASSED_OVER.contains(&&*name) {
            walk(&path, files);
        } else if kind.is_file() && (name.ends_with(".md") || is_example) {
            files.push(path);
        }
    }
}

/// The `//!` docs at the top of a source.
fn inner_docs(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

impl Page {
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let mut page = Self { name: name.into(), ..Self::default() };
        let mut undefined = Vec::new();
        let note = |broken: BrokenLink<'_>| -> Option<(CowStr<'_>, CowStr<'_>)> {
            // `[x]` alone is often not a link.
            if matches!(broken.link_type, LinkType::Reference | LinkType::Collapsed) {
                undefined.push(broken.reference.to_string());
            }
            None
        };
        let options = Options::ENABLE_TABLES;
        let mut heading: Option<String> = None;
        let mut cell: Option<String> = None;
        for event in Parser::new_with_broken_link_callback(text, options, Some(note)) {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => Some(language.to_string()),
                        CodeBlockKind::Indented => None,
                    };
                    page.blocks.push(Block { language, text: String::new() });
                    cell = Some(String::new());
                }
                Event::End(TagEnd::CodeBlock) => {
                    if let (Some(block), Some(text)) = (page.blocks.last_mut(), cell.take()) {
                        block.text = text;
                    }
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default(), &page.anchors);
                    page.anchors.push(anchor);
                }
                Event::Start(Tag::TableRow | Tag::TableHead) => page.rows.push(Vec::new()),
                Event::Start(Tag::TableCell) => cell = Some(String::new()),
                Event::End(TagEnd::TableCell) => {
                    if let (Some(row), Some(text)) = (page.rows.last_mut(), cell.take()) {
                        row.push(text);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.to_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => page.links.extend(sources(&html)),
                Event::Text(text) => add(&text, &mut heading, &mut cell),
                Event::SoftBreak => add(" ", &mut heading, &mut cell),
                Event::Code(code) => {
                    add(&code, &mut heading, &mut cell);
                    page.spans.push(code.to_string());
                }
                _ => {}
            }
        }
        page.undefined = undefined;
        page
    }

    /// The target of a link of this page within the repository: a path from the root, and the
    /// fragment. `None` for links to other servers. `Err` for paths outside of the repository.
    pub(crate) fn resolve<'l>(&self, link: &'l str) -> Option<Result<(String, &'l str), ()>> {
        if link.contains("://") || link.starts_with("mailto:") {
            return None;
        }
        let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
        if path.is_empty() {
            return Some(Ok((self.name.clone(), fragment)));
        }
        let mut parts: Vec<&str> = self.name.split('/').collect();
        parts.pop();
        for part in path.split('/') {
            match part {
                "." => {}
                ".." if parts.pop().is_none() => return Some(Err(())),
                ".." => {}
                part => parts.push(part),
            }
        }
        Some(Ok((parts.join("/"), fragment)))
    }
}

fn add(text: &str, heading: &mut Option<String>, cell: &mut Option<String>) {
    for open in [heading, cell].into_iter().flatten() {
        open.push_str(text);
    }
}

/// GitHub's anchor for a heading: lower case, no punctuation, hyphens for spaces, and a number if
/// the anchor is taken.
fn anchor(heading: &str, taken: &[String]) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
    let numbered = (1..).map(|n| format!("{name}-{n}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or(name)
}

/// The values of `src`, `srcset` and `href`.
fn sources(html: &str) -> Vec<String> {
    let values = ["src=\"", "srcset=\"", "href=\""].into_iter().flat_map(|name| {
        html.split(name).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned)
    });
    values.collect()
}
