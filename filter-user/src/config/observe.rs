//! What the operator wants to see of the traffic: the tables `[metrics]` and `[log]`.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Error;

/// Size at which a dnstap file is put aside, in MiB.
const DNSTAP_FILE_MIB: u64 = 64;

/// The table `[metrics]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Loopback address and port where metrics are read over HTTP.
    pub listen: Option<SocketAddr>,
}

/// The table `[log]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Which queries are told of.
    pub queries: LogQueries,
    /// Of queries that pass, one of so many is told of where all are.
    pub sample: u32,
    /// Bits that are kept of a client's IPv4 address.
    pub truncate_ipv4: u8,
    /// Bits that are kept of a client's IPv6 address.
    pub truncate_ipv6: u8,
    /// File that dnstap is written to.
    pub dnstap_file: Option<PathBuf>,
    /// Size at which the file is put aside and another one begun, in MiB.
    pub dnstap_file_mib: u64,
    /// Unix socket that dnstap is sent to.
    pub dnstap_socket: Option<PathBuf>,
}

/// Which queries leave a line in the query log.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogQueries {
    /// None.
    #[default]
    Off,
    /// Those that were answered or dropped, or would have been.
    Blocked,
    /// Every one.
    All,
}

impl std::fmt::Display for LogQueries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Blocked => "blocked",
            Self::All => "all",
        })
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            queries: LogQueries::Off,
            sample: 1,
            truncate_ipv4: 32,
            truncate_ipv6: 128,
            dnstap_file: None,
            dnstap_file_mib: DNSTAP_FILE_MIB,
            dnstap_socket: None,
        }
    }
}

impl MetricsConfig {
    /// Checks what the types cannot say.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.listen {
            Some(address) if !address.ip().is_loopback() => {
                Err(Error::MetricsNotLoopback { address })
            }
            _ => Ok(()),
        }
    }
}

impl LogConfig {
    /// Makes paths relative to `folder`.
    pub(super) fn relocate(&mut self, folder: &Path) {
        for path in self.dnstap_file.iter_mut().chain(&mut self.dnstap_socket) {
            *path = folder.join(&*path);
        }
    }

    /// Checks what the types cannot say.
    pub(super) fn check(&self) -> Result<(), Error> {
        let prefixes = [
            ("truncate_ipv4", self.truncate_ipv4, 32),
            ("truncate_ipv6", self.truncate_ipv6, 128),
        ];
        for (key, bits, max) in prefixes {
            if bits > max {
                return Err(Error::LongPrefix { key, bits, max });
            }
        }
        if self.sample == 0 {
            return Err(Error::NoSample);
        }
        if self.dnstap_file_mib == 0 {
            return Err(Error::NoDnstapSize);
        }
        let has_dnstap = self.dnstap_file.is_some() || self.dnstap_socket.is_some();
        match self.queries {
            LogQueries::Off if has_dnstap => Err(Error::DnstapOfNothing),
            _ => Ok(()),
        }
    }

    /// The part of a client's address that may be told.
    pub fn truncate(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => {
                let hidden = 32u32.saturating_sub(self.truncate_ipv4.into());
                let mask = u32::MAX.checked_shl(hidden).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let hidden = 128u32.saturating_sub(self.truncate_ipv6.into());
                let mask = u128::MAX.checked_shl(hidden).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        }
    }

    /// Whether some address is told in part only: then nothing else may tell the client apart.
    pub fn is_truncating(&self) -> bool {
        self.truncate_ipv4 < 32 || self.truncate_ipv6 < 128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(ipv4: u8, ipv6: u8) -> LogConfig {
        LogConfig {
            truncate_ipv4: ipv4,
            truncate_ipv6: ipv6,
            ..LogConfig::default()
        }
    }

    #[test]
    fn an_address_keeps_the_bits_that_were_asked_for() {
        let cases = [
            (32, 128, "192.0.2.77", "192.0.2.77"),
            (24, 128, "192.0.2.77", "192.0.2.0"),
            (0, 128, "192.0.2.77", "0.0.0.0"),
            (24, 128, "2001:db8:1:2::7", "2001:db8:1:2::7"),
            (24, 48, "2001:db8:1:2::7", "2001:db8:1::"),
            (24, 0, "2001:db8:1:2::7", "::"),
        ];
        for (ipv4, ipv6, address, kept) in cases {
            let told = log(ipv4, ipv6).truncate(address.parse().unwrap());
            assert_eq!(told.to_string(), kept, "{address} to {ipv4} and {ipv6}");
        }
    }

    #[test]
    fn metrics_listen_on_loopback_only() {
        for (address, is_fine) in [
            ("127.0.0.1:9153", true),
            ("127.9.9.9:1", true),
            ("[::1]:9153", true),
            ("0.0.0.0:9153", false),
            ("[::]:9153", false),
            ("192.168.1.1:9153", false),
            // Mapped: the socket would listen on the IPv4 address, so it is judged as no loopback.
            ("[::ffff:127.0.0.1]:9153", false),
        ] {
            let metrics = MetricsConfig {
                listen: Some(address.parse().unwrap()),
            };
            assert_eq!(metrics.check().is_ok(), is_fine, "{address}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert!(log(33, 128).check().is_err());
        assert!(log(32, 129).check().is_err());
        let mut log = log(24, 48);
        log.dnstap_file = Some("tap".into());
        assert!(matches!(log.check(), Err(Error::DnstapOfNothing)));
        log.queries = LogQueries::Blocked;
        assert!(log.check().is_ok());
        log.dnstap_file_mib = 0;
        assert!(log.check().is_err());
    }
}
