//! Keeps the addresses of providers away from link-local hosts. Cloud machines have their metadata there, with credentials that a
//! provider's address must not read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The metadata service of AWS by IPv6, and that of Alibaba Cloud.
const METADATA: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// Whether an address is link-local or of a metadata service.
pub(super) fn is_guarded(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    is_link_local || METADATA.contains(&address)
}

/// Resolves names, and drops guarded addresses.
pub(super) struct Guard;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let count = found.len();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|found| !is_guarded(found.ip())).collect();
            if allowed.is_empty() && count > 0 {
                return Err(refusal(&host).into());
            }
            let allowed: Addrs = Box::new(allowed.into_iter());
            Ok(allowed)
        })
    }
}

/// The error about a host with guarded addresses only.
pub(super) fn refusal(host: &str) -> String {
    format!("{host} is a link-local address, which allow_link_local = true would allow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_guarded() {
        for (address, guarded) in [
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("::ffff:169.254.169.254", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("100.100.100.200", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("192.168.1.2", false),
            ("10.0.0.1", false),
            ("1.1.1.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_guarded(address.parse().unwrap()), guarded, "{address}");
        }
    }

    #[tokio::test]
    async fn name_of_a_guarded_address_is_refused() {
        let resolve = |name: &str| Guard.resolve(name.parse().unwrap());
        assert!(resolve("localhost").await.is_ok());
        let error = resolve("169.254.169.254").await.err().unwrap();
        assert!(error.to_string().contains("allow_link_local"), "{error}");
    }
}
