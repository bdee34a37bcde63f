//! The contract server in warp.
//!
//! Run with: `cargo run -p everfresh-tests --bin serve-warp`

#[tokio::main]
async fn main() {
    everfresh_tests::run(everfresh_tests::warp::serve).await;
}
