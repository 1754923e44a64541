//! The control port, the record, and the simulator in a Pod.

use std::net::{Ipv4Addr, SocketAddr};

use behalf_simulators::{
    azure_devops::{Action, BuildChange, Fault, NewBuild, Ports, Story},
    certificates::CertificateAuthority,
    people::{ANA, BEN, TENANT_ID},
};
use reqwest::Method;
use serde_json::json;

use crate::fixture::{Bench, send};

#[tokio::test]
async fn the_record_holds_no_token_and_the_token_list_holds_them_all() {
    let bench = Bench::start().await;
    let good = bench.token(ANA);
    bench.try_token(&good).await.ok();
    bench.try_token("bad-token-of-somebody").await.expect(203);
    let path = format!("/_apis/projects?access_token={good}&$top=1");
    send(bench.request(Method::GET, &path).bearer_auth(&good))
        .await
        .ok();

    let record = bench.control.record().await.unwrap();
    let printed = format!("{record:?}{}", serde_json::to_string(&record).unwrap());
    assert!(!printed.contains(&good) && !printed.contains("bad-token-of-somebody"));
    let last = &record.last().unwrap().query;
    assert_eq!(last[0], ("access_token".to_owned(), "[redacted]".to_owned()));
    assert_eq!(last[1], ("$top".to_owned(), "1".to_owned()));
    let sequence: Vec<u64> = record.iter().map(|call| call.sequence).collect();
    assert_eq!(sequence, [1, 2, 3]);

    let mut expected = vec![good, "bad-token-of-somebody".to_owned()];
    expected.sort();
    let mut tokens = bench.control.tokens().await.unwrap();
    tokens.sort();
    assert_eq!(tokens, expected);
}

#[tokio::test]
async fn a_reset_brings_the_demo_back_and_keeps_the_tokens() {
    let bench = Bench::start().await;
    bench.run(ANA, 178, &json!({})).await.ok();
    bench
        .permissions(ANA, |permissions| permissions.projects.clear())
        .await;
    bench.settings(|settings| settings.byte_order_mark = true).await;
    bench.fault(Fault::always(Action::Reset)).await;
    bench.control.reset().await.unwrap();
    assert!(bench.control.record().await.unwrap().is_empty());
    assert_eq!(bench.control.tokens().await.unwrap().len(), 1);
    assert_eq!(
        bench
            .build_ids(ANA, "queryOrder=queueTimeDescending&$top=1")
            .await,
        [640]
    );
    bench.control.clear_record().await.unwrap();
    assert!(bench.control.record().await.unwrap().is_empty());
}

#[tokio::test]
async fn builds_can_be_added_and_moved_on() {
    let bench = Bench::start().await;
    let new = NewBuild {
        copies: 3,
        ..NewBuild::completed(178, "failed", Story::CompileError)
    };
    assert_eq!(bench.control.add_builds(&new).await.unwrap(), [641, 642, 643]);
    let change = BuildChange {
        status: Some("inProgress".to_owned()),
        story: Some(Story::Running),
        ..BuildChange::default()
    };
    bench.control.change_build(640, &change).await.unwrap();
    let build = bench.get(ANA, "/shop/_apis/build/builds/640").await.ok().json();
    assert_eq!(build["status"], "inProgress");
    assert!(build.get("startTime").is_some());
    bench.get(ANA, "/shop/_apis/build/builds/640/timeline").await.ok();
    let nowhere = NewBuild::completed(999, "failed", Story::CompileError);
    bench.control.add_builds(&nowhere).await.unwrap_err();
    bench.control.change_build(9_999, &change).await.unwrap_err();
}

#[tokio::test]
async fn a_misspelt_command_is_refused() {
    let bench = Bench::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, body) in [
        ("faults", json!({"action": {"type": "explode"}})),
        ("faults", json!({"action": {"type": "reset"}, "time": 3})),
        ("builds", json!({"definition": 178})),
    ] {
        let address = bench.control.base().join(path).unwrap();
        let status = http.post(address).json(&body).send().await.unwrap().status();
        assert_eq!(status, 422, "{body}");
    }
    bench.control.health().await.unwrap();
}

#[tokio::test]
async fn one_tls_port_can_be_all_three_services() {
    let directory = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::generate("Test").unwrap();
    let identity = authority.issue(&["127.0.0.1"]).unwrap();
    std::fs::write(directory.path().join("ca.crt"), authority.certificate_pem()).unwrap();
    let bench = Bench::start_with(|mut options| {
        options.ports = Ports::Shared(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        options.tls = Some(identity);
        options.issuer.certificate_authority = Some(directory.path().join("ca.crt"));
        options
    })
    .await;
    let base = bench.simulator.core_url();
    assert_eq!(base, bench.simulator.release_url());
    assert_eq!(base.scheme(), "https");
    let root = reqwest::Certificate::from_pem(authority.certificate_pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let ask = |method: Method, path: &str| {
        http.request(method, base.join(path).unwrap())
            .bearer_auth(bench.token(BEN))
    };
    let core = send(ask(Method::GET, "contoso/_apis/projects")).await.ok();
    assert_eq!(core.items().len(), 2);
    let release = send(ask(Method::GET, "contoso/shop/_apis/release/deployments"))
        .await
        .ok();
    assert_eq!(release.items().len(), 10);
    let probe = send(ask(Method::HEAD, "contoso")).await.expect(404);
    assert_eq!(probe.header("x-vss-resourcetenant"), TENANT_ID);
    let hosts: Vec<String> = bench
        .control
        .record()
        .await
        .unwrap()
        .into_iter()
        .map(|call| call.host)
        .collect();
    assert_eq!(hosts, ["core", "release", "identity"]);
}
