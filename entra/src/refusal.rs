//! Entra's error body.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::codes::{self, Meaning};
use crate::error::NextStep;
use crate::reason::{FederationFinding, FederationReason, SignInReason, Verdict};

const LONGEST_LINE: usize = 400;
const LONGEST_CLAIMS: usize = 8 * 1024;

/// What Entra said when it refused. Holds nothing that identifies a person and no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status; `None` when the refusal came back on the redirect.
    pub http_status: Option<u16>,

    /// `error`, as of RFC 6749, section 5.2, and Entra's own.
    pub error: String,

    /// AADSTS numbers, for reasons and hints.
    pub codes: Vec<u32>,

    /// `suberror`.
    pub suberror: Option<String>,

    /// `claims`: a JSON object as text, to be sent along with the next authorize request.
    pub claims: Option<String>,

    /// `trace_id`, for a support case.
    pub trace_id: Option<String>,

    /// `correlation_id`, as in the tenant's sign-in logs.
    pub correlation_id: Option<String>,

    /// The first line of the description, for conditions. Mail and IP addresses are taken out; still, it is
    /// not for logs.
    pub description_first_line: String,

    /// `Retry-After` of the answer.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads an error body; `None` when it is none.
    pub(crate) fn from_body(http_status: u16, retry_after: Option<Duration>, body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let error = text("error").filter(|error| is_token(error))?;
        let mut refusal = Self::new(error, text("error_description"));
        refusal.http_status = Some(http_status);
        refusal.retry_after = retry_after;
        if let Some(codes) = body.get("error_codes").and_then(Value::as_array) {
            let codes = codes
                .iter()
                .filter_map(Value::as_u64)
                .filter_map(|code| u32::try_from(code).ok());
            let codes: Vec<u32> = codes.take(8).collect();
            if !codes.is_empty() {
                refusal.codes = codes;
            }
        }
        refusal.suberror = text("suberror")
            .filter(|suberror| is_token(suberror))
            .map(str::to_owned);
        refusal.claims = text("claims")
            .filter(|claims| is_json_object(claims))
            .map(str::to_owned);
        refusal.trace_id = text("trace_id").filter(|id| is_identifier(id)).map(str::to_owned);
        refusal.correlation_id = text("correlation_id")
            .filter(|id| is_identifier(id))
            .map(str::to_owned);
        Some(refusal)
    }

    /// Reads the error that came back on the redirect: `error` and `error_description` of the query.
    pub fn from_redirect(error: &str, description: Option<&str>) -> Self {
        Self::new(if is_token(error) { error } else { "unknown" }, description)
    }

    fn new(error: &str, description: Option<&str>) -> Self {
        let description = description.unwrap_or_default();
        Self {
            http_status: None,
            error: error.to_owned(),
            codes: codes::numbers_in(description),
            suberror: None,
            claims: None,
            trace_id: None,
            correlation_id: None,
            description_first_line: first_line(description),
            retry_after: None,
        }
    }

    /// What to do about it. See [`NextStep`].
    pub fn next_step(&self) -> NextStep {
        match self.meaning() {
            Some(Meaning::Transient | Meaning::SignIn(SignInReason::LoopDetected)) => {
                return self.retry_later();
            }
            Some(Meaning::SignIn(reason)) if reason.blocks(self.claims.is_some()) => {
                return NextStep::Blocked;
            }
            Some(Meaning::Federation(_)) => return NextStep::ClientAuthentication,
            _ => {}
        }
        if self.suberror.as_deref() == Some("message_only") {
            return NextStep::Blocked;
        }
        match self.error.as_str() {
            "temporarily_unavailable" | "server_error" => self.retry_later(),
            "invalid_client" | "unauthorized_client" => NextStep::ClientAuthentication,
            "invalid_grant" | "interaction_required" | "login_required" | "consent_required" => {
                NextStep::SignInAgain {
                    claims: self.claims.clone(),
                    consent: self.wants_consent(),
                }
            }
            "access_denied" => NextStep::Blocked,
            _ => NextStep::OurBug,
        }
    }

    /// What a person is told; `None` when the number is not known as one of a sign-in.
    pub fn sign_in_reason(&self) -> Option<SignInReason> {
        match self.meaning() {
            Some(Meaning::SignIn(reason)) => Some(reason),
            _ if self.wants_consent() => Some(SignInReason::ConsentRequired),
            _ => None,
        }
    }

    /// What this says about the federation. A refusal of the client that has no known number still means
    /// that Entra does not take this process as the application.
    pub fn federation_finding(&self) -> FederationFinding {
        if let Some(reason) = self.federation_reason() {
            return FederationFinding {
                verdict: reason.verdict(),
                reason,
            };
        }
        if self.is_transient() {
            return FederationFinding {
                verdict: Verdict::Unknown,
                reason: FederationReason::Unreachable,
            };
        }
        let refused = matches!(self.error.as_str(), "invalid_client" | "unauthorized_client");
        let verdict = if refused { Verdict::False } else { Verdict::Unknown };
        FederationFinding {
            verdict,
            reason: FederationReason::Unknown,
        }
    }

    pub(crate) fn federation_reason(&self) -> Option<FederationReason> {
        match self.meaning()? {
            Meaning::Federation(reason) => Some(reason),
            Meaning::SignIn(SignInReason::PolicyBlocked) => Some(FederationReason::PolicyBlocked),
            Meaning::Transient => Some(FederationReason::Unreachable),
            Meaning::SignIn(_) | Meaning::OurBug => None,
        }
    }

    /// True when the same request may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self.meaning() {
            Some(Meaning::Transient | Meaning::Federation(FederationReason::IssuerUnreachable)) => true,
            Some(Meaning::SignIn(SignInReason::LoopDetected)) => false,
            _ => self.error == "temporarily_unavailable",
        }
    }

    /// True when it was the user's token that was refused as On-Behalf-Of assertion (AADSTS500133,
    /// AADSTS50013): refreshing that token and exchanging once more may help before a login is asked for.
    pub fn user_token_refused(&self) -> bool {
        self.sign_in_reason() == Some(SignInReason::UserTokenStale)
    }

    fn meaning(&self) -> Option<Meaning> {
        self.codes.iter().copied().find_map(codes::meaning)
    }

    fn wants_consent(&self) -> bool {
        self.suberror.as_deref() == Some("consent_required") || self.error == "consent_required"
    }

    fn retry_later(&self) -> NextStep {
        NextStep::RetryLater {
            after: self.retry_after,
        }
    }
}

