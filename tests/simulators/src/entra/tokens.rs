//! Makes the tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::endpoints::Endpoints;
use super::failure::Failure;
use super::model::{Application, RequestKind, User};
use super::random;
use super::report::{MintRequest, SecretKind};
use super::scopes::Resource;
use super::state::{Login, RefreshToken, State};

/// Life of a token when the client announces `cp1`.
const CP1_SECONDS: u64 = 24 * 3600;

type Claims = Map<String, Value>;

/// The subject of a token and the application that requested it.
pub(super) struct Grantee<'a> {
    pub(super) user: &'a User,
    pub(super) application: &'a Application,
    pub(super) login: &'a Login,
}

/// The purpose of an access token.
pub(super) struct Access<'a> {
    pub(super) resource: Resource,
    pub(super) scopes: &'a str,
    pub(super) grant: RequestKind,
    pub(super) cp1: bool,
}

impl State {
    /// An access token for a user, and its life in seconds.
    pub(super) fn access_token(
        &mut self,
        endpoints: &Endpoints,
        grantee: &Grantee<'_>,
        access: &Access<'_>,
    ) -> Result<(String, u64), Failure> {
        let seconds = self.life(access.resource, access.cp1);
        let claims = self.user_claims(endpoints, grantee, access, seconds);
        if let Some(uti) = claims.get("uti").and_then(Value::as_str) {
            self.issued.insert(uti.to_owned(), grantee.login.clone());
        }
        Ok((self.signed(SecretKind::AccessToken, &claims)?, seconds))
    }

    /// An app-only access token, and its life in seconds.
    pub(super) fn app_only_token(
        &mut self,
        endpoints: &Endpoints,
        application: &Application,
        resource: Resource,
    ) -> Result<(String, u64), Failure> {
        let seconds = self.life(resource, false);
        let claims = self.app_claims(endpoints, application, resource, seconds);
        Ok((self.signed(SecretKind::AccessToken, &claims)?, seconds))
    }

    /// An id token for the application.
    pub(super) fn id_token(
        &mut self,
        endpoints: &Endpoints,
        grantee: &Grantee<'_>,
        nonce: Option<&str>,
    ) -> Result<String, Failure> {
        let claims = self.id_claims(endpoints, grantee, nonce);
        self.signed(SecretKind::IdToken, &claims)
    }

    /// A refresh token for a login.
    pub(super) fn refresh_token(&mut self, login: &Login) -> String {
        let token = format!("1.A{}{}", random::token(), random::token());
        let last_used = self.now();
        self.refresh_tokens.insert(
            token.clone(),
            RefreshToken {
                login: login.clone(),
                last_used,
                revoked: false,
            },
        );
        self.keep_secret(SecretKind::RefreshToken, &token);
        token
    }

