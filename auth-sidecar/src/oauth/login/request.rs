//! The authorization request of a client, checked in the order that decides where an error may go.

use serde::{Deserialize, Serialize};
use url::Url;

use super::parameters::{Parameters, Repeated};
use crate::access::{AccessPolicy, Scopes};
use crate::clients::{Client, ClientError, Clients};
use crate::http::public_url::Addresses;
use crate::pkce;

/// Longest `state` that is sent back. It travels in a cookie with the rest of the request.
const LONGEST_STATE: usize = 1024;

/// An authorization request that everything is right about.
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
}

/// Why a request is refused, and where the refusal may be shown.
#[derive(Debug)]
pub(crate) enum Refused {
    /// To the person, on a page of our own: nobody is known to whom a redirect could go (RFC 6749,
    /// section 4.1.2.1).
    Page(PageError),

    /// To the client.
    Redirect(RedirectError),
}

/// Why there is nobody to redirect to.
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
    /// Checks the query of `/authorize`.
    pub(crate) fn check(
        query: &[u8],
        clients: &Clients,
        addresses: &Addresses,
        access: &AccessPolicy,
    ) -> Result<(Self, Client), Refused> {
        let parameters = Parameters::parse(query).map_err(|_| Refused::Page(PageError::Parameters))?;
        let (client, redirect_uri) = receiver(&parameters, clients).map_err(Refused::Page)?;
        let to_client = |error, description: String, state: Option<&str>| {
            Refused::Redirect(RedirectError {
                redirect_uri: redirect_uri.clone(),
                state: state.map(str::to_owned),
                error,
                description,
            })
        };
        // Without its state no error can be told apart from another: it comes first.
        let state = match parameters.one("state") {
            Ok(state) if state.is_none_or(|state| state.len() <= LONGEST_STATE) => state,
            Ok(_) => {
                let description = format!("state is longer than {LONGEST_STATE} bytes");
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
            },
            client,
        ))
    }

    /// The error that tells the client why its request came to nothing.
    pub(crate) fn refuse(&self, error: &'static str, description: impl Into<String>) -> RedirectError {
        RedirectError {
            redirect_uri: self.redirect_uri.clone(),
            state: self.state.clone(),
            error,
            description: description.into(),
        }
    }

    /// Where the browser takes the code.
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
    /// Where the browser takes the error. `iss` is in it as it is in a success (RFC 9207).
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

/// The client that asks, and the address that gets the answer.
fn receiver(parameters: &Parameters, clients: &Clients) -> Result<(Client, String), PageError> {
    let Ok(Some(client_id)) = parameters.one("client_id") else {
        return Err(PageError::ClientId);
    };
    let client = clients.find(client_id)?;
    let Ok(Some(redirect_uri)) = parameters.one("redirect_uri") else {
        return Err(PageError::RedirectUri);
    };
    if client.may_redirect_to(redirect_uri) {
        Ok((client, redirect_uri.to_owned()))
    } else {
        Err(PageError::ForeignRedirectUri)
    }
}

type Fault = (&'static str, String);

fn check_rest(
    parameters: &Parameters,
    addresses: &Addresses,
    access: &AccessPolicy,
) -> Result<(String, Scopes), Fault> {
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
    // An absent method means plain (RFC 7636, section 4.3), which proves nothing to whoever saw the request.
    if one("code_challenge_method")? != Some("S256") {
        return invalid("code_challenge_method must be S256");
    }
    let Some(code_challenge) = one("code_challenge")?.filter(|challenge| pkce::is_challenge(challenge))
    else {
        return invalid("code_challenge must be the base64url form of a SHA-256");
    };
    // Checked here and never sent on: Entra refuses a resource beside scopes (AADSTS9010010).
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
            "every sign-in here asks the user for consent".to_owned(),
        ));
    }
    let asked = Scopes::parse(one("scope")?.unwrap_or_default());
    let asked = asked.map_err(|error| ("invalid_scope", error.to_string()))?;
    Ok((code_challenge.to_owned(), access.grantable(asked)))
}
