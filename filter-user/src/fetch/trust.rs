//! Whom servers are believed to be.

use std::path::Path;

use rustls::CertificateError;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use super::Error;

/// The certificates of the system and the operator's.
pub(super) fn certificates(file: Option<&Path>) -> Result<RootCerts, Error> {
    let system = rustls_native_certs::load_native_certs().certs;
    let mut all: Vec<_> = system
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    if let Some(path) = file {
        let wrong = |reason: String| Error::CaFile {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let before = all.len();
        for item in parse_pem(&text) {
            let item = item.map_err(|error| wrong(error.to_string()))?;
            if let PemItem::Certificate(certificate) = item {
                all.push(certificate);
            }
        }
        if all.len() == before {
            return Err(wrong("no certificate in it".to_owned()));
        }
    }
    if all.is_empty() {
        return Err(Error::NoCertificates);
    }
    Ok(all.into())
}

/// Why a server is not believed, and the way out.
pub(super) fn distrust(host: String, error: &rustls::Error) -> Error {
    let hint = match error {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "; is the clock of this machine right?",
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "; name its issuer's certificate with `ca_file` in [fetch] if you trust it"
        }
        _ => "",
    };
    Error::Certificate {
        host,
        reason: format!("{error}{hint}"),
    }
}
