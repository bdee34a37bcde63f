//! The JSON Schema of a dialect's file.
//!
//! Its shape comes from the types, by the attributes of serde. The functions named after types add
//! what [`check`](super::check) requires of single values. The schema lacks what `check` requires of
//! members together, and that the text in an error's `body` is JSON.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::check::SET_BY_HTTP;
use super::dialect::Dialect;
use super::response::{ExpiresIn, ExpiresInMember, Statuses};

impl Dialect {
    /// Returns the JSON Schema (draft 2020-12) of a dialect's file, by which editors complete and
    /// check it. A file names its schema in the member `$schema`.
    ///
    /// The schema refuses every file that can't be read as a dialect, apart from two that JSON
    /// Schema can't tell: a number such as `401.0`, and an object that has one name twice. Of the
    /// rules of [`check`](Self::check) it has those about single values.
    pub fn json_schema_of_files() -> Value {
        let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(tidy));
        settings.into_generator().into_root_schema_for::<Self>().into()
    }
}

/// A value or a list of values, as [`one_or_many`](super::dialect::one_or_many) reads them.
pub(super) struct OneOrMany<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

impl JsonSchema for ExpiresIn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ExpiresIn".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let member = generator.subschema_for::<ExpiresInMember>();
        json_schema!({"anyOf": [{"type": "string", "pattern": MEMBER}, member]})
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Status codes: `403`, `\"400-403\"` or `\"4xx\"`.",
            "anyOf": [
                {"type": "integer", "minimum": 200, "maximum": 599},
                {"type": "string", "pattern": "^([2-5]xx|[2-5][0-9]{2}( *- *[2-5][0-9]{2})?)$"},
            ],
        })
    }
}

/// A member's name or path.
const MEMBER: &str = r"^[^.]+(\.[^.]+)*$";

/// A token (RFC 9110 section 5.6.2).
const TOKEN: &str = "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$";

/// An absolute path without query and parameters, of the characters that clients can send.
const PATH: &str = "^/[!$-)+-;=@-_a-z|~]*$";

/// The value of a header field.
const FIELD_VALUE: &str = r"^[\t -~]*$";

pub(super) fn dialect(schema: &mut Schema) {
    let path = json!({"pattern": PATH});
    let count = json!({"minItems": 1, "maxItems": 4});
    add(
        schema,
        json!({
            "properties": {
                "name": {"minLength": 1},
                "paths": {"pattern": PATH, "items": path},
            },
            "dependentSchemas": {
                "serving": {
                    "if": {"properties": {"serving": {"type": "object"}}},
                    "then": {"required": ["paths"], "properties": {"paths": count}},
                },
            },
        }),
    );
}

pub(super) fn request_format(schema: &mut Schema) {
    let named = |name: Value| json!({"items": {"properties": {"name": name}}});
    let mut headers = named(json!({"pattern": TOKEN}));
    let set_by_http = SET_BY_HTTP.map(in_any_case).join("|");
    headers["items"]["properties"]["name"]["not"] =
        json!({"pattern": format!("^({set_by_http})$")});
    headers["items"]["properties"]["value"] = json!({"pattern": FIELD_VALUE});
    add(
        schema,
        json!({
            "properties": {
                "places": {"minItems": 1, "maxItems": 4},
                "members": named(json!({"pattern": MEMBER})),
                "query": named(json!({"minLength": 1})),
                "headers": headers,
            },
        }),
    );
}

/// Returns a pattern for a word without regard to case, for which JSON Schema has no option.
fn in_any_case(word: &str) -> String {
    let letter = |c: char| match c {
        'a'..='z' => format!("[{}{c}]", c.to_ascii_uppercase()),
        _ => c.to_string(),
    };
    word.chars().map(letter).collect()
}

pub(super) fn place(schema: &mut Schema) {
    add(
        schema,
        json!({
            "properties": {
                "cookie": {"pattern": TOKEN},
                "authorization": {"pattern": TOKEN},
                "header": {"pattern": TOKEN},
                "query": {"minLength": 1},
                "body": {"pattern": MEMBER},
            },
        }),
    );
}

pub(super) fn fixed_value(schema: &mut Schema) {
    let name = json!({"minLength": 1});
    add(
        schema,
        json!({
            "minimum": i64::MIN,
            "maximum": i64::MAX,
            "properties": {"setting": name, "kept": name},
        }),
    );
}

