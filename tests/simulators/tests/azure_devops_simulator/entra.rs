//! Together with the Entra simulator, over TLS with a private authority as in a Pod.

use behalf_simulators::{
    azure_devops::{AzureDevOpsOptions, AzureDevOpsSimulator},
    certificates::CertificateAuthority,
    entra::{EntraSimulator, EntraSimulatorOptions, MintRequest},
    people::{ANA, AZURE_DEVOPS_APPLICATION_ID, BEN},
};

use crate::fixture::{Answer, send};

async fn projects(simulator: &AzureDevOpsSimulator, token: &str) -> Answer {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let address = simulator.core_url().join("contoso/_apis/projects").unwrap();
    send(http.get(address).bearer_auth(token)).await
}

#[tokio::test]
async fn believes_entras_delegated_tokens_for_azure_devops_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::generate("Test").unwrap();
    let roots = directory.path().join("ca.crt");
    std::fs::write(&roots, authority.certificate_pem()).unwrap();
    let options = EntraSimulatorOptions {
        tls: Some(authority.issue(&["127.0.0.1"]).unwrap()),
        ..EntraSimulatorOptions::default()
    };
    let entra = EntraSimulator::start(options).await.unwrap();
    let mut options = AzureDevOpsOptions::new(entra.authority());
    options.issuer.certificate_authority = Some(roots);
    let simulator = AzureDevOpsSimulator::start(options).await.unwrap();
    let for_azure_devops = |person: &str| MintRequest::for_user(person).resource(AZURE_DEVOPS_APPLICATION_ID);
    let mint = |wanted: MintRequest| {
        let control = entra.control();
        async move { control.mint(&wanted).await.unwrap() }
    };

    for (person, projects_seen) in [(ANA, 1), (BEN, 2)] {
        let token = mint(for_azure_devops(person.user_name)).await;
        assert_eq!(
            projects(&simulator, &token).await.ok().items().len(),
            projects_seen
        );
    }
    let of_ana = for_azure_devops(ANA.user_name);
    for (wanted, refusal) in [
        (MintRequest::for_user(ANA.user_name), "audience"),
        (
            MintRequest {
                id_token: true,
                ..MintRequest::for_user(ANA.user_name)
            },
            "audience",
        ),
        (
            MintRequest::app_only().resource(AZURE_DEVOPS_APPLICATION_ID),
            "appOnly",
        ),
        (
            MintRequest {
                expires_in_seconds: Some(-1),
                ..of_ana.clone()
            },
            "expired",
        ),
        (
            MintRequest {
                foreign_key: true,
                ..of_ana
            },
            "signature",
        ),
    ] {
        let shown = format!("{wanted:?}");
        let token = mint(wanted).await;
        projects(&simulator, &token).await.expect(203);
        let call = simulator.control().record().await.unwrap().pop().unwrap();
        assert_eq!(call.refusal.as_deref(), Some(refusal), "{shown}");
    }
}
