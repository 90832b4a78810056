//! Connections go to admitted addresses only.
//!
//! Checked is what a name resolves to, and connected to is what was checked: a
//! name that resolves to something else the next moment changes nothing.

use std::sync::Arc;

use ipnet::IpNet;
use ureq::{
    Proxy,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};
use url::{Host, Url};

use super::{Error, address::is_admitted, client::host};

/// The system's resolver, of whose answers only admitted addresses are connected to.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    proxy: Option<Proxy>,
    admitted: Arc<[IpNet]>,
}

impl Gate {
    /// A gate for public addresses and some others.
    pub(super) fn new(proxy: Option<Proxy>, admitted: &[IpNet]) -> Self {
        Self {
            proxy,
            admitted: admitted.into(),
        }
    }

    /// The proxy behind which the servers are, if there is one.
    pub(super) fn proxy(&self) -> Option<Proxy> {
        self.proxy.clone()
    }

    /// An address that is written out is checked even where a proxy would connect to it.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Error> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if is_admitted(address, &self.admitted) {
            return Ok(());
        }
        Err(Error::PrivateAddress {
            host: host(url),
            address,
        })
    }

    /// The operator chose the proxy; it may be anywhere.
    fn is_proxy(&self, uri: &Uri) -> bool {
        let is_it = |proxy: &Proxy| proxy.uri().authority() == uri.authority();
        self.proxy.as_ref().is_some_and(is_it)
    }
}

impl Resolver for Gate {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        if self.is_proxy(uri) {
            return Ok(found);
        }
        let mut admitted = self.empty();
        let mut refused = None;
        for address in &found {
            if is_admitted(address.ip(), &self.admitted) {
                admitted.push(*address);
            } else {
                refused = Some(address.ip());
            }
        }
        match refused {
            Some(address) if admitted.is_empty() => {
                let host = uri.host().unwrap_or_default().to_owned();
                let error = Error::PrivateAddress { host, address };
                Err(ureq::Error::Other(Box::new(error)))
            }
            _ => Ok(admitted),
        }
    }
}
