//! The four grants, once the application has proved that it is itself. Order: the grant's own value,
//! assignment, policy, consent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use super::form::Parameters;
use super::jwt::Unverified;
use super::model::{Application, RequestKind, User};
use super::policies::announces_cp1;
use super::scopes::{Requested, Resource};
use super::state::{Login, State, World};
use super::token_request::{Granted, TokenRequest};
use super::tokens::{Access, Grantee};

/// Answers a request of an authenticated application.
pub(super) fn grant(
    world: &World,
    application: &Application,
    request: &TokenRequest,
) -> Result<Granted, Failure> {
    let mut state = world.lock();
    let form = &request.form;
    if request.kind == RequestKind::ClientCredentials {
        return client_credentials(world, &mut state, application, form);
    }
    let (login, requested, nonce) = match request.kind {
        RequestKind::AuthorizationCode => redeem_code(&mut state, application, form)?,
        RequestKind::RefreshToken => use_refresh_token(&mut state, application, form)?,
        _ => exchange(world, &state, application, form)?,
    };
    requested.check_resource(form.get("resource"), application)?;
    let user = state.user(&login.object_id)?;
    state.record_user(request.number, &user.name);
    if application.assignment_required && !user.is_assigned_to(&application.client_id) {
        return Err(unassigned(application));
    }
    state.judge_user(request.kind, &user, Some(&login))?;
    if !state.has_consent(&application.client_id, requested.resource, &login.object_id) {
        return Err(Failure::invalid_grant(
            65_001,
            format!(
                "The user or administrator has not consented to use the application with ID '{}' named '{}'. Send an interactive authorization request for this user and resource.",
                application.client_id, application.display_name
            ),
        )
        .suberror("consent_required"));
    }
    issue(
        world,
        &mut state,
        application,
        request,
        &Issue {
            user,
            login,
            requested,
            nonce,
        },
    )
}

struct Issue {
    user: User,
    login: Login,
    requested: Requested,
    nonce: Option<String>,
}

fn issue(
    world: &World,
    state: &mut State,
    application: &Application,
    request: &TokenRequest,
    what: &Issue,
) -> Result<Granted, Failure> {
    let claims = request.form.get("claims").map(parse_claims).transpose()?;
    let grantee = Grantee {
        user: &what.user,
        application,
        login: &what.login,
    };
    let scopes = what.requested.granted();
    let access = Access {
        resource: what.requested.resource,
        scopes: &scopes,
        grant: request.kind,
        cp1: announces_cp1(claims.as_ref()) || announces_cp1(what.login.claims.as_ref()),
    };
    let (access_token, expires_in) = state.access_token(&world.endpoints, &grantee, &access)?;
    let id_token = if what.requested.openid {
        Some(state.id_token(&world.endpoints, &grantee, what.nonce.as_deref())?)
    } else {
        None
    };
    Ok(Granted {
        token_type: "Bearer",
        scope: Some(what.requested.answer()),
        expires_in,
        ext_expires_in: expires_in,
        access_token,
        refresh_token: what
            .requested
            .offline_access
            .then(|| state.refresh_token(&what.login)),
        id_token,
    })
}

type Redeemed = (Login, Requested, Option<String>);

fn redeem_code(state: &mut State, application: &Application, form: &Parameters) -> Result<Redeemed, Failure> {
    let presented = form.required("code")?;
    let now = state.now();
    let life = state.directory.settings.authorization_code_seconds;
    let directory = state.directory.clone();
    let malformed = |what: &str| {
        Failure::invalid_grant(70_000, format!("Provided grant is invalid or malformed: {what}."))
    };
    let Some(code) = state.codes.get_mut(presented) else {
        return Err(malformed("the authorization code is unknown"));
    };
    if !code.login.client_id.eq_ignore_ascii_case(&application.client_id) {
        return Err(malformed("the authorization code was issued to another client"));
    }
    if code.used {
        return Err(Failure::invalid_grant(
            54_005,
            "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.",
        ));
    }
    if now.duration_since(code.login.at) >= seconds(life) {
        return Err(Failure::invalid_grant(
            70_008,
            "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request.",
        ));
    }
    if form.get("redirect_uri") != Some(&code.redirect_uri) {
        return Err(malformed(
            "the redirect URI is not the one of the authorization request",
        ));
    }
    if let Some(challenge) = &code.challenge {
        let verifier = form.get("code_verifier").unwrap_or_default();
        if URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != *challenge {
            return Err(Failure::invalid_grant(
                501_481,
                "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
            ));
        }
    }
    let requested = match form.get("scope") {
        Some(scope) => Requested::parse(scope, application, &directory)?,
        None => code.requested.clone(),
    };
    if requested.resource != code.requested.resource {
        return Err(Failure::invalid_scope(
            70_011,
            "The provided value for the input parameter 'scope' is not valid: the code was issued for another resource.",
        ));
    }
    code.used = true;
    Ok((code.login.clone(), requested, code.nonce.clone()))
}

