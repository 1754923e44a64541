//! A simulator, a cluster's issuer and a client that asks them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use behalf_simulators::entra::{
    Control, Directory, EntraSimulator, EntraSimulatorOptions, IssuerFixture, RequestKind,
};
use behalf_simulators::people::{AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID, TENANT_ID};
use behalf_simulators::sign_in::{Browser, SignInError, SignedIn, Visit};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

pub(crate) const REDIRECT: &str = "http://localhost:18080/callback";
pub(crate) const VERIFIER: &str = "correct-horse-battery-staple-correct-horse-battery";
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const OBO: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(crate) struct Stage {
    pub(crate) simulator: EntraSimulator,
    pub(crate) control: Control,
    pub(crate) issuer: IssuerFixture,
    pub(crate) http: reqwest::Client,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self {
            status,
            headers,
            text,
            body,
        }
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, error: &str, code: u32) -> &Self {
        let seen = (
            self.status,
            self.body["error"].as_str(),
            self.body["error_codes"][0].as_u64(),
        );
        assert_eq!(
            seen,
            (status, Some(error), Some(u64::from(code))),
            "{}",
            self.text
        );
        self
    }

    #[track_caller]
    pub(crate) fn granted(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn string(&self, name: &str) -> String {
        self.body[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}"))
            .to_owned()
    }
}

/// Claims of a token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub(crate) fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

pub(crate) fn own_scope() -> String {
    format!("openid profile offline_access {CLIENT_ID}/.default")
}

pub(crate) fn azure_devops_scope() -> String {
    format!("{AZURE_DEVOPS_APPLICATION_ID}/.default")
}

pub(crate) type Pairs = Vec<(String, String)>;

pub(crate) fn pairs(list: &[(&str, &str)]) -> Pairs {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// `base` with some parameters replaced; an empty value removes one.
pub(crate) fn changed(mut base: Pairs, changes: &[(&str, &str)]) -> Pairs {
    for (name, value) in changes {
        base.retain(|(key, _)| key != name);
        if !value.is_empty() {
            base.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    base
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Directory)) -> Self {
        let issuer = IssuerFixture::start().await.unwrap();
        let mut directory = Directory::contoso();
        let application = directory.application_mut(CLIENT_ID).unwrap();
        application.redirect_uris.push(REDIRECT.to_owned());
        application.federated_credentials.push(issuer.credential());
        change(&mut directory);
        let options = EntraSimulatorOptions {
            directory,
            ..EntraSimulatorOptions::default()
        };
        let simulator = EntraSimulator::start(options).await.unwrap();
        let control = simulator.control();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            simulator,
            control,
            issuer,
            http,
        }
    }

    pub(crate) fn address(&self, path: &str) -> Url {
        self.simulator
            .authority()
            .join(&format!("{TENANT_ID}/{path}"))
            .unwrap()
    }

    pub(crate) async fn get(&self, url: Url) -> Answer {
        Answer::of(self.http.get(url).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, form: &Pairs) -> Answer {
        let request = self.http.post(self.address("oauth2/v2.0/token")).form(form);
        Answer::of(request.send().await.unwrap()).await
    }

    /// The headers of each request.
    pub(crate) fn client(&self) -> Pairs {
        Self::client_with(&self.issuer.token().unwrap())
    }

    pub(crate) fn client_with(assertion: &str) -> Pairs {
        pairs(&[
            ("client_id", CLIENT_ID),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ])
    }

    fn request(&self, specific: &[(&str, &str)]) -> Pairs {
        let mut form = self.client();
        form.extend(pairs(specific));
        form
    }

    pub(crate) fn probe(&self) -> Pairs {
        self.request(&[
            ("grant_type", "client_credentials"),
            ("scope", &azure_devops_scope()),
        ])
    }

    pub(crate) fn code(&self, code: &str) -> Pairs {
        self.request(&[
            ("grant_type", "authorization_code"),
            ("scope", &own_scope()),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ])
    }

    pub(crate) fn refresh(&self, token: &str) -> Pairs {
        self.request(&[
            ("grant_type", "refresh_token"),
            ("scope", &own_scope()),
            ("refresh_token", token),
        ])
    }

    pub(crate) fn obo(&self, assertion: &str) -> Pairs {
        self.request(&[
            ("grant_type", OBO),
            ("scope", &azure_devops_scope()),
            ("assertion", assertion),
            ("requested_token_use", "on_behalf_of"),
        ])
    }

    pub(crate) fn authorize_url(&self, changes: &[(&str, &str)]) -> Url {
        let base = pairs(&[
            ("client_id", CLIENT_ID),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("response_mode", "query"),
            ("scope", &own_scope()),
            ("state", "a state/with+marks"),
            ("code_challenge", &challenge()),
            ("code_challenge_method", "S256"),
            ("nonce", "n-1"),
        ]);
        let mut url = self.address("oauth2/v2.0/authorize");
        url.query_pairs_mut().extend_pairs(changed(base, changes));
        url
    }

    pub(crate) async fn login(&self, user: &str, changes: &[(&str, &str)]) -> Result<SignedIn, SignInError> {
        let visit = Visit::new(self.authorize_url(changes), user);
        Browser::new().unwrap().sign_in(&visit).await
    }

    /// A whole login; gives the token answer.
    pub(crate) async fn tokens(&self, user: &str, changes: &[(&str, &str)]) -> Answer {
        let code = self.login(user, changes).await.unwrap().code.unwrap();
        let answer = self.post(&self.code(&code)).await;
        answer.granted();
        answer
    }

    /// AADSTS code of the page where a login ends.
    pub(crate) async fn page_code(&self, user: &str, changes: &[(&str, &str)]) -> u32 {
        match self.login(user, changes).await {
            Err(SignInError::Entra { code, .. }) => code,
            other => panic!("no error page: {other:?}"),
        }
    }

    pub(crate) async fn count(&self, kind: RequestKind) -> usize {
        self.control.requests_of(kind).await.unwrap().len()
    }
}
