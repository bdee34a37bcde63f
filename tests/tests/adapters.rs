//! Runs the shared suite for every adapter.

use everfresh::Engine;
use everfresh_testkit::contract::User;
use everfresh_testkit::suite::{Adapter, Server};
use tokio::net::TcpListener;

async fn start<Fut>(
    auth: Engine<User>,
    serve: impl FnOnce(TcpListener, Engine<User>, std::future::Pending<()>) -> Fut,
) -> Server
where
    Fut: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let serving = serve(listener, auth, std::future::pending());
    let task = tokio::spawn(async move { serving.await.expect("served") });
    Server::new(address, task)
}

mod actix {
    struct Actix;

    impl super::Adapter for Actix {
        async fn serve(auth: super::Engine<super::User>) -> super::Server {
            super::start(auth, everfresh_tests::actix::serve).await
        }
    }

    everfresh_testkit::adapter_suite!(Actix);
}

mod axum {
    struct Axum;

    impl super::Adapter for Axum {
        async fn serve(auth: super::Engine<super::User>) -> super::Server {
            super::start(auth, everfresh_tests::axum::serve).await
        }
    }

    everfresh_testkit::adapter_suite!(Axum);
}

mod tower {
    struct Tower;

    impl super::Adapter for Tower {
        async fn serve(auth: super::Engine<super::User>) -> super::Server {
            super::start(auth, everfresh_tests::tower::serve).await
        }
    }

    everfresh_testkit::adapter_suite!(Tower);
}

mod warp {
    struct Warp;

    impl super::Adapter for Warp {
        async fn serve(auth: super::Engine<super::User>) -> super::Server {
            super::start(auth, everfresh_tests::warp::serve).await
        }
    }

    everfresh_testkit::adapter_suite!(Warp);
}
