use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Section `telemetry` of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How log lines look on stderr. Default `text`.
    pub log_format: LogFormat,
    /// Which events are logged, as tracing's `EnvFilter` reads it: `info`, `warn,feedmill_engine=debug`. Default `warn`:
    /// what matters is said by the commands themselves.
    pub log_filter: String,
    /// Address of a collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`. Default `none`: no traces.
    pub traces_endpoint: String,
    /// Part of the work that is traced, from 0 to 1, beside what follows traces that its writers have sampled. Default 0.01.
    pub traces_ratio: f64,
    /// Address the admin endpoint listens on. Default `127.0.0.1`: it has no authentication, so a wider one is a choice.
    pub admin_address: IpAddr,
    /// Port of the admin endpoint (`/livez`, `/readyz`, `/metrics`); `0` takes a free one. Default `none`: no endpoint, and
    /// no metrics are collected.
    pub admin_port: Port,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Text,
            log_filter: "warn".to_owned(),
            traces_endpoint: "none".to_owned(),
            traces_ratio: 0.01,
            admin_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            admin_port: Port(None),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for log collectors.
    Json,
}

/// A port, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub Option<u16>);

#[derive(Debug, thiserror::Error)]
#[error("not a port: {0}; a number from 0 to 65535, or none")]
pub struct InvalidPort(String);

impl FromStr for Port {
    type Err = InvalidPort;
    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        match text {
            "none" => Ok(Self(None)),
            number => number.parse().map(|port| Self(Some(port))).map_err(|_| InvalidPort(number.to_owned())),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(port) => serializer.serialize_u16(port),
            None => serializer.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Port;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port from 0 to 65535, or \"none\"")
            }
            fn visit_u64<E: de::Error>(self, port: u64) -> Result<Port, E> {
                let port = u16::try_from(port).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(port), &self))?;
                Ok(Port(Some(port)))
            }
            fn visit_i64<E: de::Error>(self, port: i64) -> Result<Port, E> {
                let port = u16::try_from(port).map_err(|_| E::invalid_value(de::Unexpected::Signed(port), &self))?;
                Ok(Port(Some(port)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Port, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_or_none_and_comes_back_as_it_went() {
        for (text, port) in [("\"none\"", Port(None)), ("9464", Port(Some(9464))), ("0", Port(Some(0)))] {
            let read: Port = serde_json::from_str(text).unwrap();
            assert_eq!((read, serde_json::to_string(&read).unwrap()), (port, text.to_owned()));
        }
        for bad in ["70000", "-1", "\"nine\"", "true"] {
            assert!(serde_json::from_str::<Port>(bad).is_err(), "{bad}");
        }
    }
}