/// `error`, numbers and ids: what a log may hold.
impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.error)?;
        if let Some(suberror) = &self.suberror {
            write!(formatter, "/{suberror}")?;
        }
        for code in &self.codes {
            write!(formatter, " AADSTS{code}")?;
        }
        if let Some(trace_id) = &self.trace_id {
            write!(formatter, ", trace id {trace_id}")?;
        }
        if let Some(correlation_id) = &self.correlation_id {
            write!(formatter, ", correlation id {correlation_id}")?;
        }
        Ok(())
    }
}

/// A short word of RFC 6749's error alphabet, so that it can stand in a log or a header.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_json_object(text: &str) -> bool {
    text.len() <= LONGEST_CLAIMS && serde_json::from_str::<serde_json::Map<String, Value>>(text).is_ok()
}

/// The first line without anything that could name a person or be a credential.
fn first_line(description: &str) -> String {
    let line = description.lines().next().unwrap_or_default();
    let line = line.split("Trace ID:").next().unwrap_or_default();
    let mut kept = String::new();
    for word in line.split_whitespace() {
        if !kept.is_empty() {
            kept.push(' ');
        }
        if names_someone(word) {
            kept.push_str("[removed]");
        } else {
            kept.extend(word.chars().filter(|character| !character.is_control()));
        }
        if kept.len() > LONGEST_LINE {
            let end = kept.floor_char_boundary(LONGEST_LINE);
            kept.truncate(end);
            kept.push_str("...");
            break;
        }
    }
    kept
}

