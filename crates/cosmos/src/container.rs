use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::models::PartitionKeyValue;
use azure_data_cosmos::options::{
    OperationOptions, OperationOptionsBuilder, ReadConsistencyStrategy, SessionToken as SdkSessionToken,
};
use feedmill_store_api::{Container, ContainerSpec, Error, ErrorKind, KeyPart, PartitionKey, ReadLevel, SessionToken};

/// One container as it was when it was looked up.
pub(crate) struct CosmosContainer {
    pub(crate) client: ContainerClient,
    pub(crate) rid: String,
    pub(crate) spec: ContainerSpec,
}

impl Container for CosmosContainer {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn rid(&self) -> &str {
        &self.rid
    }

    fn partition_key_paths(&self) -> &[String] {
        &self.spec.partition_key
    }

    fn spec(&self) -> &ContainerSpec {
        &self.spec
    }
}

/// A key as the client takes it.
pub(crate) fn sdk_key(key: &PartitionKey) -> Result<azure_data_cosmos::PartitionKey, Error> {
    let invalid = |source| Error::new(ErrorKind::Invalid, format!("use {key} as a partition key")).with_source(source);
    let part = |part: &KeyPart| match part {
        KeyPart::Undefined => Ok(PartitionKeyValue::UNDEFINED),
        KeyPart::Null => Ok(PartitionKeyValue::NULL),
        KeyPart::Bool(value) => Ok(PartitionKeyValue::from(*value)),
        KeyPart::Number(value) => PartitionKeyValue::try_from(*value),
        KeyPart::String(value) => Ok(PartitionKeyValue::from(value)),
    };
    let parts = key.parts().iter().map(part).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    azure_data_cosmos::PartitionKey::try_from(parts).map_err(invalid)
}

/// How a read of this level is asked for: the options of the operation, and a token that stands before what the client has
/// gathered itself.
pub(crate) fn read_level(level: &ReadLevel) -> (OperationOptions, Option<SdkSessionToken>) {
    match level {
        ReadLevel::Session(SessionToken(token)) if token.is_empty() => (OperationOptions::default(), None),
        ReadLevel::Session(SessionToken(token)) => (OperationOptions::default(), Some(token.clone().into())),
        ReadLevel::Quorum => {
            let quorum = OperationOptionsBuilder::new()
                .with_read_consistency_strategy(ReadConsistencyStrategy::LatestCommitted)
                .build();
            (quorum, None)
        }
    }
}

/// What a response says of the session; empty where the account keeps none.
pub(crate) fn session(headers: &azure_data_cosmos::models::ResponseHeaders) -> SessionToken {
    SessionToken(headers.session_token().map(|token| token.as_str().to_owned()).unwrap_or_default())
}
