//! Tests faults of Entra and of the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use behalf_entra::{CodeGrant, EntraError, FederationReason, HttpLimits, NextStep, TokenSet, Verdict};
use jiff::SignedDuration;
use rstest::rstest;
use tokio::net::TcpListener;
use wiremock::{Request, Respond, ResponseTemplate};

use crate::entra::{ASSERTION, Entra, RENEWED, refused, secret, token, tokens};

async fn refresh(entra: &Entra) -> Result<TokenSet, EntraError> {
    entra.client.refresh(&secret("1.AXo"), "a/.default").await
}

async fn redeem(entra: &Entra) -> Result<TokenSet, EntraError> {
    let (code, verifier) = (secret("code"), secret("verifier"));
    let grant = CodeGrant {
        code: &code,
        redirect_uri: "https://mcp.contoso.example/cb",
        code_verifier: &verifier,
        scope: "s",
    };
    entra.client.redeem_code(grant).await
}

/// A token endpoint that takes connections, counts them, and closes them without a word.
async fn hanging_up(entra: &Entra) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut document = entra.document();
    document["token_endpoint"] = format!("http://{}/token", listener.local_addr().unwrap()).into();
    entra.publish(&document).await;
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    connections
}

#[tokio::test]
async fn waits_for_retry_after_and_succeeds() {
    let entra = Entra::start().await;
    entra
        .answer_once(ResponseTemplate::new(503).insert_header("retry-after", "0"))
        .await;
    entra.answer(tokens("at")).await;
    assert_eq!(refresh(&entra).await.unwrap().access_token.expose(), "at");
    assert_eq!(entra.forms().await.len(), 2);
}

#[tokio::test]
async fn a_429_is_not_tried_again_and_pauses_the_next_request() {
    let entra = Entra::start().await;
    entra
        .answer_once(ResponseTemplate::new(429).insert_header("retry-after", "0"))
        .await;
    entra.answer(tokens("at")).await;
    let error = refresh(&entra).await.unwrap_err();
    assert_eq!(error.reason(), Some(FederationReason::Throttled));
    assert!(matches!(refresh(&entra).await, Err(EntraError::Paused { .. })));
    assert_eq!(entra.forms().await.len(), 1);
}

#[tokio::test]
async fn a_retry_is_not_sent_in_the_pause_that_another_request_began() {
    let entra = Entra::start().await;
    let outage = ResponseTemplate::new(503).insert_header("retry-after", "1");
    entra.answer_once(outage).await;
    let throttled = ResponseTemplate::new(429).insert_header("retry-after", "40");
    entra.answer_once(throttled).await;
    entra.answer(tokens("at")).await;
    let another = async {
        while entra.forms().await.is_empty() {
            tokio::task::yield_now().await;
        }
        refresh(&entra).await
    };
    let (first, another) = tokio::join!(refresh(&entra), another);
    assert!(
        matches!(another, Err(EntraError::Throttled { .. })),
        "{another:?}"
    );
    assert!(matches!(first, Err(EntraError::Paused { .. })), "{first:?}");
    assert_eq!(entra.forms().await.len(), 2);
}

#[tokio::test]
async fn the_request_that_goes_first_after_a_pause_may_be_tried_again() {
    let entra = Entra::start().await;
    let throttled = ResponseTemplate::new(429).insert_header("retry-after", "40");
    entra.answer_once(throttled).await;
    entra.answer_once(ResponseTemplate::new(503)).await;
    entra.answer(tokens("at")).await;
    refresh(&entra).await.unwrap_err();
    entra.clock.advance(SignedDuration::from_secs(40));
    refresh(&entra).await.unwrap();
    assert_eq!(entra.forms().await.len(), 3);
}

#[tokio::test]
async fn a_429_for_a_code_pauses_no_other_request() {
    let entra = Entra::start().await;
    entra
        .answer_once(ResponseTemplate::new(429).insert_header("retry-after", "60"))
        .await;
    entra.answer(tokens("at")).await;
    assert!(redeem(&entra).await.is_err());
    refresh(&entra).await.unwrap();
    assert_eq!(entra.forms().await.len(), 2);
}