fn use_refresh_token(
    state: &mut State,
    application: &Application,
    form: &Parameters,
) -> Result<Redeemed, Failure> {
    let presented = form.required("refresh_token")?;
    let now = state.now();
    let idle = seconds(state.directory.settings.refresh_token_idle_seconds);
    let directory = state.directory.clone();
    let token = state
        .refresh_tokens
        .get_mut(presented)
        .filter(|token| token.login.client_id.eq_ignore_ascii_case(&application.client_id));
    let Some(token) = token else {
        return Err(Failure::invalid_grant(
            70_000,
            "Provided grant is invalid or malformed: the refresh token is not one of this client.",
        ));
    };
    if token.revoked {
        return Err(Failure::invalid_grant(
            50_173,
            "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
        ));
    }
    if now.duration_since(token.last_used) >= idle {
        return Err(Failure::invalid_grant(
            700_082,
            "The refresh token has expired due to inactivity.",
        ));
    }
    // The answer contains a new refresh token. Entra accepts the old one as well.
    token.last_used = now;
    let login = token.login.clone();
    let usual = format!("openid profile offline_access {}/.default", application.client_id);
    let requested = Requested::parse(form.get("scope").unwrap_or(&usual), application, &directory)?;
    Ok((login, requested, None))
}

fn exchange(
    world: &World,
    state: &State,
    application: &Application,
    form: &Parameters,
) -> Result<Redeemed, Failure> {
    if form.required("requested_token_use")? != "on_behalf_of" {
        return Err(Failure::invalid_request(
            9_002_313,
            "Invalid request. Request is malformed or invalid: requested_token_use.",
        ));
    }
    let requested = Requested::parse(form.required("scope")?, application, &state.directory)?;
    let invalid = |message: &str| Failure::invalid_grant(50_013, message);
    let Some(jwt) = Unverified::parse(form.required("assertion")?) else {
        return Err(invalid("Assertion failed signature validation: it is not a JWT."));
    };
    let signed = jwt
        .kid
        .as_deref()
        .and_then(|kid| state.keys.find(kid))
        .and_then(|key| key.verifier().ok())
        .is_some_and(|key| jwt.is_signed_by(&key));
    if !signed {
        return Err(invalid("Assertion failed signature validation."));
    }
    if jwt.text("iss") != world.endpoints.issuer() && jwt.text("iss") != world.endpoints.issuer_v1() {
        return Err(invalid("Assertion was issued by another authority."));
    }
    if jwt.text("idtyp") == "app" {
        return Err(Failure::invalid_grant(
            7_000_114,
            format!(
                "Application '{}' is not allowed to make application on-behalf-of calls.",
                application.client_id
            ),
        ));
    }
    if jwt.text("scp").is_empty() {
        return Err(Failure::invalid_grant(
            240_002,
            "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.",
        ));
    }
    let own = [
        application.client_id.clone(),
        format!("api://{}", application.client_id),
    ];
    if !jwt.audience().iter().any(|audience| own.contains(audience)) {
        return Err(Failure::invalid_grant(
            500_131,
            "Assertion audience does not match the Client app presenting the assertion. The audience in the assertion must be the application that presents it.",
        ));
    }
    if jwt
        .seconds("exp")
        .is_none_or(|expiry| expiry <= state.now().as_second())
    {
        return Err(Failure::invalid_grant(
            500_133,
            "Assertion is not within its valid time range. Ensure that the access token is not expired before using it for user assertion.",
        ));
    }
    let login = match state.issued.get(jwt.text("uti")) {
        Some(login) => login.clone(),
        // A test issued this token directly. It counts as a login without a challenge.
        None => Login {
            client_id: application.client_id.clone(),
            object_id: jwt.text("oid").to_owned(),
            at: state.now(),
            profile: true,
            claims: None,
        },
    };
    Ok((login, requested, None))
}

fn client_credentials(
    world: &World,
    state: &mut State,
    application: &Application,
    form: &Parameters,
) -> Result<Granted, Failure> {
    let scope = form.required("scope")?;
    // An app-only request needs no declared delegated permission.
    let declared = Application {
        azure_devops_permission: true,
        ..application.clone()
    };
    let requested = Requested::parse(scope, &declared, &state.directory)?;
    if !requested.default {
        return Err(Failure::invalid_scope(
            1_002_012,
            format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier."
            ),
        ));
    }
    requested.check_resource(form.get("resource"), application)?;
    if requested.resource == Resource::Application && application.assignment_required {
        return Err(Failure::invalid_grant(
            501_051,
            format!(
                "Application '{0}'({1}) is not assigned to a role for the application '{0}'({1}).",
                application.client_id, application.display_name
            ),
        ));
    }
    state.judge_application(&application.client_id)?;
    let (access_token, expires_in) =
        state.app_only_token(&world.endpoints, application, requested.resource)?;
    Ok(Granted {
        token_type: "Bearer",
        scope: None,
        expires_in,
        ext_expires_in: expires_in,
        access_token,
        refresh_token: None,
        id_token: None,
    })
}

/// 50105, at the token endpoint and on the page.
pub(super) fn unassigned(application: &Application) -> Failure {
    Failure::invalid_grant(
        50_105,
        format!(
            "Your administrator has configured the application {} ('{}') to block users unless they are specifically granted ('assigned') access to the application.",
            application.display_name, application.client_id
        ),
    )
}

/// The `claims` parameter, a JSON object.
pub(super) fn parse_claims(text: &str) -> Result<Value, Failure> {
    serde_json::from_str::<Value>(text)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| {
            Failure::invalid_request(
                9_002_313,
                "Invalid request. Request is malformed or invalid: claims.",
            )
        })
}

fn seconds(count: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(count).unwrap_or(i64::MAX))
}
