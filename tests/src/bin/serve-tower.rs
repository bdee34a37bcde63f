//! The contract server as a plain Tower service on hyper.
//!
//! Run with: `cargo run -p everfresh-tests --bin serve-tower`

#[tokio::main]
async fn main() {
    everfresh_tests::run(everfresh_tests::tower::serve).await;
}
