//! The contract server in axum.
//!
//! Run with: `cargo run -p everfresh-tests --bin serve-axum`

#[tokio::main]
async fn main() {
    everfresh_tests::run(everfresh_tests::axum::serve).await;
}