fn names_someone(word: &str) -> bool {
    let bare = word.trim_matches(|character: char| !character.is_ascii_alphanumeric() && character != ':');
    word.contains('@')
        || word.contains("eyJ")
        || bare.parse::<std::net::IpAddr>().is_ok()
        || bare.trim_end_matches(':').parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn refusal(body: &Value) -> Refusal {
        Refusal::from_body(400, None, body.to_string().as_bytes()).unwrap()
    }

    fn with(error: &str, code: u32) -> Refusal {
        refusal(&json!({"error": error, "error_codes": [code]}))
    }

    fn sign_in() -> NextStep {
        NextStep::SignInAgain {
            claims: None,
            consent: false,
        }
    }

    #[test]
    fn reads_an_error_body_whole() {
        let refusal = refusal(&json!({
            "error": "invalid_grant",
            "error_description": "AADSTS65001: The user or administrator has not consented to use the \
                application.\r\nTrace ID: 1f0c\r\nCorrelation ID: 7b2a\r\nTimestamp: 2026-11-02 09:14:05Z",
            "error_codes": [65_001],
            "timestamp": "2026-11-02 09:14:05Z",
            "trace_id": "1f0c",
            "correlation_id": "7b2a",
            "error_uri": "https://login.microsoftonline.com/error?code=65001",
            "suberror": "consent_required",
            "claims": "{\"access_token\":{\"polids\":{\"essential\":true,\"values\":[\"9ab0\"]}}}",
        }));
        assert_eq!(refusal.http_status, Some(400));
        assert_eq!(refusal.error, "invalid_grant");
        assert_eq!(refusal.codes, [65_001]);
        assert_eq!(refusal.suberror.as_deref(), Some("consent_required"));
        assert_eq!(
            refusal.claims.as_deref(),
            Some(r#"{"access_token":{"polids":{"essential":true,"values":["9ab0"]}}}"#)
        );
        assert_eq!(
            refusal.description_first_line,
            "AADSTS65001: The user or administrator has not consented to use the application."
        );
        assert_eq!(
            refusal.to_string(),
            "invalid_grant/consent_required AADSTS65001, trace id 1f0c, correlation id 7b2a"
        );
    }

    #[rstest]
    #[case(json!({"error": ""}))]
    #[case(json!({"error": "bad error"}))]
    #[case(json!({"error": "a\nb"}))]
    #[case(json!({"error": {"code": "x"}}))]
    #[case(json!({"message": "no"}))]
    #[case(json!(["error"]))]
    #[case(json!(null))]
    fn takes_nothing_else_for_an_error_body(#[case] body: Value) {
        assert_eq!(Refusal::from_body(400, None, body.to_string().as_bytes()), None);
    }

    #[test]
    fn an_odd_optional_field_loses_only_itself() {
        let refusal = refusal(&json!({
            "error": "invalid_grant",
            "error_description": 7,
            "error_codes": ["65001", -1, 4_294_967_296_u64],
            "suberror": ["x"],
            "claims": {"access_token": {}},
            "trace_id": "<script>",
            "correlation_id": null,
        }));
        assert_eq!(refusal.next_step(), sign_in());
        assert_eq!(
            (
                refusal.codes.len(),
                refusal.suberror,
                refusal.claims,
                refusal.trace_id,
                refusal.correlation_id
            ),
            (0, None, None, None, None)
        );
    }

    #[rstest]
    #[case("not json")]
    #[case("[1]")]
    #[case("\"text\"")]
    fn claims_that_are_no_json_object_are_dropped(#[case] claims: &str) {
        let refusal = refusal(&json!({"error": "interaction_required", "claims": claims}));
        assert_eq!(refusal.claims, None);
    }

    #[test]
    fn takes_the_numbers_from_the_description_when_there_is_no_list() {
        let refusal = Refusal::from_redirect("access_denied", Some("AADSTS65004: User declined to consent."));
        assert_eq!(refusal.codes, [65_004]);
        assert_eq!(refusal.sign_in_reason(), Some(SignInReason::ConsentDeclined));
        assert_eq!(refusal.next_step(), NextStep::Blocked);
    }

    #[rstest]
    #[case(
        "AADSTS50034: The account ana@contoso.example is unknown",
        "AADSTS50034: The account [removed] is unknown"
    )]
    #[case(
        "AADSTS53003: blocked from 203.0.113.7.",
        "AADSTS53003: blocked from [removed]"
    )]
    #[case(
        "AADSTS53003: blocked from 2001:db8::7",
        "AADSTS53003: blocked from [removed]"
    )]
    #[case(
        "AADSTS1: token eyJhbGciOi was refused",
        "AADSTS1: token [removed] was refused"
    )]
    #[case("AADSTS2: first\r\nsecond", "AADSTS2: first")]
    #[case("AADSTS3: first Trace ID: 1f0c", "AADSTS3: first")]
    #[case(
        "AADSTS700211: No matching federated identity record found for presented assertion issuer \
         'https://westeurope.oic.prod-aks.azure.com/a/b/'.",
        "AADSTS700211: No matching federated identity record found for presented assertion issuer \
         'https://westeurope.oic.prod-aks.azure.com/a/b/'."
    )]
    fn the_description_keeps_what_helps_and_names_nobody(#[case] given: &str, #[case] kept: &str) {
        assert_eq!(first_line(given), kept);
    }

    #[test]
    fn the_description_is_bounded() {
        assert!(first_line(&"wörd ".repeat(10_000)).len() <= LONGEST_LINE + 16);
        assert!(first_line(&"ö".repeat(10_000)).len() <= LONGEST_LINE + 16);
    }

    // Control flow without any number: the standard fields decide.
    #[rstest]
    #[case("invalid_client", NextStep::ClientAuthentication)]
    #[case("unauthorized_client", NextStep::ClientAuthentication)]
    #[case("invalid_grant", sign_in())]
    #[case("interaction_required", sign_in())]
    #[case("login_required", sign_in())]
    #[case("access_denied", NextStep::Blocked)]
    #[case("temporarily_unavailable", NextStep::RetryLater { after: None })]
    #[case("server_error", NextStep::RetryLater { after: None })]
    #[case("invalid_scope", NextStep::OurBug)]
    #[case("invalid_request", NextStep::OurBug)]
    #[case("invalid_target", NextStep::OurBug)]
    #[case("unsupported_grant_type", NextStep::OurBug)]
    #[case("something_new", NextStep::OurBug)]
    fn the_error_decides_the_next_step(#[case] error: &str, #[case] expected: NextStep) {
        assert_eq!(with(error, 1).next_step(), expected);
    }

    #[test]
    fn claims_are_handed_on_to_the_next_login() {
        let claims = r#"{"access_token":{"polids":{}}}"#;
        let refusal = refusal(&json!({"error": "interaction_required", "claims": claims}));
        let expected = NextStep::SignInAgain {
            claims: Some(claims.to_owned()),
            consent: false,
        };
        assert_eq!(refusal.next_step(), expected);
    }

    #[test]
    fn a_message_only_refusal_is_final_even_with_claims() {
        let refusal = refusal(&json!({
            "error": "interaction_required", "suberror": "message_only", "claims": "{\"access_token\":{}}",
        }));
        assert_eq!(refusal.next_step(), NextStep::Blocked);
    }

    #[test]
    fn missing_consent_asks_for_the_consent_dialog() {
        let refusal = refusal(&json!({"error": "invalid_grant", "suberror": "consent_required"}));
        assert_eq!(
            refusal.next_step(),
            NextStep::SignInAgain {
                claims: None,
                consent: true
            }
        );
        assert_eq!(refusal.sign_in_reason(), Some(SignInReason::ConsentRequired));
    }

    #[test]
    fn a_device_condition_is_final_only_without_claims() {
        assert_eq!(
            with("interaction_required", 53_000).next_step(),
            NextStep::Blocked
        );
        let claims = "{\"access_token\":{}}";
        let with_claims =
            refusal(&json!({"error": "interaction_required", "error_codes": [53_000], "claims": claims}));
        let expected = NextStep::SignInAgain {
            claims: Some(claims.to_owned()),
            consent: false,
        };
        assert_eq!(with_claims.next_step(), expected);
    }

    #[rstest]
    #[case(700_211, "invalid_client", FederationReason::FicIssuerMismatch)]
    #[case(700_212, "invalid_client", FederationReason::FicAudienceMismatch)]
    #[case(700_213, "invalid_client", FederationReason::FicSubjectMismatch)]
    #[case(7_002_137, "invalid_client", FederationReason::FicCaseMismatch)]
    #[case(7_002_138, "invalid_client", FederationReason::FicCaseMismatch)]
    #[case(70_021, "invalid_request", FederationReason::FicNotFound)]
    #[case(700_231, "invalid_client", FederationReason::ChainedFederation)]
    #[case(700_222, "invalid_client", FederationReason::WrongAssertion)]
    #[case(700_229, "invalid_client", FederationReason::WrongAssertion)]
    #[case(700_024, "invalid_client", FederationReason::FederatedTokenExpired)]
    #[case(700_027, "invalid_client", FederationReason::FederatedTokenSignature)]
    #[case(50_012, "invalid_grant", FederationReason::FederatedTokenSignature)]
    #[case(90_061, "invalid_request", FederationReason::IssuerUnreachable)]
    #[case(50_166, "invalid_request", FederationReason::IssuerUnreachable)]
    #[case(501_661, "invalid_request", FederationReason::IssuerUnreachable)]
    #[case(700_016, "unauthorized_client", FederationReason::AppNotFound)]
    #[case(700_011, "unauthorized_client", FederationReason::AppNotFound)]
    #[case(70_001, "unauthorized_client", FederationReason::AppDisabled)]
    #[case(7_000_112, "unauthorized_client", FederationReason::AppDisabled)]
    #[case(90_002, "invalid_request", FederationReason::TenantNotFound)]
    #[case(90_038, "invalid_request", FederationReason::TenantNotFound)]
    #[case(700_025, "invalid_client", FederationReason::PublicClient)]
    #[case(500_011, "invalid_resource", FederationReason::ResourceNotFound)]
    fn names_the_reason_of_a_client_that_entra_does_not_take(
        #[case] code: u32,
        #[case] error: &str,
        #[case] reason: FederationReason,
    ) {
        let refusal = with(error, code);
        assert_eq!(
            refusal.federation_finding(),
            FederationFinding {
                verdict: Verdict::False,
                reason
            }
        );
        assert_eq!(refusal.next_step(), NextStep::ClientAuthentication);
        assert_eq!(refusal.sign_in_reason(), None);
    }

    #[rstest]
    #[case(501_051, "invalid_grant", FederationReason::AppNotAssigned)]
    #[case(53_003, "invalid_grant", FederationReason::PolicyBlocked)]
    #[case(530_032, "invalid_grant", FederationReason::PolicyBlocked)]
    #[case(530_035, "interaction_required", FederationReason::PolicyBlocked)]
    #[case(53_011, "interaction_required", FederationReason::PolicyBlocked)]
    #[case(90_033, "temporarily_unavailable", FederationReason::Unreachable)]
    #[case(1, "temporarily_unavailable", FederationReason::Unreachable)]
    #[case(1, "invalid_grant", FederationReason::Unknown)]
    fn a_policy_or_an_outage_leaves_the_federation_unknown(
        #[case] code: u32,
        #[case] error: &str,
        #[case] reason: FederationReason,
    ) {
        let finding = with(error, code).federation_finding();
        assert_eq!(
            finding,
            FederationFinding {
                verdict: Verdict::Unknown,
                reason
            }
        );
    }

    #[test]
    fn an_unlisted_refusal_of_the_client_still_contradicts_the_federation() {
        let finding = with("invalid_client", 1).federation_finding();
        assert_eq!(
            finding,
            FederationFinding {
                verdict: Verdict::False,
                reason: FederationReason::Unknown
            }
        );
    }

    #[rstest]
    #[case(65_001, SignInReason::ConsentRequired, false)]
    #[case(90_094, SignInReason::AdminConsentRequired, true)]
    #[case(90_095, SignInReason::AdminConsentRequired, true)]
    #[case(65_004, SignInReason::ConsentDeclined, false)]
    #[case(90_008, SignInReason::AppMisconfigured, true)]
    #[case(90_009, SignInReason::AppMisconfigured, true)]
    #[case(240_002, SignInReason::AppMisconfigured, true)]
    #[case(500_131, SignInReason::AppMisconfigured, true)]
    #[case(650_057, SignInReason::PermissionMissing, true)]
    #[case(650_056, SignInReason::PermissionMissing, true)]
    #[case(65_005, SignInReason::PermissionMissing, true)]
    #[case(650_052, SignInReason::PermissionMissing, true)]
    #[case(50_105, SignInReason::UserNotAssigned, true)]
    #[case(7_000_114, SignInReason::UsersOnly, true)]
    #[case(7_000_113, SignInReason::UsersOnly, true)]
    #[case(50_020, SignInReason::UserNotAllowed, true)]
    #[case(50_034, SignInReason::UserNotAllowed, true)]
    #[case(50_057, SignInReason::UserNotAllowed, true)]
    #[case(90_072, SignInReason::UserNotAllowed, true)]
    #[case(500_212, SignInReason::UserNotAllowed, true)]
    #[case(500_213, SignInReason::UserNotAllowed, true)]
    #[case(50_076, SignInReason::StepUpRequired, false)]
    #[case(50_079, SignInReason::StepUpRequired, false)]
    #[case(50_072, SignInReason::StepUpRequired, false)]
    #[case(50_074, SignInReason::StepUpRequired, false)]
    #[case(50_078, SignInReason::StepUpRequired, false)]
    #[case(50_158, SignInReason::StepUpRequired, false)]
    #[case(50_097, SignInReason::DeviceCondition, true)]
    #[case(53_000, SignInReason::DeviceCondition, true)]
    #[case(53_001, SignInReason::DeviceCondition, true)]
    #[case(53_002, SignInReason::DeviceCondition, true)]
    #[case(50_131, SignInReason::DeviceCondition, true)]
    #[case(53_003, SignInReason::PolicyBlocked, true)]
    #[case(530_032, SignInReason::PolicyBlocked, true)]
    #[case(530_035, SignInReason::PolicyBlocked, true)]
    #[case(53_011, SignInReason::PolicyBlocked, true)]
    #[case(70_043, SignInReason::SignInFrequency, false)]
    #[case(500_133, SignInReason::UserTokenStale, false)]
    #[case(50_013, SignInReason::UserTokenStale, false)]
    #[case(54_005, SignInReason::CodeUnusable, false)]
    #[case(501_481, SignInReason::CodeUnusable, false)]
    #[case(700_005, SignInReason::CodeUnusable, false)]
    #[case(70_008, SignInReason::SessionEnded, false)]
    #[case(700_082, SignInReason::SessionEnded, false)]
    #[case(700_084, SignInReason::SessionEnded, false)]
    #[case(50_173, SignInReason::SessionEnded, false)]
    #[case(50_089, SignInReason::SessionEnded, false)]
    #[case(70_000, SignInReason::GrantMalformed, false)]
    #[case(9_002_313, SignInReason::GrantMalformed, false)]
    fn names_the_reason_of_a_refused_sign_in(
        #[case] code: u32,
        #[case] reason: SignInReason,
        #[case] final_refusal: bool,
    ) {
        let refusal = with("invalid_grant", code);
        assert_eq!(refusal.sign_in_reason(), Some(reason));
        let expected = if final_refusal {
            NextStep::Blocked
        } else {
            sign_in()
        };
        assert_eq!(refusal.next_step(), expected);
        assert_eq!(
            refusal.user_token_refused(),
            reason == SignInReason::UserTokenStale
        );
    }

    #[rstest]
    #[case(9_010_010, "invalid_target")]
    #[case(901_002, "invalid_request")]
    #[case(700_022, "invalid_scope")]
    #[case(70_011, "invalid_scope")]
    #[case(28_002, "invalid_scope")]
    #[case(28_003, "invalid_scope")]
    #[case(900_144, "invalid_request")]
    fn a_request_of_wrong_shape_is_our_bug(#[case] code: u32, #[case] error: &str) {
        assert_eq!(with(error, code).next_step(), NextStep::OurBug);
    }

    #[rstest]
    #[case(7_000_215)]
    #[case(7_000_218)]
    #[case(7_000_222)]
    fn a_complaint_about_secrets_is_a_refused_client(#[case] code: u32) {
        let refusal = with("invalid_client", code);
        assert_eq!(refusal.next_step(), NextStep::ClientAuthentication);
        assert_eq!(refusal.federation_finding().reason, FederationReason::Unknown);
    }

    #[rstest]
    #[case(50_033)]
    #[case(90_006)]
    #[case(90_012)]
    #[case(90_024)]
    #[case(90_033)]
    #[case(90_055)]
    #[case(90_090)]
    fn passes_by_itself(#[case] code: u32) {
        let refusal = with("invalid_grant", code);
        assert!(refusal.is_transient());
        assert_eq!(refusal.next_step(), NextStep::RetryLater { after: None });
    }

    #[test]
    fn a_detected_loop_is_not_fed_further() {
        let refusal = with("invalid_grant", 50_196);
        assert!(!refusal.is_transient());
        assert_eq!(refusal.next_step(), NextStep::RetryLater { after: None });
    }
}
