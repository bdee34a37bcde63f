//! The contract server in actix-web.
//!
//! Run with: `cargo run -p everfresh-tests --bin serve-actix`

#[tokio::main]
async fn main() {
    everfresh_tests::run(everfresh_tests::actix::serve).await;
}
