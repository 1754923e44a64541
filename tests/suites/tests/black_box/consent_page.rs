//! The consent page in a real browser: rendered, looked at, clicked.

use std::process::Stdio;
use std::time::Duration;

use behalf_demo::environment::Server;
use behalf_demo::mcp_client::{CLIENT_NAME, PendingSignIn};
use behalf_simulators::people::ANA;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![a_person_reads_the_consent_page_in_chromium_and_signs_in];

/// A chromedriver on a port of its own; it ends with this value, and its Chromium with it.
struct Driver {
    _process: tokio::process::Child,
    client: Client,
}

impl Driver {
    async fn start() -> TestResult<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = tokio::process::Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=900,1000",
        ];
        let Value::Object(capabilities) = json!({"goog:chromeOptions": {"args": arguments}}) else {
            return Err("capabilities are no object".into());
        };
        let address = format!("http://127.0.0.1:{port}");
        let mut last = String::new();
        for _ in 0..100 {
            match ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
                .capabilities(capabilities.clone())
                .connect(&address)
                .await
            {
                Ok(client) => {
                    return Ok(Self {
                        _process: process,
                        client,
                    });
                }
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(format!("chromedriver did not answer: {last}").into())
    }
}

async fn a_person_reads_the_consent_page_in_chromium_and_signs_in(world: &World) -> TestResult {
    let pending = PendingSignIn::begin(&world.layout.mcp_url(Server::Quickstart)).await?;
    let driver = Driver::start().await?;
    let browser = &driver.client;
    let visited = visit(&pending, browser).await;
    let closed = browser.clone().close().await;
    let redirect = visited?;
    closed?;

    let signed_in = pending.finish(&redirect).await?;
    let connection = signed_in.connect(behalf_demo::mcp_client::Era::Modern).await?;
    ensure!(
        !connection.tools().await?.is_empty(),
        "no tools after the browser's login"
    );
    connection.close().await;
    Ok(())
}

/// Time in which a window gets the size that was asked for, and its page the new layout.
const RESIZED: Duration = Duration::from_millis(200);

/// The visible area of the page in pixels, when the window has its new size.
async fn visible_area(browser: &Client) -> TestResult<(u32, u32)> {
    let look = async || {
        let script = "return [window.innerWidth, window.innerHeight]";
        let seen = browser.execute(script, Vec::new()).await?;
        TestResult::Ok(serde_json::from_value::<(u32, u32)>(seen)?)
    };
    let mut before = look().await?;
    loop {
        tokio::time::sleep(RESIZED).await;
        let now = look().await?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

/// Checks that a person with a window of this size sees the button without scrolling.
async fn allow_is_visible(browser: &Client, width: u32, height: u32) -> TestResult {
    browser.set_window_size(width, height).await?;
    // The window's own bars reduce the visible area.
    let inner = visible_area(browser).await?;
    let missing = |wanted: u32, shown: u32| wanted + wanted.saturating_sub(shown);
    browser
        .set_window_size(missing(width, inner.0), missing(height, inner.1))
        .await?;
    visible_area(browser).await?;
    let seen = browser
        .execute(
            "const box = document.querySelector('button.allow').getBoundingClientRect();
             const size = selector => parseFloat(getComputedStyle(document.querySelector(selector)).fontSize);
             return [window.innerWidth, window.innerHeight, window.scrollY, box.top, box.bottom, box.right,
                     size('.place'), size('bdi')]",
            Vec::new(),
        )
        .await?;
    let number = |index: usize| seen[index].as_f64().unwrap_or(f64::NAN);
    let fits = number(0) <= f64::from(width) && number(1) <= f64::from(height);
    ensure!(fits, "the window did not become {width}x{height}: {seen}");
    let visible = number(2) < 1.0 && number(3) >= 0.0 && number(4) <= number(1) && number(5) <= number(0);
    ensure!(visible, "Allow is not visible at {width}x{height}: {seen}");
    let prominent = number(6) > number(7);
    ensure!(
        prominent,
        "the application's name is as large as its address at {width}x{height}: {seen}"
    );
    let picture = format!("consent-page-{width}x{height}.png");
    std::fs::write(World::artifact(&picture)?, browser.screenshot().await?)?;
    Ok(())
}

async fn visit(pending: &PendingSignIn, browser: &Client) -> TestResult<url::Url> {
    browser.goto(pending.authorize_url().as_str()).await?;
    let page = browser.find(Locator::Css("body")).await?.text().await?;
    std::fs::write(World::artifact("consent-page.png")?, browser.screenshot().await?)?;
    let title = browser.title().await?;
    ensure!(
        !title.contains(CLIENT_NAME),
        "the application's name is in the title: {title}"
    );
    for expected in [
        CLIENT_NAME,
        "127.0.0.1",
        "Azure DevOps organization",
        "Start pipeline runs",
        "Reference ",
    ] {
        ensure!(
            page.contains(expected),
            "the consent page does not show {expected:?}: {page}"
        );
    }
    for (width, height) in [(1366, 650), (390, 664)] {
        allow_is_visible(browser, width, height).await?;
    }
    let cookies = browser.get_all_cookies().await?;
    ensure!(
        cookies.len() == 1 && cookies[0].name() == "__Host-behalf-csrf",
        "the consent page sets {} cookies, or another than __Host-behalf-csrf",
        cookies.len()
    );
    for cookie in &cookies {
        ensure!(
            cookie.name().starts_with("__Host-"),
            "cookie {} is not bound to the host",
            cookie.name()
        );
        ensure!(
            cookie.http_only() == Some(true),
            "scripts can read cookie {}",
            cookie.name()
        );
        ensure!(
            cookie.secure() == Some(true),
            "cookie {} may cross a network in the clear",
            cookie.name()
        );
    }

    let allow = browser
        .find(Locator::XPath("//button[contains(., 'Allow')]"))
        .await?;
    allow.click().await?;
    let sign_in = browser
        .wait()
        .at_most(Duration::from_secs(20))
        .for_element(Locator::Css(
            "input[type=text], input[type=email], input:not([type])",
        ))
        .await?;
    std::fs::write(World::artifact("sign-in-page.png")?, browser.screenshot().await?)?;
    sign_in.send_keys(ANA.user_name).await?;
    browser
        .find(Locator::Css("button[type=submit], input[type=submit], button"))
        .await?
        .click()
        .await?;

    // Nothing listens at the redirect URI. Chromium shows an error page, and its address contains the answer.
    for _ in 0..100 {
        let now = browser.current_url().await?;
        if now.as_str().starts_with(behalf_demo::mcp_client::REDIRECT_URI) {
            return Ok(now);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::write(World::artifact("sign-in-stuck.png")?, browser.screenshot().await?)?;
    Err(format!(
        "the browser never came back to the client; it is at {}",
        browser.current_url().await?.path()
    )
    .into())
}
