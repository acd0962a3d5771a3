//! Certificate and key files, checked before they are used.
//!
//! tonic takes PEM text as it comes and passes over a CA file in which no certificate can be read; the connection
//! then fails with an unknown issuer. Here each file is judged when it is read, and the error names it.

use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::access::Tls;
use crate::error::{Error, Result};

/// TLS material in memory, ready for any number of connections.
#[derive(Clone)]
pub(super) struct TlsMaterial {
    config: ClientTlsConfig,
    has_client_certificate: bool,
}

impl TlsMaterial {
    /// Reads and checks the files; `None` means the machine's roots and no client certificate.
    pub(super) fn load(tls: Option<&Tls>) -> Result<Self> {
        let mut config = ClientTlsConfig::new();
        let mut has_client_certificate = false;
        match tls.and_then(|tls| tls.cacert.as_deref()) {
            Some(path) => config = config.ca_certificate(Certificate::from_pem(read_cacert(path)?)),
            None => config = config.with_native_roots(),
        }
        if let Some(Tls { cert: Some(cert), key: Some(key), .. }) = tls {
            config = config.identity(read_identity(cert, key)?);
            has_client_certificate = true;
        }
        if let Some(name) = tls.and_then(|tls| tls.server_name.as_deref()) {
            rustls::pki_types::ServerName::try_from(name)
                .map_err(|_| Error::invalid(format!("--server-name {name:?} is no DNS name or IP address")))?;
            config = config.domain_name(name);
        }
        Ok(Self { config, has_client_certificate })
    }

    pub(super) fn config(&self) -> ClientTlsConfig {
        self.config.clone()
    }

    pub(super) fn has_client_certificate(&self) -> bool {
        self.has_client_certificate
    }
}

fn read_cacert(path: &Path) -> Result<Vec<u8>> {
    let pem = read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("--cacert", path, &pem)? {
        roots.add(certificate).map_err(|error| unusable("--cacert", path, &error.to_string()))?;
    }
    Ok(pem)
}

fn read_identity(cert: &Path, key: &Path) -> Result<Identity> {
    let cert_pem = read(cert)?;
    let key_pem = read(key)?;
    let chain = certificates("--cert", cert, &cert_pem)?;
    let private_key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
        let encrypted = key_pem.windows(9).any(|window| window == b"ENCRYPTED");
        let reason = if encrypted {
            "the private key is encrypted; store it without a passphrase"
        } else {
            "no private key in PEM form in it"
        };
        unusable("--key", key, reason)
    })?;
    match CertifiedKey::from_der(chain, private_key, &default_provider()) {
        Ok(_) => Ok(Identity::from_pem(cert_pem, key_pem)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::invalid(format!(
            "--key {} does not belong to the certificate --cert {}",
            key.display(),
            cert.display()
        ))),
        Err(rustls::Error::InvalidCertificate(error)) => Err(unusable("--cert", cert, &error.to_string())),
        Err(error) => Err(unusable("--key", key, &error.to_string())),
    }
}

fn certificates(option: &str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(option, path, "no certificate in PEM form in it")),
        Err(_) => Err(unusable(option, path, "its PEM text is damaged")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::io("reading", path))
}

fn unusable(option: &str, path: &Path, reason: &str) -> Error {
    Error::invalid(format!("{option} {} can't be used: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tls: &Tls) -> String {
        TlsMaterial::load(Some(tls)).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent.pem");
        let tls = Tls { cacert: Some(path.clone()), ..Tls::default() };

        assert!(matches!(TlsMaterial::load(Some(&tls)), Err(Error::Io { path: named, .. }) if named == path));
    }

    #[test]
    fn files_that_hold_no_pem_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("text.pem");
        std::fs::write(&text, "hello").unwrap();
        let damaged = dir.path().join("damaged.pem");
        std::fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let encrypted = dir.path().join("encrypted.pem");
        std::fs::write(
            &encrypted,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .unwrap();

        assert!(message(&Tls { cacert: Some(text.clone()), ..Tls::default() }).contains("text.pem"));
        assert!(message(&Tls { cacert: Some(damaged.clone()), ..Tls::default() }).contains("damaged.pem"));
        let with_key =
            |cert: &Path, key: &Path| Tls { cert: Some(cert.to_owned()), key: Some(key.to_owned()), ..Tls::default() };
        assert!(message(&with_key(&text, &encrypted)).contains("--cert"));
        assert!(message(&with_key(&damaged, &text)).contains("no private key"));
        assert!(message(&with_key(&damaged, &encrypted)).contains("passphrase"));
    }

    #[test]
    fn server_name_that_is_none_is_refused() {
        let tls = Tls { server_name: Some("not a name".to_owned()), ..Tls::default() };

        assert!(message(&tls).contains("--server-name"));
    }
}
