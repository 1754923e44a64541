//! A certificate authority for one test run, and the certificates it issues.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::listener::TlsIdentity;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}")]
pub struct CertificateError {
    action: &'static str,
    #[source]
    source: rcgen::Error,
}

fn failed(action: &'static str) -> impl FnOnce(rcgen::Error) -> CertificateError {
    move |source| CertificateError { action, source }
}

/// A private certificate authority. Its key never leaves the process.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl CertificateAuthority {
    /// A new authority with a new key.
    pub fn generate(common_name: &str) -> Result<Self, CertificateError> {
        let key = KeyPair::generate().map_err(failed("make the authority's key"))?;
        let mut params = CertificateParams::new(Vec::new()).map_err(failed("describe the authority"))?;
        params.distinguished_name = name(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed("sign the authority"))?;
        let certificate_pem = certificate.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate_pem,
        })
    }

    /// The authority's certificate: what a `certificateAuthorityRef` points to.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate of a server for `names`: DNS names and literal IP addresses, the first one is its subject.
    pub fn issue(&self, names: &[&str]) -> Result<TlsIdentity, CertificateError> {
        let key = KeyPair::generate().map_err(failed("make a server key"))?;
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let subject = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).map_err(failed("describe a server"))?;
        params.distinguished_name = name(&subject);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Nodes of a Redis cluster are clients of each other.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(failed("sign a server certificate"))?;
        Ok(TlsIdentity {
            certificate_chain_pem: format!("{}{}", certificate.pem(), self.certificate_pem),
            private_key_pem: key.serialize_pem(),
        })
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CertificateAuthority(..)")
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
