use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which account, who we are to it, and how patient one request is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address of the account, such as `https://name.documents.azure.com` or `http://127.0.0.1:8081`. Default `none`: the
    /// embedded store.
    pub endpoint: String,
    /// Who we are. Default `auto`.
    pub credential: CredentialKind,
    /// Client id of a user-assigned identity. Default `none`: the system-assigned one, or what the environment of a
    /// workload identity names.
    pub client_id: String,
    /// Whether an account key may be sent to another machine. Default false: keys are for this machine's own server.
    pub key_allowed: bool,
    /// Regions to read from, the nearest first, such as `["West Europe"]`. Default none: the account's own order. All workers
    /// of a fleet need the same first one: positions and quorum reads are those of one region.
    pub regions: Vec<String>,
    /// How long one request may take, the client's own attempts included; at least a second. Default 10 s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub deadline: Duration,
    /// Where containers and the database are created when they are missing. Default `loopback`.
    pub create: Create,
    /// Request units a second that a container is created with. Default none: on this machine's own server as many as give
    /// the wanted partitions, elsewhere none are named (serverless, or shared by the database).
    pub throughput: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// This machine's own server: the account key. Elsewhere: managed identity.
    Auto,
    /// The account key.
    Key,
    /// The identity that Container Apps, App Service, a virtual machine or an AKS node provides.
    ManagedIdentity,
    /// The federated identity of a Kubernetes pod.
    WorkloadIdentity,
    /// Whoever is signed in to the Azure CLI or the Azure Developer CLI.
    DeveloperTools,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Create {
    /// On this machine's own server only.
    Loopback,
    /// Everywhere; needs an account key, because roles of the data plane cannot.
    Always,
    Never,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: "none".to_owned(),
            credential: CredentialKind::Auto,
            client_id: "none".to_owned(),
            key_allowed: false,
            regions: Vec::new(),
            deadline: Duration::from_secs(10),
            create: Create::Loopback,
            throughput: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_refused_and_a_missing_one_has_its_default() {
        assert!(serde_json::from_str::<Options>(r#"{"endpont":"x"}"#).is_err());
        let text = r#"{"credential":"workload-identity","deadline":"3s","create":"never"}"#;
        let options: Options = serde_json::from_str(text).unwrap();
        assert_eq!(options.credential, CredentialKind::WorkloadIdentity);
        assert_eq!((options.deadline, options.create), (Duration::from_secs(3), Create::Never));
        assert_eq!(options.endpoint, "none");
    }
}
