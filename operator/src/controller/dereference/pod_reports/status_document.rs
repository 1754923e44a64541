//! Reads a Pod's status document.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use behalf_contract::{StatusDocument, ports};

/// Time limit of one read. A healthy Pod answers within milliseconds.
const LIMIT: Duration = Duration::from_secs(2);

/// Maximum size of a document in bytes. A document has about 2 KB.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// Why a document could not be read. No text contains an address.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The connection failed or timed out.
    #[error("the Pod's status port does not answer")]
    Unreachable,

    /// The Pod answered with another status code than 2xx.
    #[error("the Pod's status port answers with HTTP {0}")]
    Status(u16),

    /// The answer is larger than [`MAX_DOCUMENT_BYTES`].
    #[error("the Pod's status is larger than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,

    /// The answer is no document that this version can decode.
    #[error("the Pod's status cannot be read; its sidecar may be of another version")]
    Malformed,
}

/// Reads status documents, without proxy or redirect.
#[derive(Debug, Clone)]
pub struct StatusReader {
    http: reqwest::Client,
    port: u16,
}

impl StatusReader {
    /// Creates a reader. Fails only if TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            // A Pod serves its document without TLS: the certificates of the system would only need memory.
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(LIMIT)
            .timeout(LIMIT)
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self {
            http,
            port: ports::INTERNAL,
        })
    }

    /// Reads the document of the Pod with this address.
    pub async fn read(&self, pod: IpAddr) -> Result<StatusDocument, DocumentError> {
        let url = format!("http://{}/status", SocketAddr::new(pod, self.port));
        let mut response = self
            .http
            .get(url)
            .send()
            .await
            .map_err(|_| DocumentError::Unreachable)?;
        if !response.status().is_success() {
            return Err(DocumentError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| DocumentError::Unreachable)? {
            if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(DocumentError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| DocumentError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn read(response: ResponseTemplate) -> Result<StatusDocument, DocumentError> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pod = MockServer::start().await;
        Mock::given(path("/status"))
            .respond_with(response)
            .mount(&pod)
            .await;
        let reader = StatusReader {
            port: pod.address().port(),
            ..StatusReader::new().unwrap()
        };
        reader.read(Ipv4Addr::LOCALHOST.into()).await
    }

    #[tokio::test]
    async fn refuses_an_answer_that_is_no_document() {
        assert!(matches!(
            read(ResponseTemplate::new(200).set_body_string("{}")).await,
            Err(DocumentError::Malformed)
        ));
        assert!(matches!(
            read(ResponseTemplate::new(503)).await,
            Err(DocumentError::Status(503))
        ));
        let large = ResponseTemplate::new(200).set_body_bytes(vec![b' '; MAX_DOCUMENT_BYTES + 1]);
        assert!(matches!(read(large).await, Err(DocumentError::TooLarge)));
    }

    #[tokio::test]
    async fn follows_no_redirect() {
        let elsewhere = ResponseTemplate::new(302).insert_header("location", "http://169.254.169.254/");
        assert!(matches!(read(elsewhere).await, Err(DocumentError::Status(302))));
    }
}
