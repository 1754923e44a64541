//! A challenge of Conditional Access, from a client's call to its next login, with the built-in server behind the sidecar.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Method;
use behalf_auth_sidecar::host_key::HostKey;
use behalf_contract::ExchangePlace::{self, Server, Sidecar};
use behalf_contract::Injection::{self, Argument, Header};
use behalf_contract::{AzureDevOpsConfig, AzureDevOpsEndpoints, ServerConfig, ServerListen};
use behalf_entra::SystemClock;
use behalf_simulators::azure_devops::{
    Action, AzureDevOpsOptions, AzureDevOpsSimulator, Fault as AzureFault, ORGANIZATION,
};
use behalf_simulators::entra::{Fault, Policy, RequestKind};
use behalf_simulators::people::ANA;
use rstest::rstest;
use serde_json::json;
use tokio::net::TcpListener;

use crate::answer::{Answer, Tokens};
use crate::fixture::{Login, World, request};
use crate::sign_in_requirements::{CLAIMS, claims_challenge, claims_sent};

/// A sidecar in front of the built-in server, which asks the simulated Azure DevOps.
struct Pod {
    world: World,
    azure: AzureDevOpsSimulator,
}

impl Pod {
    async fn start(at: ExchangePlace, injection: Injection) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}/mcp", listener.local_addr().unwrap());
        let world = World::start_with(|config| {
            config.upstream = upstream.parse().unwrap();
            config.sessions.access_token_lifetime_seconds = 24 * 3600;
            config.token_exchange.at = at;
            config.token_exchange.injection = injection;
        })
        .await;
        world.entra_tokens_live_an_hour().await;
        let azure = AzureDevOpsSimulator::start(AzureDevOpsOptions::new(world.entra.authority()))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        // As the sidecar of the fixture writes it.
        let host_key = HostKey::from_random(&[42; 32]);
        let host_key_file = folder.path().join("host-key");
        std::fs::write(&host_key_file, host_key.header_value()).unwrap();
        let sidecar = &world.replicas[0].config;
        let exchanges = at == ExchangePlace::Server;
        let config = ServerConfig {
            azure_dev_ops: AzureDevOpsConfig {
                organization: ORGANIZATION.to_owned(),
                projects: vec!["shop".to_owned()],
                read_only: false,
                toolsets: Vec::new(),
                endpoints: AzureDevOpsEndpoints {
                    core: azure.core_url(),
                    release: azure.release_url(),
                    identity: azure.identity_url(),
                },
            },
            entra: exchanges.then(|| sidecar.entra.clone()),
            token_exchange: sidecar.token_exchange.clone(),
            certificate_authority_file: None,
            host_key_file,
            tracing: None,
            egress_proxy: None,
            listen: ServerListen {
                mcp: "127.0.0.1:3000".parse().unwrap(),
                probes: "127.0.0.1:3001".parse().unwrap(),
            },
        };
        // The Pod's own token, which both containers may have.
        let token = exchanges.then(|| sidecar.keyring_file.with_file_name("token"));
        let app = behalf_mcp_server::serve::pod_app(&config, token, false, Arc::new(SystemClock)).unwrap();
        tokio::spawn(async move { axum::serve(listener, app.router()).await });
        Self { world, azure }
    }

    async fn call(&self, tokens: &Tokens) -> Answer {
        let params = json!({"name": "list_pipeline_runs", "arguments": {"project": "shop"}});
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        let request = request(Method::POST, "/mcp", &headers)
            .header("authorization", format!("Bearer {}", tokens.access))
            .body(Body::from(message.to_string()));
        self.world.send(request.unwrap()).await
    }

    /// The call works: it has a result, and that is no error.
    async fn calls(&self, tokens: &Tokens) {
        let answer = self.call(tokens).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_ne!(answer.json()["result"]["isError"], true, "{}", answer.body);
    }

    /// The call is challenged, again and again, and Entra is not asked again. The session stays, and its refresh sends the
    /// client to the login.
    async fn is_challenged(&self, login: &Login, tokens: &Tokens, asked: RequestKind) {
        let control = self.world.entra.control();
        let mut requests = Vec::new();
        for _ in 0..2 {
            let answer = self.call(tokens).await;
            assert_eq!(answer.status, 401, "{}", answer.body);
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(
                challenge.starts_with("Bearer error=\"invalid_token\", ")
                    && challenge.contains("resource_metadata="),
                "{challenge}"
            );
            requests.push(control.requests_of(asked).await.unwrap().len());
        }
        assert_eq!(requests[0], requests[1], "the second call asked Entra");
        let session = behalf_entra::Secret::new(&*tokens.access);
        self.world
            .sessions
            .open(&session)
            .await
            .expect("the session ended");
        let refused = self.world.refresh(&login.client_id, &tokens.refresh, &[]).await;
        refused.assert_error(400, "invalid_grant");
    }

    /// Signs Ana in again. Returns her tokens, and the claims of the requests of this login.
    async fn sign_in_again(&self, login: &Login) -> (Tokens, Vec<Option<String>>) {
        let before = claims_sent(&self.world).await.len();
        let login = self.world.login_of(&login.client_id, ANA).await;
        let tokens = self.world.redeem(&login, &[]).await.tokens();
        (tokens, claims_sent(&self.world).await.split_off(before))
    }
}

