//! Client authentication with a federated credential. The real order of checks is unpublished; this one is
//! a choice: itself, issuer, subject, audience, the issuer's keys, signature, time.

use jiff::Timestamp;
use jsonwebtoken::DecodingKey;

use super::endpoints::Endpoints;
use super::failure::Failure;
use super::issuers::PublicKey;
use super::jwt::Unverified;
use super::model::FederatedCredential;
use super::state::{State, World};

/// Skew allowed for `nbf`. An expired assertion gets none.
const NOT_BEFORE_SKEW_SECONDS: i64 = 300;

/// Checks that `assertion` is one of the application's federated credentials, signed by its issuer.
pub(super) async fn check(world: &World, client_id: &str, assertion: &str) -> Result<(), Failure> {
    let Some(jwt) = Unverified::parse(assertion) else {
        return Err(Failure::invalid_request(
            50_027,
            "The client assertion is not a well-formed JWT.",
        ));
    };
    let (access, now) = {
        let mut state = world.lock();
        match_credential(&mut state, &world.endpoints, client_id, &jwt)?;
        let issuer = jwt.text("iss");
        let access = state
            .directory
            .issuers
            .iter()
            .find(|access| access.issuer == issuer)
            .cloned();
        (access, state.now())
    };
    let keys = world
        .issuers
        .keys(jwt.text("iss"), access.as_ref())
        .await
        .map_err(|error| {
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "Issuer's keys are out of reach: {error}"
            );
            Failure::invalid_request(
                90_061,
                format!(
                    "Request to the external OIDC endpoint failed: the keys of issuer '{}' cannot be read.",
                    jwt.text("iss")
                ),
            )
        })?;
    check_signature(&jwt, &keys)?;
    check_time(&jwt, now)
}

/// Issuer, subject and audience against the application's credentials.
fn match_credential(
    state: &mut State,
    endpoints: &Endpoints,
    client_id: &str,
    jwt: &Unverified,
) -> Result<(), Failure> {
    let (issuer, subject, audience) = (jwt.text("iss"), jwt.text("sub"), jwt.audience());
    if issuer == endpoints.issuer() || issuer == endpoints.issuer_v1() {
        return Err(Failure::invalid_client(
            700_231,
            "Token obtained using a federated identity credential may not be used as a federated identity credential.",
        ));
    }
    let fits = |credential: &FederatedCredential| {
        credential.issuer == issuer
            && credential.subject == subject
            && audience.contains(&credential.audience)
    };
    let known = state.visible_credentials(client_id, fits);
    if known.iter().any(fits) {
        return Ok(());
    }
    if known.is_empty() {
        return Err(Failure::invalid_client(
            70_025,
            format!("The client '{client_id}' has no configured federated identity credentials."),
        ));
    }
    let of_issuer: Vec<_> = known.iter().filter(|one| one.issuer == issuer).collect();
    if of_issuer.is_empty() {
        return Err(Failure::invalid_client(
            700_211,
            format!("No matching federated identity record found for presented assertion issuer '{issuer}'."),
        ));
    }
    if of_issuer.iter().any(|one| one.subject == subject) {
        return Err(Failure::invalid_client(
            700_212,
            format!(
                "No matching federated identity record found for presented assertion audience '{}'.",
                audience.join(", ")
            ),
        ));
    }
    if of_issuer
        .iter()
        .any(|one| one.subject.eq_ignore_ascii_case(subject))
    {
        return Err(Failure::invalid_client(
            7_002_138,
            format!(
                "No matching federated identity record found for presented assertion subject '{subject}': it differs from a record by case only."
            ),
        ));
    }
    Err(Failure::invalid_client(
        700_213,
        format!("No matching federated identity record found for presented assertion subject '{subject}'."),
    ))
}

fn check_signature(jwt: &Unverified, keys: &[PublicKey]) -> Result<(), Failure> {
    let signed = keys
        .iter()
        .filter(|key| key.kid == jwt.kid)
        .filter_map(|key| Some((key.n.as_deref()?, key.e.as_deref()?)))
        .filter_map(|(n, e)| DecodingKey::from_rsa_components(n, e).ok())
        .any(|key| jwt.is_signed_by(&key));
    if signed {
        return Ok(());
    }
    Err(Failure::invalid_client(
        700_027,
        "The signature of the client assertion could not be verified with the keys of its issuer.",
    ))
}

fn check_time(jwt: &Unverified, now: Timestamp) -> Result<(), Failure> {
    let (from, until) = (
        jwt.seconds("nbf").or_else(|| jwt.seconds("iat")),
        jwt.seconds("exp"),
    );
    let current = now.as_second();
    let begun = from.is_none_or(|from| from <= current + NOT_BEFORE_SKEW_SECONDS);
    if begun && until.is_some_and(|until| until > current) {
        return Ok(());
    }
    Err(Failure::invalid_client(
        700_024,
        format!(
            "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {}, expiry time of assertion {}.",
            instant(from),
            instant(until)
        ),
    ))
}

fn instant(seconds: Option<i64>) -> String {
    seconds
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| "none".to_owned(), |at| at.to_string())
}
