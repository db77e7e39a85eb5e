use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("make a certificate for localhost")]
    Certificate(#[source] rcgen::Error),
    #[error("set TLS up")]
    Config(#[source] tokio_rustls::rustls::Error),
}

/// A certificate of our own for `localhost` and `127.0.0.1`, new at each start: clients must be told to trust it, or not to look.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
    certificate_pem: String,
}

impl Identity {
    pub fn self_signed() -> Result<Self, TlsError> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Config)?
            .with_no_client_auth();
        let mut config = config.with_single_cert(vec![made.cert.der().clone()], key).map_err(TlsError::Config)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), certificate_pem: made.cert.pem() })
    }

    /// For clients that shall trust it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}
