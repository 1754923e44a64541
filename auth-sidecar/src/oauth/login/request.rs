//! Validates the authorization request of a client. The client and its redirect URI are validated first, because
//! they decide whether an error goes to the client or onto a page.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::parameters::{Parameters, Repeated};
use crate::access::{AccessPolicy, Scopes};
use crate::clients::{Client, ClientError, Clients};
use crate::http::public_url::Addresses;
use crate::pkce;

/// Maximum length of `state` in bytes. A cookie of at most 4 KiB contains it with the rest of the request.
const MAX_STATE_BYTES: usize = 1024;

/// A valid authorization request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    #[serde(rename = "c")]
    pub(crate) client_id: String,

    #[serde(rename = "u")]
    pub(crate) redirect_uri: String,

    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,

    #[serde(rename = "h")]
    pub(crate) code_challenge: String,

    #[serde(rename = "o")]
    pub(crate) scopes: Scopes,

    /// True if the client sent `prompt`: the consent page is then shown even if the browser remembers an approval.
    #[serde(skip)]
    pub(crate) prompts: bool,
}

/// A refused request, and where its error goes.
#[derive(Debug)]
pub(crate) enum AuthorizeRefusal {
    /// To the user, on a page of this server, because no redirect URI is known to belong to the client (RFC 6749,
    /// section 4.1.2.1).
    Page(PageError),

    /// To the client's redirect URI.
    Redirect(RedirectError),
}

/// Why no redirect URI is known to belong to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PageError {
    #[error("the request names no client, or more than one")]
    ClientId,

    #[error(transparent)]
    Client(#[from] ClientError),

    #[error("the request names no redirect URI, or more than one")]
    RedirectUri,

    #[error("the redirect URI is not registered for this client")]
    ForeignRedirectUri,

    #[error("the request has too many parameters")]
    Parameters,
}

/// An error that goes to the client's redirect URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedirectError {
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) error: &'static str,
    pub(crate) description: String,
}

impl AuthorizationRequest {
    /// Validates the query of `/authorize`. `caller` is the address of the browser.
    pub(crate) async fn check(
        query: &[u8],
        caller: Option<IpAddr>,
        clients: &Clients,
        addresses: &Addresses,
        access: &AccessPolicy,
    ) -> Result<(Self, Client), AuthorizeRefusal> {
        let parameters =
            Parameters::parse(query).map_err(|_| AuthorizeRefusal::Page(PageError::Parameters))?;
        let (client, redirect_uri) = client_and_redirect_uri(&parameters, caller, clients)
            .await
            .map_err(AuthorizeRefusal::Page)?;
        let to_client = |error, description: String, state: Option<&str>| {
            AuthorizeRefusal::Redirect(RedirectError {
                redirect_uri: redirect_uri.clone(),
                state: state.map(str::to_owned),
                error,
                description,
            })
        };
        // `state` is validated before the rest, because every later error contains it.
        let state = match parameters.one("state") {
            Ok(state) if state.is_none_or(|state| state.len() <= MAX_STATE_BYTES) => state,
            Ok(_) => {
                let description = format!("state is longer than {MAX_STATE_BYTES} bytes");
                return Err(to_client("invalid_request", description, None));
            }
            Err(repeated) => return Err(to_client("invalid_request", repeated.to_string(), None)),
        };
        let checked = check_rest(&parameters, addresses, access);
        let (code_challenge, scopes) =
            checked.map_err(|(error, description)| to_client(error, description, state))?;
        let state = state.map(str::to_owned);
        Ok((
            Self {
                client_id: client.id.clone(),
                redirect_uri,
                state,
                code_challenge,
                scopes,
                prompts: parameters.all("prompt").next().is_some(),
            },
            client,
        ))
    }

    /// Returns the error of this request for the client's redirect URI.
    pub(crate) fn refuse(&self, error: &'static str, description: impl Into<String>) -> RedirectError {
        RedirectError {
            redirect_uri: self.redirect_uri.clone(),
            state: self.state.clone(),
            error,
            description: description.into(),
        }
    }

