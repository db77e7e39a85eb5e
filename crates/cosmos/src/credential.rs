use std::fmt;
use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::Url;
use azure_data_cosmos::{AccountEndpoint, AccountReference};
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use crate::account::ConnectError;
use crate::options::{CredentialKind, Options};

/// Who we are to the account.
pub(crate) enum Credential {
    Key(Secret),
    Token(Arc<dyn TokenCredential>),
}

impl Credential {
    /// `key` is what was given of an account key, whether or not it is wanted.
    pub(crate) fn choose(options: &Options, endpoint: &Url, key: Option<Secret>) -> Result<Self, ConnectError> {
        let local = is_loopback(endpoint);
        let kind = match options.credential {
            CredentialKind::Auto if local => CredentialKind::Key,
            CredentialKind::Auto => CredentialKind::ManagedIdentity,
            chosen => chosen,
        };
        let client_id = (options.client_id != "none").then(|| options.client_id.clone());
        let no_identity = |source| ConnectError::Identity { kind: Shown(kind), source };
        let token: Arc<dyn TokenCredential> = match kind {
            CredentialKind::Auto | CredentialKind::Key => {
                if !local && !options.key_allowed {
                    return Err(ConnectError::KeyNotAllowed { endpoint: endpoint.to_string() });
                }
                return key.map(Self::Key).ok_or_else(|| ConnectError::NoKey { endpoint: endpoint.to_string() });
            }
            CredentialKind::ManagedIdentity => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.map(UserAssignedId::ClientId),
                    ..Default::default()
                };
                ManagedIdentityCredential::new(Some(options)).map_err(no_identity)?
            }
            CredentialKind::WorkloadIdentity => {
                let options = WorkloadIdentityCredentialOptions { client_id, ..Default::default() };
                WorkloadIdentityCredential::new(Some(options)).map_err(no_identity)?
            }
            CredentialKind::DeveloperTools => DeveloperToolsCredential::new(None).map_err(no_identity)?,
        };
        Ok(Self::Token(token))
    }

    pub(crate) fn reference(self, endpoint: Url) -> AccountReference {
        let endpoint = AccountEndpoint::from(endpoint);
        match self {
            Self::Key(key) => AccountReference::with_authentication_key(endpoint, key),
            Self::Token(credential) => AccountReference::with_credential(endpoint, credential),
        }
    }
}

/// Whether the server is on this machine.
pub(crate) fn is_loopback(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A kind as the options spell it.
#[derive(Debug)]
pub struct Shown(CredentialKind);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            CredentialKind::Auto => "auto",
            CredentialKind::Key => "key",
            CredentialKind::ManagedIdentity => "managed-identity",
            CredentialKind::WorkloadIdentity => "workload-identity",
            CredentialKind::DeveloperTools => "developer-tools",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(kind: CredentialKind, endpoint: &str, key: Option<&str>, key_allowed: bool) -> String {
        let options = Options { credential: kind, key_allowed, ..Options::default() };
        let chosen =
            Credential::choose(&options, &endpoint.parse().unwrap(), key.map(|key| Secret::from(key.to_owned())));
        match chosen {
            Ok(Credential::Key(_)) => "key".to_owned(),
            Ok(Credential::Token(_)) => "token".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_key_stays_on_this_machine_unless_it_is_allowed_to_leave() {
        use CredentialKind::{Auto, Key};
        for local in ["http://127.0.0.1:8081", "https://localhost:8081", "http://[::1]:8081"] {
            assert_eq!(choose(Auto, local, Some("a2V5"), false), "key", "{local}");
        }
        let away = "https://name.documents.azure.com";
        assert!(choose(Key, away, Some("a2V5"), false).contains("key_allowed"));
        assert_eq!(choose(Key, away, Some("a2V5"), true), "key");
        // Merely having a key at hand sends it nowhere.
        assert_eq!(choose(Auto, away, Some("a2V5"), true), "token");
        assert!(choose(Key, away, None, true).contains("no account key"));
    }
}