    /// A token made for a test without a login.
    pub(super) fn mint(&mut self, endpoints: &Endpoints, wanted: &MintRequest) -> Result<String, String> {
        let application = match &wanted.client_id {
            Some(client_id) => self.directory.application(client_id),
            None => self.directory.applications.first(),
        };
        let application = application
            .cloned()
            .ok_or("the directory has no such application")?;
        let resource = match wanted.resource.as_deref() {
            None => Resource::Application,
            Some(id) if id.eq_ignore_ascii_case(&application.client_id) => Resource::Application,
            Some(crate::people::AZURE_DEVOPS_APPLICATION_ID) => Resource::AzureDevOps,
            Some(_) => return Err("resource is neither the application nor Azure DevOps".to_owned()),
        };
        let mut claims = match &wanted.user {
            None => self.app_claims(endpoints, &application, resource, 3600),
            Some(name) => {
                let user = self
                    .directory
                    .user(name)
                    .cloned()
                    .ok_or("the directory has no such user")?;
                let login = Login {
                    client_id: application.client_id.clone(),
                    object_id: user.object_id.clone(),
                    at: self.now(),
                    profile: true,
                    claims: None,
                };
                let grantee = Grantee {
                    user: &user,
                    application: &application,
                    login: &login,
                };
                if wanted.id_token {
                    self.id_claims(endpoints, &grantee, None)
                } else {
                    let (scopes, grant) = match resource {
                        Resource::AzureDevOps => ("user_impersonation", RequestKind::OnBehalfOf),
                        _ => ("access_as_user", RequestKind::AuthorizationCode),
                    };
                    let access = Access {
                        resource,
                        scopes,
                        grant,
                        cp1: false,
                    };
                    self.user_claims(endpoints, &grantee, &access, 3600)
                }
            }
        };
        if let Some(seconds) = wanted.expires_in_seconds {
            let expiry = self.now().as_second().saturating_add(seconds);
            claims.insert("exp".to_owned(), json!(expiry));
            for earlier in ["iat", "nbf"] {
                claims.insert(
                    earlier.to_owned(),
                    json!(expiry.min(self.now().as_second()) - 3600),
                );
            }
        }
        for (name, value) in &wanted.claims {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        let signed = if wanted.foreign_key {
            self.keys.sign_foreign(&claims)
        } else {
            self.keys.sign(&claims)
        };
        let token = signed.map_err(|error| error.to_string())?;
        let kind = if wanted.id_token {
            SecretKind::IdToken
        } else {
            SecretKind::AccessToken
        };
        self.keep_secret(kind, &token);
        Ok(token)
    }

    fn signed(&mut self, kind: SecretKind, claims: &Claims) -> Result<String, Failure> {
        let token = self
            .keys
            .sign(claims)
            .map_err(|error| Failure::internal(error.to_string()))?;
        self.keep_secret(kind, &token);
        Ok(token)
    }

    fn life(&self, resource: Resource, cp1: bool) -> u64 {
        let settings = &self.directory.settings;
        let commanded = match resource {
            Resource::AzureDevOps => settings.azure_devops_token_seconds,
            Resource::Redis => settings.redis_token_seconds,
            Resource::Application | Resource::Graph => settings.application_token_seconds,
        };
        match commanded {
            Some(seconds) => seconds,
            None if cp1 => CP1_SECONDS,
            None => random::between(3600, 5401),
        }
    }

    /// `iat`, `nbf`, `exp`, `tid`, `uti`, `ver`, `iss`: what every token has.
    fn frame(&self, endpoints: &Endpoints, audience: &str, seconds: u64) -> Claims {
        let now = self.now().as_second();
        let expiry = now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
        let frame = json!({
            "aud": audience, "iss": endpoints.issuer(), "iat": now, "nbf": now, "exp": expiry,
            "tid": endpoints.tenant_id, "uti": random::short(), "ver": "2.0", "rh": random::short(),
        });
        match frame {
            Value::Object(claims) => claims,
            _ => Claims::new(),
        }
    }

    fn user_claims(
        &self,
        endpoints: &Endpoints,
        grantee: &Grantee<'_>,
        access: &Access<'_>,
        seconds: u64,
    ) -> Claims {
        let Grantee {
            user,
            application,
            login,
        } = *grantee;
        let client_id = &application.client_id;
        let audience = access.resource.audience(client_id);
        let mut claims = self.frame(endpoints, audience, seconds);
        let mut add = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        add("sub", json!(pairwise(audience, &user.object_id)));
        add("scp", json!(access.scopes));
        add("azp", json!(client_id));
        add("azpacr", json!("2"));
        add("sim_grant", json!(access.grant));
        // `oid` needs the `profile` scope; Azure DevOps always gets it.
        if login.profile || access.resource != Resource::Application {
            add("oid", json!(user.object_id));
            add("name", json!(user.display_name));
            add("preferred_username", json!(user.name));
        }
        if access.cp1 {
            add("xms_cc", json!(["cp1"]));
        }
        if access.resource == Resource::Application {
            if let Some(roles) = user.roles.get(client_id).filter(|roles| !roles.is_empty()) {
                add("roles", json!(roles));
            }
            if application.access_token_version == 1 {
                older_shape(&mut claims, endpoints, application, user);
            }
        }
        claims
    }

    fn app_claims(
        &self,
        endpoints: &Endpoints,
        application: &Application,
        resource: Resource,
        seconds: u64,
    ) -> Claims {
        let mut claims = self.frame(endpoints, resource.audience(&application.client_id), seconds);
        let mut add = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        add("sub", json!(application.service_principal_object_id));
        add("oid", json!(application.service_principal_object_id));
        add("azp", json!(application.client_id));
        add("azpacr", json!("2"));
        add("idtyp", json!("app"));
        add("sim_grant", json!(RequestKind::ClientCredentials));
        claims
    }

    fn id_claims(&self, endpoints: &Endpoints, grantee: &Grantee<'_>, nonce: Option<&str>) -> Claims {
        let Grantee {
            user,
            application,
            login,
        } = *grantee;
        let client_id = &application.client_id;
        let mut claims = self.frame(endpoints, client_id, 3600);
        let mut add = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        add("sub", json!(pairwise(client_id, &user.object_id)));
        add("auth_time", json!(login.at.as_second()));
        if let Some(nonce) = nonce {
            add("nonce", json!(nonce));
        }
        if login.profile {
            add("oid", json!(user.object_id));
            add("name", json!(user.display_name));
            add("preferred_username", json!(user.name));
        }
        claims
    }
}

/// Version 1 of an access token (entra.md section 8).
fn older_shape(claims: &mut Claims, endpoints: &Endpoints, application: &Application, user: &User) {
    for newer in ["azp", "azpacr", "preferred_username"] {
        claims.remove(newer);
    }
    let older = [
        ("aud", json!(format!("api://{}", application.client_id))),
        ("iss", json!(endpoints.issuer_v1())),
        ("ver", json!("1.0")),
        ("appid", json!(application.client_id)),
        ("appidacr", json!("2")),
        ("upn", json!(user.name)),
        ("unique_name", json!(user.name)),
    ];
    claims.extend(older.map(|(name, value)| (name.to_owned(), value)));
}

/// A user's `sub`, different for each audience.
fn pairwise(audience: &str, object_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{audience}\n{object_id}")))
}