    /// Returns the client's redirect URI with the code.
    pub(crate) fn success(&self, code: &str, issuer: &str) -> Option<Url> {
        with_parameters(
            &self.redirect_uri,
            &[("code", code)],
            self.state.as_deref(),
            issuer,
        )
    }
}

impl RedirectError {
    /// Returns the client's redirect URI with the error. It contains `iss`, as a success does (RFC 9207).
    pub(crate) fn location(&self, issuer: &str) -> Option<Url> {
        let parameters = [("error", self.error), ("error_description", &*self.description)];
        with_parameters(&self.redirect_uri, &parameters, self.state.as_deref(), issuer)
    }
}

fn with_parameters(
    redirect_uri: &str,
    parameters: &[(&str, &str)],
    state: Option<&str>,
    issuer: &str,
) -> Option<Url> {
    let mut url = Url::parse(redirect_uri).ok()?;
    url.query_pairs_mut()
        .extend_pairs(parameters)
        .extend_pairs(state.map(|state| ("state", state)))
        .append_pair("iss", issuer);
    Some(url)
}

/// Returns the client and its redirect URI.
async fn client_and_redirect_uri(
    parameters: &Parameters,
    caller: Option<IpAddr>,
    clients: &Clients,
) -> Result<(Client, String), PageError> {
    let Ok(Some(client_id)) = parameters.one("client_id") else {
        return Err(PageError::ClientId);
    };
    let client = clients.find(client_id, caller).await?;
    let Ok(Some(redirect_uri)) = parameters.one("redirect_uri") else {
        return Err(PageError::RedirectUri);
    };
    if client.may_redirect_to(redirect_uri) {
        Ok((client, redirect_uri.to_owned()))
    } else {
        Err(PageError::ForeignRedirectUri)
    }
}

type RequestError = (&'static str, String);

fn check_rest(
    parameters: &Parameters,
    addresses: &Addresses,
    access: &AccessPolicy,
) -> Result<(String, Scopes), RequestError> {
    let one = |name| {
        parameters
            .one(name)
            .map_err(|repeated: Repeated| ("invalid_request", repeated.to_string()))
    };
    let invalid = |description: &str| Err(("invalid_request", description.to_owned()));
    if one("request")?.is_some() {
        return Err((
            "request_not_supported",
            "send the parameters in the query".to_owned(),
        ));
    }
    if one("request_uri")?.is_some() {
        return Err((
            "request_uri_not_supported",
            "send the parameters in the query".to_owned(),
        ));
    }
    match one("response_type")? {
        Some("code") => {}
        Some(_) => {
            return Err((
                "unsupported_response_type",
                "response_type must be code".to_owned(),
            ));
        }
        None => return invalid("response_type is missing; it must be code"),
    }
    if one("response_mode")?.is_some_and(|mode| mode != "query") {
        return invalid("response_mode must be query");
    }
    // An absent method means plain (RFC 7636, section 4.3). A party that saw the request could then redeem the code.
    if one("code_challenge_method")? != Some("S256") {
        return invalid("code_challenge_method must be S256");
    }
    let Some(code_challenge) = one("code_challenge")?.filter(|challenge| pkce::is_challenge(challenge))
    else {
        return invalid("code_challenge must be the base64url form of a SHA-256");
    };
    // `resource` is validated here and not sent to Entra, which refuses it together with scopes (AADSTS9010010).
    if !parameters
        .all("resource")
        .all(|resource| addresses.are_meant_by(resource))
    {
        return Err((
            "invalid_target",
            format!("the only resource here is {}", addresses.resource()),
        ));
    }
    if one("prompt")?.is_some_and(|prompt| prompt.split(' ').any(|word| word == "none")) {
        return Err((
            "interaction_required",
            "every sign-in at this server asks the user for consent".to_owned(),
        ));
    }
    let requested = Scopes::parse(one("scope")?.unwrap_or_default());
    let requested = requested.map_err(|error| ("invalid_scope", error.to_string()))?;
    Ok((code_challenge.to_owned(), access.grantable(requested)))
}
