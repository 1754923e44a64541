//! The projected `ServiceAccount` token, which the process sends as client assertion in place of a secret.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::secret::Secret;
use crate::unverified::unverified_claims;

/// Maximum size of the token file that is read, in bytes. A projected token is 1 to 2 KiB; a larger file is a
/// wrong file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Hosts of issuers whose tokens are Entra's own.
const ENTRA_ISSUERS: [&str; 6] = [
    "login.microsoftonline.com",
    "sts.windows.net",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "sts.chinacloudapi.cn",
];

/// Why the federated token cannot be used. An administrator has to look at the Pod's volumes.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AssertionError {
    /// The file is missing, or the process may not read it.
    #[error("failed to read {}: mount the projected ServiceAccount token there", path.display())]
    Unreadable {
        /// Path of the file, usually from `AZURE_FEDERATED_TOKEN_FILE`.
        path: PathBuf,

        /// Error of the operating system.
        #[source]
        source: Arc<io::Error>,
    },

    /// The file does not contain a token.
    #[error("{} contains no JSON Web Token: mount the projected ServiceAccount token there", path.display())]
    NotAToken {
        /// Path of the file, usually from `AZURE_FEDERATED_TOKEN_FILE`.
        path: PathBuf,
    },

    /// Entra issued it, and Entra refuses that (AADSTS700231).
    #[error(
        "the token was issued by Entra itself ({issuer}): use the ServiceAccount token directly, without a \
         managed identity, and put the federated identity credential on the application"
    )]
    ChainedFederation {
        /// `iss` of the token.
        issuer: String,
    },
}

/// The file named by `AZURE_FEDERATED_TOKEN_FILE`, the source of the client assertion. It is read for every request: the kubelet
/// replaces it after 80 % of the token's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedTokenFile(PathBuf);

/// The claims of the projected token. **Not verified**: use them for the status and to find a wrong token
/// early, never for a decision about trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionClaims {
    /// `iss`: the cluster's issuer.
    pub issuer: String,

    /// `sub`: `system:serviceaccount:<namespace>:<name>`.
    pub subject: String,

    /// `aud`.
    pub audience: Vec<String>,

    /// `exp`.
    pub expires_at: Option<Timestamp>,
}

impl FederatedTokenFile {
    /// Names the file. It is not read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Reads the claims of the current token.
    pub fn claims(&self) -> Result<AssertionClaims, AssertionError> {
        let token = self.read()?;
        self.parse(&token)
    }

    /// Reads the token, and refuses one that Entra is known to refuse, so that only tokens leave this process.
    /// It also refuses a token that `authority` itself issued (chained federation).
    pub(crate) fn client_assertion(&self, authority: &Url) -> Result<Secret, AssertionError> {
        let token = self.read()?;
        let claims = self.parse(&token)?;
        if is_issued_by_entra(&claims.issuer, authority) {
            return Err(AssertionError::ChainedFederation {
                issuer: claims.issuer,
            });
        }
        Ok(token)
    }

    /// The file is in the Pod's memory (a projected volume is a tmpfs), so that reading it takes less than the two switches between
    /// threads that reading it elsewhere would need.
    fn read(&self) -> Result<Secret, AssertionError> {
        let Self(path) = self;
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text)) {
            Ok(_) => Ok(Secret::new(text.trim())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(AssertionError::NotAToken { path: path.clone() })
            }
            Err(source) => Err(AssertionError::Unreadable {
                path: path.clone(),
                source: Arc::new(source),
            }),
        }
    }

    fn parse(&self, token: &Secret) -> Result<AssertionClaims, AssertionError> {
        let Self(path) = self;
        unverified(token).ok_or_else(|| AssertionError::NotAToken { path: path.clone() })
    }
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    aud: Audience,
    exp: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

fn unverified(token: &Secret) -> Option<AssertionClaims> {
    let payload: Payload = unverified_claims(token)?;
    Some(AssertionClaims {
        issuer: payload.iss,
        subject: payload.sub,
        audience: match payload.aud {
            Audience::One(audience) => vec![audience],
            Audience::Many(audiences) => audiences,
        },
        expires_at: payload
            .exp
            .and_then(|seconds| Timestamp::from_second(seconds).ok()),
    })
}

