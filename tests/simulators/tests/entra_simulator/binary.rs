//! The binary as a Pod starts it.

use std::process::Stdio;

use behalf_simulators::entra::Control;
use behalf_simulators::people::CLIENT_ID;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// Starts the binary and waits until it says where its control port is.
async fn start(arguments: &[&str]) -> (Child, Url) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_behalf-simulator"))
        .args(arguments)
        .args(["--listen=127.0.0.1:0", "--control-listen=127.0.0.1:0"])
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, rest)) = line.split_once("control.address=") {
            return (child, Url::parse(rest.split(' ').next().unwrap()).unwrap());
        }
    }
    panic!("it ended without naming its control port");
}

async fn terminate(mut child: Child) {
    let pid = child.id().unwrap().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn serves_entra_from_a_directory_file_until_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("directory.yaml");
    std::fs::write(&file, "settings: {singleSignOn: true}\n").unwrap();
    let directory = format!("--directory={}", file.display());
    let (child, address) = start(&["entra", &directory, "--cluster-issuer=https://issuer.example"]).await;
    let control = Control::new(address).unwrap();
    control.health().await.unwrap();
    let directory = control.directory().await.unwrap();
    assert!(directory.settings.single_sign_on && directory.application(CLIENT_ID).is_some());
    assert_eq!(directory.issuers[0].issuer, "https://issuer.example");
    terminate(child).await;
}

#[tokio::test]
async fn serves_azure_devops_until_sigterm() {
    let (child, _) = start(&["azure-devops", "--entra=http://127.0.0.1:1"]).await;
    terminate(child).await;
}

#[tokio::test]
async fn a_key_without_a_certificate_is_refused() {
    let status = Command::new(env!("CARGO_BIN_EXE_behalf-simulator"))
        .args(["entra", "--tls-key=/nowhere"])
        .stderr(Stdio::null())
        .status();
    assert_eq!(status.await.unwrap().code(), Some(2));
}