#[tokio::test]
async fn a_long_retry_after_ends_the_tries() {
    let entra = Entra::start().await;
    entra
        .answer(ResponseTemplate::new(429).insert_header("retry-after", "60"))
        .await;
    let error = refresh(&entra).await.unwrap_err();
    assert_eq!(
        error.next_step(),
        NextStep::RetryLater {
            after: Some(Duration::from_mins(1))
        }
    );
    assert_eq!(error.reason(), Some(FederationReason::Throttled));
    assert_eq!(entra.forms().await.len(), 1);
}

#[rstest]
#[case(ResponseTemplate::new(500))]
#[case(ResponseTemplate::new(503))]
#[case(ResponseTemplate::new(502).set_body_string("<html>Bad gateway</html>"))]
#[case(refused(503, "temporarily_unavailable", 90_033))]
#[case(refused(400, "temporarily_unavailable", 90_033))]
#[tokio::test]
async fn tries_what_passes_by_itself_three_times(#[case] answer: ResponseTemplate) {
    let entra = Entra::start().await;
    entra.answer(answer).await;
    let error = refresh(&entra).await.unwrap_err();
    assert_eq!(error.next_step(), NextStep::RetryLater { after: None });
    assert_eq!(error.federation_finding().verdict, Verdict::Unknown);
    assert_eq!(entra.forms().await.len(), 3);
}

#[rstest]
#[case(refused(400, "invalid_grant", 70_008))]
#[case(refused(400, "invalid_grant", 1))]
#[case(refused(400, "invalid_scope", 70_011))]
#[case(refused(400, "invalid_grant", 50_196))]
#[case(ResponseTemplate::new(200).set_body_string("<html>Sign in to the proxy</html>"))]
#[case(ResponseTemplate::new(200).set_body_string("{\"token_type\":\"Bearer\",\"access_token\":"))]
#[case(ResponseTemplate::new(400).set_body_string("<html>Bad request</html>"))]
#[case(ResponseTemplate::new(302).insert_header("location", "https://login.contoso.example/"))]
#[tokio::test]
async fn a_final_refusal_is_not_retried(#[case] answer: ResponseTemplate) {
    let entra = Entra::start().await;
    entra.answer(answer).await;
    assert!(refresh(&entra).await.is_err());
    assert_eq!(entra.forms().await.len(), 1);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let entra = Entra::start().await;
    let body = format!(
        r#"{{"token_type":"Bearer","access_token":"at","expires_in":60}}{}"#,
        " ".repeat(600 * 1024)
    );
    entra
        .answer(ResponseTemplate::new(200).set_body_string(body))
        .await;
    assert!(matches!(
        refresh(&entra).await,
        Err(EntraError::Malformed { status: 200, .. })
    ));
}