/// Regression: Conditional Access ended in an error that starts no login: `claude-code#48000`, `ms-365-mcp-server#485`,
/// `vscode#319673`.
#[rstest]
#[case::in_the_sidecar(Sidecar, Header)]
#[case::in_the_server(Server, Header)]
#[case::in_the_server_with_the_argument(Server, Argument)]
#[tokio::test]
async fn a_challenge_at_the_renewal_of_a_users_token_reaches_the_client_and_its_next_login_once(
    #[case] at: ExchangePlace,
    #[case] injection: Injection,
) {
    let pod = Pod::start(at, injection).await;
    let (login, tokens) = pod.world.session(ANA).await;
    pod.calls(&tokens).await;
    pod.world.advance(3001);
    let fault = Fault::once([RequestKind::RefreshToken], claims_challenge());
    pod.world.entra.control().add_fault(&fault).await.unwrap();
    pod.is_challenged(&login, &tokens, RequestKind::RefreshToken)
        .await;
    let (renewed, claims) = pod.sign_in_again(&login).await;
    assert_eq!(claims, [None, Some(CLAIMS.to_owned())]);
    pod.calls(&renewed).await;
    let (_, claims) = pod.sign_in_again(&login).await;
    assert_eq!(claims, [None], "the claims were sent twice");
}

/// The sign-in has no second factor, and Azure DevOps demands one.
#[rstest]
#[case::in_the_sidecar(Sidecar, Header)]
#[case::in_the_server(Server, Header)]
#[case::in_the_server_with_the_argument(Server, Argument)]
#[tokio::test]
async fn a_challenge_at_the_exchange_reaches_the_client_and_its_next_login_once(
    #[case] at: ExchangePlace,
    #[case] injection: Injection,
) {
    let pod = Pod::start(at, injection).await;
    let (login, tokens) = pod.world.session(ANA).await;
    let control = pod.world.entra.control();
    let policies = [Policy::multi_factor()];
    control.put_policies(ANA.user_name, &policies).await.unwrap();
    pod.is_challenged(&login, &tokens, RequestKind::OnBehalfOf).await;
    let (renewed, claims) = pod.sign_in_again(&login).await;
    assert!(matches!(&claims[..], [None, Some(_)]), "{claims:?}");
    pod.calls(&renewed).await;
    let (_, claims) = pod.sign_in_again(&login).await;
    assert_eq!(claims, [None], "the claims were sent twice");
}

/// Continuous access evaluation: Azure DevOps takes a token no longer, before it expires. Entra gets its claims, and demands
/// a sign-in.
#[rstest]
#[case::in_the_sidecar(Sidecar, Header)]
#[case::in_the_server(Server, Header)]
#[case::in_the_server_with_the_argument(Server, Argument)]
#[tokio::test]
async fn a_challenge_of_azure_devops_reaches_the_client_and_its_next_login_once(
    #[case] at: ExchangePlace,
    #[case] injection: Injection,
) {
    const OF_AZURE_DEVOPS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    let pod = Pod::start(at, injection).await;
    let (login, tokens) = pod.world.session(ANA).await;
    pod.calls(&tokens).await;
    let control = pod.world.entra.control();
    control
        .put_policies(ANA.user_name, &[Policy::multi_factor()])
        .await
        .unwrap();
    let challenge = Action::ClaimsChallenge {
        claims: OF_AZURE_DEVOPS.to_owned(),
    };
    pod.azure
        .control()
        .fault(&AzureFault::once(challenge))
        .await
        .unwrap();
    pod.is_challenged(&login, &tokens, RequestKind::OnBehalfOf).await;
    let exchanges = control.requests_of(RequestKind::OnBehalfOf).await.unwrap();
    let claims: Vec<_> = exchanges.iter().map(|record| record.claims.as_deref()).collect();
    assert_eq!(claims, [None, Some(OF_AZURE_DEVOPS)]);

    let (renewed, claims) = pod.sign_in_again(&login).await;
    assert!(matches!(&claims[..], [None, Some(_)]), "{claims:?}");
    pod.calls(&renewed).await;
    let (_, claims) = pod.sign_in_again(&login).await;
    assert_eq!(claims, [None], "the claims were sent twice");
}