fn is_issued_by_entra(issuer: &str, authority: &Url) -> bool {
    let Ok(issuer) = Url::parse(issuer) else {
        return false;
    };
    issuer.origin() == authority.origin()
        || issuer
            .host_str()
            .is_some_and(|host| ENTRA_ISSUERS.contains(&host))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use rstest::rstest;
    use serde_json::json;
    use tempfile::NamedTempFile;

    use super::*;

    fn token(payload: &serde_json::Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string()))
    }

    fn from(issuer: &str) -> String {
        token(&json!({
            "iss": issuer, "sub": "system:serviceaccount:mcp:azure-devops",
            "aud": ["api://AzureADTokenExchange"], "exp": 1_800_000_000,
        }))
    }

    fn file(content: &[u8]) -> (NamedTempFile, FederatedTokenFile) {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let assertion = FederatedTokenFile::new(file.path().to_owned());
        (file, assertion)
    }

    fn authority() -> Url {
        Url::parse("https://login.contoso.example").unwrap()
    }

    #[test]
    fn reports_what_the_token_says_of_itself() {
        let (_file, assertion) = file(from("https://oidc.contoso.example/").as_bytes());
        let claims = assertion.claims().unwrap();
        assert_eq!(
            claims,
            AssertionClaims {
                issuer: "https://oidc.contoso.example/".to_owned(),
                subject: "system:serviceaccount:mcp:azure-devops".to_owned(),
                audience: vec!["api://AzureADTokenExchange".to_owned()],
                expires_at: Some(Timestamp::from_second(1_800_000_000).unwrap()),
            }
        );
    }

    #[test]
    fn accepts_an_audience_that_is_not_a_list() {
        let (_file, assertion) = file(token(&json!({"iss": "i", "sub": "s", "aud": "a"})).as_bytes());
        let claims = assertion.claims().unwrap();
        assert_eq!((claims.audience, claims.expires_at), (vec!["a".to_owned()], None));
    }

    #[test]
    fn reads_the_file_on_every_use() {
        let (file, assertion) = file(from("https://one.example/").as_bytes());
        let first = assertion.client_assertion(&authority()).unwrap();
        std::fs::write(file.path(), from("https://two.example/") + "\n").unwrap();
        let second = assertion.client_assertion(&authority()).unwrap();
        assert_eq!(first.expose(), from("https://one.example/"));
        assert_eq!(second.expose(), from("https://two.example/"));
    }

    #[rstest]
    #[case("https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0")]
    #[case("https://LOGIN.microsoftonline.com/tenant/v2.0")]
    #[case("https://sts.windows.net/11111111-2222-3333-4444-555555555555/")]
    #[case("https://login.microsoftonline.us/tenant/v2.0")]
    #[case("https://login.partner.microsoftonline.cn/tenant/v2.0")]
    #[case("https://login.contoso.example/tenant/v2.0")]
    fn finds_chained_federation_before_any_call(#[case] issuer: &str) {
        let (_file, assertion) = file(from(issuer).as_bytes());
        let error = assertion.client_assertion(&authority()).unwrap_err();
        assert!(matches!(error, AssertionError::ChainedFederation { .. }));
        assert!(assertion.claims().is_ok(), "the status still shows the issuer");
    }

    #[rstest]
    #[case("https://westeurope.oic.prod-aks.azure.com/tenant/cluster/")]
    #[case("https://login.microsoftonline.com.contoso.example/tenant/v2.0")]
    #[case("https://login.contoso.example:8443/tenant/v2.0")]
    #[case("kubernetes/serviceaccount")]
    fn the_issuer_of_a_cluster_is_not_treated_as_entra(#[case] issuer: &str) {
        let (_file, assertion) = file(from(issuer).as_bytes());
        assert!(assertion.client_assertion(&authority()).is_ok());
    }

    #[rstest]
    #[case(b"")]
    #[case(b"not a token")]
    #[case(b"a.b")]
    #[case(b"a.b.c.d")]
    #[case(b"e30.!!!.c2ln")]
    #[case(b"e30.e30.c2ln")]
    #[case(b"\xff\xfe\xfd")]
    fn refuses_a_file_that_holds_no_token(#[case] content: &[u8]) {
        let (_file, assertion) = file(content);
        let error = assertion.client_assertion(&authority()).unwrap_err();
        assert!(matches!(error, AssertionError::NotAToken { .. }), "{error}");
    }

    #[test]
    fn the_error_of_a_missing_file_names_it() {
        let assertion = FederatedTokenFile::new("/nowhere/token");
        let error = assertion.claims().unwrap_err();
        assert!(matches!(error, AssertionError::Unreadable { .. }));
        assert!(error.to_string().contains("/nowhere/token"));
    }

    #[test]
    fn a_large_file_is_not_read_completely() {
        let (_file, assertion) = file(&vec![b'a'; 1024 * 1024]);
        assert_eq!(
            assertion.read().unwrap().expose().len(),
            usize::try_from(MAX_FILE_BYTES).unwrap()
        );
    }
}