pub(super) fn client_members(schema: &mut Schema) {
    let name = json!({"pattern": MEMBER});
    add(schema, json!({"properties": {"id": name, "secret": name}}));
}

pub(super) fn lifetime_member(schema: &mut Schema) {
    let seconds = json!({"minimum": 1});
    add(
        schema,
        json!({
            "properties": {
                "member": {"pattern": MEMBER},
                "min": seconds,
                "max": seconds,
                "default": seconds,
            },
        }),
    );
}

pub(super) fn response_format(schema: &mut Schema) {
    let paths = json!({"pattern": MEMBER, "items": {"pattern": MEMBER}});
    add(
        schema,
        json!({
            "properties": {
                "access_token": {"minItems": 1},
                "expires_at": paths,
                "keep": paths,
            },
        }),
    );
}

pub(super) fn source(schema: &mut Schema) {
    let name = json!({"pattern": TOKEN});
    add(schema, json!({"pattern": MEMBER, "properties": {"cookie": name, "header": name}}));
}

pub(super) fn expires_in_member(schema: &mut Schema) {
    add(schema, json!({"properties": {"member": {"pattern": MEMBER}}}));
}

pub(super) fn rule(schema: &mut Schema) {
    add(schema, json!({"properties": {"status": {"minItems": 1}}}));
}

pub(super) fn condition(schema: &mut Schema) {
    let tests = ["is", "is_not"]
        .map(|name| json!({"required": [name], "properties": {name: {"not": {"type": "null"}}}}));
    add(schema, json!({"anyOf": tests}));
}

pub(super) fn test(schema: &mut Schema) {
    let texts = json!({"minItems": 1});
    let properties = json!({"one_of": texts, "starts_with": texts, "contains": texts});
    add(schema, json!({"properties": properties}));
}

pub(super) fn serving(schema: &mut Schema) {
    let name = json!({"pattern": TOKEN});
    add(schema, json!({"properties": {"access_cookie": name, "refresh_cookie": name}}));
}

pub(super) fn served_member(schema: &mut Schema) {
    add(schema, json!({"properties": {"name": {"pattern": MEMBER}}}));
}

pub(super) fn error_response(schema: &mut Schema) {
    let status = json!({"minimum": 400, "maximum": 599});
    add(schema, json!({"properties": {"status": status}}));
}

/// Adds keywords to a schema. JSON Schema applies a keyword only to values of its type, so that one
/// for texts and one for lists can stand side by side.
fn add(schema: &mut Schema, keywords: Value) {
    if let Value::Object(keywords) = keywords {
        merge(schema.ensure_object(), keywords);
    }
}

fn merge(into: &mut Map<String, Value>, keywords: Map<String, Value>) {
    for (name, keyword) in keywords {
        match (into.get_mut(&name), keyword) {
            (Some(Value::Object(inner)), Value::Object(keyword)) => merge(inner, keyword),
            (_, keyword) => {
                into.insert(name, keyword);
            }
        }
    }
}

/// Makes plain text of a doc comment, and takes away formats that only Rust has. One of them stands
/// for a limit that schemars leaves out.
fn tidy(schema: &mut Schema) {
    if schema.remove("format").is_some_and(|format| format == "uint32") {
        schema.ensure_object().entry("maximum").or_insert(u32::MAX.into());
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = plain(text);
    }
}

/// A doc comment up to its first heading or example, with links replaced by their texts.
fn plain(doc: &str) -> String {
    let shown = doc.lines().take_while(|line| !line.starts_with("# ") && !line.starts_with("```"));
    let mut text = String::new();
    for line in shown {
        let end = if line.is_empty() { "\n\n" } else { line };
        if !text.is_empty() && !text.ends_with('\n') && !line.is_empty() {
            text.push(' ');
        }
        text.push_str(end);
    }
    without_links(text.trim_end())
}

fn without_links(text: &str) -> String {
    let Some((before, link)) = text.split_once('[') else { return text.to_owned() };
    let Some((shown, after)) = link.split_once(']') else { return text.to_owned() };
    let target = after.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let after = target.map_or(after, |(_, after)| after);
    format!("{before}{shown}{}", without_links(after))
}
