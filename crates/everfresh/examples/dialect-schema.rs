//! Prints the JSON Schema of a dialect's file.
//!
//! Run with `cargo run -p everfresh --features schema --example dialect-schema`. In this
//! repository, `cargo xtask schema` writes it to `dialects/schema.json`.

#![allow(clippy::print_stdout, reason = "it prints the schema")]

fn main() {
    println!("{:#}", everfresh::dialect::Dialect::json_schema_of_files());
}
