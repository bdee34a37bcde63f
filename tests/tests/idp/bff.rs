//! The example `oidc-bff`: users sign in at the provider in a browser, and stay signed in.

use std::path::Path;
use std::time::Duration;

use everfresh_tests::idp::{IdentityProvider, IdentitySettings, SECRET};
use everfresh_tests::process::{Running, Workplace};
use futures::future::join_all;

use everfresh_tests::tabs::Tabs;

const LIFETIME: Duration = Duration::from_secs(2);

/// The example, and its provider.
struct Fixture {
    idp: IdentityProvider,
    address: String,
    _app: Running,
    _workplace: Workplace,
}

impl Fixture {
    fn start() -> Self {
        let settings =
            IdentitySettings { access_lifetime: LIFETIME, ..IdentitySettings::default() };
        let idp = IdentityProvider::start(&settings);
        let workplace = Workplace::new().unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_serve-axum")).with_file_name("oidc-bff");
        let program = workplace.program(&built).expect("cargo build -p oidc-bff");
        let mut command = workplace.command(program);
        command.env("PORT", "0").env("SECRET", "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA");
        command.env("ISSUER", idp.url()).env("CLIENT_ID", "web").env("CLIENT_SECRET", SECRET);
        let mut app = Running::start(command).unwrap();
        let address = app.wait_for("listening on ");
        Self { idp, address, _app: app, _workplace: workplace }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Signs in as a browser does, and returns the last page: the app's start page.
    async fn sign_in(&self, tabs: &Tabs, name: &str) -> String {
        let login = self.at("/login");
        let (page, form) = tabs.watch_revocations(tabs.get(&login).await, &login).await;
        assert!(form.starts_with(&format!("{}/login/", self.idp.url())), "{form}");
        assert!(String::from_utf8_lossy(page.body()).contains("name=\"login\""));
        let answer = tabs.post_form(&form, &format!("login={name}")).await;
        let (home, end) = tabs.watch_revocations(answer, &form).await;
        assert_eq!(end, self.at("/"));
        String::from_utf8(home.body().to_vec()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_sign_in_at_the_provider_and_stay_signed_in() {
    let fixture = Fixture::start();
    let tabs = Tabs::new();
    assert!(fixture.sign_in(&tabs, "alice").await.contains("Hello, alice"));
    let profile = fixture.at("/profile");
    for round in 1..=3 {
        tokio::time::sleep(LIFETIME).await;
        let herd = (0..64).map(|_| tabs.get(&profile));
        for answer in join_all(herd).await {
            assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"alice\n"[..]));
        }
        // Tabs slower than half of a token's lifetime may meet the next expiry.
        let refreshes = fixture.idp.counts().await.refreshes();
        let expiries = refreshes.rotated_after(LIFETIME.as_secs() / 2);
        assert!(expiries >= round && refreshes.calls == expiries, "{refreshes:?}");
    }
    assert_eq!(tabs.post_form(&fixture.at("/logout"), "").await.status(), 303);
    assert_eq!(tabs.get(&profile).await.status(), 401);
    // Beside the request.
    let told = async {
        while !fixture.idp.counts().await.paths.contains_key("/token/revocation") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the provider is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browsers_sign_in_is_refused() {
    let fixture = Fixture::start();
    // An attacker signs in up to the last step, and has a victim continue from there.
    let thief = Tabs::new();
    let login = fixture.at("/login");
    let (_, form) = thief.watch_revocations(thief.get(&login).await, &login).await;
    let resume = thief.post_form(&form, "login=mallory").await;
    let resume = resume.headers()["location"].to_str().unwrap().to_owned();
    let answer = thief.get(&resume).await;
    let callback = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(callback.starts_with(&fixture.at("/callback?code=")), "{callback}");

    let (stranger, begun) = (Tabs::new(), Tabs::new());
    begun.get(&login).await;
    for tabs in [&stranger, &begun] {
        assert_eq!(tabs.get(&callback).await.status(), 400);
        assert_eq!(tabs.get(&fixture.at("/profile")).await.status(), 401);
    }
    assert!(
        !fixture.idp.counts().await.token.contains_key("authorization_code"),
        "no code is sent"
    );
    assert_eq!(thief.get(&callback).await.status(), 303, "it was good in its own browser");
}
