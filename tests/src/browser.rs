//! A real browser on the quickstart, with Chromium and its driver.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::PathBuf;
use std::time::Duration;

use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

use crate::process::{Running, Workplace};

/// Longer than the lifetime of the quickstart's tokens.
const WAIT_LIMIT: Duration = Duration::from_secs(40);

/// A quickstart and a browser on it. The fields are dropped in this order.
///
/// Needs `QUICKSTART`, the path of the built program, and `chromedriver` on the path. Every
/// function panics if it finds an unexpected state.
#[derive(Debug)]
pub struct Fixture {
    /// The current tab.
    pub page: Client,
    _driver: Running,
    _quickstart: Running,
    _workplace: Workplace,
    /// The quickstart's origin.
    pub address: String,
}

impl Fixture {
    /// Opens a new browser on the page of a new quickstart.
    pub async fn new() -> Self {
        let built = PathBuf::from(std::env::var_os("QUICKSTART").expect("QUICKSTART is set"));
        let workplace = Workplace::new().unwrap();
        let mut quickstart = workplace.command(workplace.program(&built).unwrap());
        quickstart.env("PORT", "0");
        let mut quickstart = Running::start(quickstart).unwrap();
        let rest = quickstart.wait_for("open http://");
        let address = format!("http://{}", rest.split(' ').next().unwrap());

        let mut driver = workplace.command("chromedriver");
        driver.arg("--port=0");
        let mut driver = Running::start(driver).unwrap();
        let port = driver.wait_for("started successfully on port ");
        let port = port.trim_end_matches('.');

        let profile = format!("--user-data-dir={}/profile", workplace.path().display());
        // Chromium keeps its sandbox. Its background connections to the vendor are switched off.
        let arguments = [
            "--headless=new",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &profile,
        ];
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), json!({"args": arguments}));
        let http = hyper_util::client::legacy::connect::HttpConnector::new();
        let page = ClientBuilder::new(http)
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser");
        page.goto(&address).await.unwrap();
        Self { page, _driver: driver, _quickstart: quickstart, _workplace: workplace, address }
    }

    /// Signs in by the form.
    pub async fn sign_in(&self, name: &str) {
        self.visible("#signin").await;
        self.page.find(Locator::Css("#name")).await.unwrap().send_keys(name).await.unwrap();
        self.page.find(Locator::Css("#signin-button")).await.unwrap().click().await.unwrap();
        self.visible("#signed-in").await;
    }

    /// Waits until an element is visible.
    pub async fn visible(&self, css: &str) {
        self.until(&format!(
            "(() => {{ const e = document.querySelector({css:?}); return !!e && e.checkVisibility() }})()"
        ))
        .await;
    }

    /// Waits until a script's value is true.
    pub async fn until(&self, script: &str) {
        let deadline = tokio::time::sleep(WAIT_LIMIT);
        let mut deadline = std::pin::pin!(deadline);
        let done = format!("return {script}");
        loop {
            if self.page.execute(&done, vec![]).await.unwrap() == json!(true) {
                return;
            }
            tokio::select! {
                () = &mut deadline => {
                    let text = "return document.body.innerText";
                    panic!("never: {script}\n{}", self.page.execute(text, vec![]).await.unwrap());
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    }

    /// The final result of a script; promises are awaited.
    pub async fn run(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];\n\
             (async () => {{ {script} }})().then(done, (error) => done(`failed: ${{error}}`))"
        );
        self.page.execute_async(&script, vec![]).await.unwrap()
    }

    /// Opens the quickstart in another tab and switches to it. Returns the former tab.
    pub async fn another_tab(&self) -> WindowHandle {
        let before = self.page.window().await.unwrap();
        let tab = self.page.new_window(true).await.unwrap().handle;
        self.page.switch_to_window(tab).await.unwrap();
        self.page.goto(&self.address).await.unwrap();
        before
    }

    /// Clicks an element.
    pub async fn click(&self, css: &str) {
        self.page.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    /// Waits until the token has expired, by the page's own counter.
    pub async fn expired(&self) {
        self.until("document.querySelector('#seconds').textContent === '0'").await;
    }

    /// Sends one request and returns its status and outcome.
    pub async fn request(&self) -> (String, String) {
        let rows = "document.querySelectorAll('#log li').length";
        let before = self.page.execute(&format!("return {rows}"), vec![]).await.unwrap();
        self.click("#send-one").await;
        self.until(&format!("{rows} > {before}")).await;
        let last = self.page.find(Locator::Css("#log li:first-child")).await.unwrap();
        let of = async |name| last.attr(name).await.unwrap().unwrap_or_default();
        (of("data-status").await, of("data-outcome").await)
    }

    /// Ends the browser.
    pub async fn close(self) {
        self.page.close().await.unwrap();
    }
}