#[tokio::test]
async fn a_broken_connection_is_tried_again() {
    let entra = Entra::without_discovery().await;
    let connections = hanging_up(&entra).await;
    let error = refresh(&entra).await.unwrap_err();
    assert!(matches!(error, EntraError::Unreachable(_)), "{error:?}");
    assert_eq!(error.next_step(), NextStep::RetryLater { after: None });
    let chain = format!("{error:?}");
    assert!(!chain.contains("1.AXo") && !chain.contains(ASSERTION));
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_slow_answer_times_out() {
    let limits = HttpLimits {
        connect: Duration::from_secs(5),
        request: Duration::from_millis(200),
    };
    let entra = Entra::with_limits(limits).await;
    entra.publish(&entra.document()).await;
    entra
        .answer(tokens("at").set_delay(Duration::from_hours(1)))
        .await;
    assert!(matches!(refresh(&entra).await, Err(EntraError::TimedOut)));
    assert_eq!(entra.forms().await.len(), 3);
}

#[rstest]
#[case(503, 3)]
#[case(429, 3)]
#[case(500, 1)]
#[case(504, 1)]
#[tokio::test]
async fn a_code_is_sent_again_only_if_it_was_not_processed(#[case] status: u16, #[case] times: usize) {
    let entra = Entra::start().await;
    entra.answer(ResponseTemplate::new(status)).await;
    assert!(redeem(&entra).await.is_err());
    assert_eq!(entra.forms().await.len(), times);
}

#[tokio::test]
async fn a_code_is_not_sent_again_over_a_broken_connection() {
    let entra = Entra::without_discovery().await;
    let connections = hanging_up(&entra).await;
    assert!(matches!(redeem(&entra).await, Err(EntraError::Unreachable(_))));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_code_is_not_sent_again_after_a_timeout() {
    let limits = HttpLimits {
        connect: Duration::from_secs(5),
        request: Duration::from_millis(200),
    };
    let entra = Entra::with_limits(limits).await;
    entra.publish(&entra.document()).await;
    entra
        .answer(tokens("at").set_delay(Duration::from_hours(1)))
        .await;
    assert!(matches!(redeem(&entra).await, Err(EntraError::TimedOut)));
    assert_eq!(entra.forms().await.len(), 1);
}

#[tokio::test]
async fn a_refusal_is_shown_with_ids_and_without_its_description() {
    let entra = Entra::start().await;
    entra.answer(refused(400, "invalid_grant", 50_173)).await;
    let error = refresh(&entra).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Entra refused: invalid_grant AADSTS50173, trace id 1f0c, correlation id 7b2a"
    );
    assert_eq!(
        error.next_step(),
        NextStep::SignInAgain {
            claims: None,
            consent: false
        }
    );
}

/// Refuses the client, and replaces the file as the kubelet would at just that moment.
struct RefuseAndRenew(std::path::PathBuf);

impl Respond for RefuseAndRenew {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        std::fs::write(&self.0, RENEWED).unwrap();
        refused(401, "invalid_client", 700_024)
    }
}

#[tokio::test]
async fn a_token_that_the_kubelet_just_renewed_is_tried_once_more() {
    let entra = Entra::start().await;
    let renewing = RefuseAndRenew(entra.assertion.path().to_owned());
    token()
        .respond_with(renewing)
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&entra.server)
        .await;
    entra.answer(tokens("at")).await;
    refresh(&entra).await.unwrap();
    let assertions: Vec<_> = entra
        .forms()
        .await
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| (name == "client_assertion").then_some(value))
        .collect();
    assert_eq!(assertions, [ASSERTION, RENEWED]);
}

#[tokio::test]
async fn a_second_refused_assertion_is_final() {
    let entra = Entra::start().await;
    let renewing = RefuseAndRenew(entra.assertion.path().to_owned());
    token().respond_with(renewing).mount(&entra.server).await;
    let error = refresh(&entra).await.unwrap_err();
    assert_eq!(error.reason(), Some(FederationReason::FederatedTokenExpired));
    assert_eq!(entra.forms().await.len(), 2);
}

#[tokio::test]
async fn an_unchanged_assertion_is_not_sent_again_after_a_refusal() {
    let entra = Entra::start().await;
    entra.answer(refused(401, "invalid_client", 700_213)).await;
    let error = refresh(&entra).await.unwrap_err();
    assert_eq!(error.reason(), Some(FederationReason::FicSubjectMismatch));
    assert_eq!(error.next_step(), NextStep::ClientAuthentication);
    assert_eq!(entra.forms().await.len(), 1);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let entra = Entra::start().await;
    std::fs::remove_file(entra.assertion.path()).unwrap();
    let error = entra.probe().await.unwrap_err();
    assert_eq!(error.reason(), Some(FederationReason::WrongAssertion));
    assert_eq!(entra.forms().await.len(), 0);
}

#[tokio::test]
async fn a_token_that_entra_issued_is_not_sent() {
    let entra = Entra::start().await;
    let payload = format!(r#"{{"iss":"{}","sub":"s","aud":"a"}}"#, entra.issuer());
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
    std::fs::write(entra.assertion.path(), format!("e30.{encoded}.c2ln")).unwrap();
    let error = entra.probe().await.unwrap_err();
    assert_eq!(error.reason(), Some(FederationReason::ChainedFederation));
    assert_eq!(entra.forms().await.len(), 0);
}
