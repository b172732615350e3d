//! Which addresses images may be fetched from. Pure.
//!
//! A server that fetches what a stranger names could be made to ask other programs of its machine and network. So only addresses of
//! the public internet are asked, unless the settings list the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipc_proto::gateway::ImageUrls;
use reqwest::Url;

/// Why an address that is not public is refused.
pub(super) const NOT_PUBLIC: &str =
    "the host is not on the public internet; images.urls in config.toml can allow it";

/// Checks an address before anything is sent.
///
/// # Errors
/// The reason, as a part of a sentence.
pub(super) fn check(url: &Url, allowed: &ImageUrls) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https are fetched".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address must have no user and no password".into());
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let has_usual_port = matches!(port, 80 | 443);
    match allowed {
        ImageUrls::Off => Err("this server fetches no images: send the image itself as a data URL".into()),
        ImageUrls::Hosts(_) if allowed.lists(host, port, has_usual_port) => Ok(()),
        ImageUrls::Hosts(_) => Err(format!("{host}:{port} is not among the hosts in images.urls")),
        ImageUrls::Public if !has_usual_port => Err("only the ports 80 and 443 are asked".into()),
        ImageUrls::Public => match literal(host) {
            Some(address) if !is_public(address) => Err(NOT_PUBLIC.into()),
            _ => Ok(()),
        },
    }
}

/// The IP address that a host is, if it is no name.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address is one of the public internet, by IANA's registries of special-purpose addresses.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = match address.octets() {
        // This network, private networks and loopback; then what carriers share, RFC 6598.
        [0 | 10 | 127, ..] | [100, 64..=127, ..] => true,
        // Link-local, with the metadata of clouds; private networks.
        [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] => true,
        // IETF protocols, documentation, AS112, relays of 6to4.
        [192, 0, 0 | 2, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 88, 99, _] | [192, 175, 48, _] => {
            true
        }
        // Benchmarks and documentation; multicast, reserved, broadcast.
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => true,
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Only 2000::/3 is assigned to the internet. Loopback, mapped IPv4, NAT64, unique local, link-local and multicast lie outside.
    if first & 0xe000 != 0x2000 {
        return false;
    }
    // IETF protocols with Teredo and ORCHID, documentation, 6to4, which carries IPv4 addresses, and AS112.
    let is_special = matches!(
        (first, second),
        (0x2001, 0..=0x01ff | 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff) | (0x2620, 0x004f)
    );
    !is_special
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPECIAL: &str = "0.0.0.0 0.255.255.255 10.0.0.1 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 \
        169.254.0.0 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.1 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 \
        192.168.0.0 192.168.255.255 192.175.48.1 198.18.0.0 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 \
        239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::8.8.8.8 64:ff9b::7f00:1 \
        64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fdff::1 fe80::1 fec0::1 ff02::1 \
        2620:4f:8000::1";
    const PUBLIC: &str = "1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 \
        198.20.0.0 203.0.112.255 223.255.255.255 2606:4700::1111 2a00:1450::1 2001:4860:4860::8888 2001:200::1 2003::1 \
        2620:0:1::1";

    #[test]
    fn special_addresses_and_their_neighbours_are_told_apart() {
        for (list, expected) in [(SPECIAL, false), (PUBLIC, true)] {
            for text in list.split_whitespace() {
                assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
            }
        }
    }

    #[test]
    fn urls_are_checked_before_they_are_fetched() {
        let hosts = ImageUrls::Hosts(vec!["nas.local:8080".into(), "10.0.0.9".into(), "[::1]".into()]);
        for (url, allowed, reason) in [
            ("https://a.example/b.png", &ImageUrls::Public, None),
            ("http://a.example:80/b.png", &ImageUrls::Public, None),
            ("http://a.example:8080/", &ImageUrls::Public, Some("ports 80 and 443")),
            ("http://u:p@a.example/", &ImageUrls::Public, Some("no user")),
            ("http://a.example@127.0.0.1/", &ImageUrls::Public, Some("no user")),
            ("http://127.0.0.1/", &ImageUrls::Public, Some("public internet")),
            ("http://2130706433/", &ImageUrls::Public, Some("public internet")),
            ("http://0x7f.1/", &ImageUrls::Public, Some("public internet")),
            ("http://[::ffff:10.0.0.1]/", &ImageUrls::Public, Some("public internet")),
            ("http://169.254.169.254/latest", &ImageUrls::Public, Some("public internet")),
            ("https://a.example/", &ImageUrls::Off, Some("fetches no images")),
            ("file:///etc/passwd", &ImageUrls::Public, Some("only http")),
            ("http://nas.local:8080/a", &hosts, None),
            ("http://NAS.local:8080/a", &hosts, None),
            ("http://nas.local/a", &hosts, Some("nas.local:80 is not among")),
            ("https://10.0.0.9/a", &hosts, None),
            ("https://[::1]/a", &hosts, None),
            ("https://a.example/a", &hosts, Some("not among the hosts")),
        ] {
            let checked = check(&Url::parse(url).unwrap(), allowed);
            match reason {
                None => assert_eq!(checked, Ok(()), "{url}"),
                Some(reason) => assert!(checked.unwrap_err().contains(reason), "{url}"),
            }
        }
    }

    proptest! {
        #[test]
        fn no_special_address_of_ipv4_is_public_in_any_form(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let is_special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            prop_assert!(!(is_special && is_public(v4.into())));
            prop_assert!(!is_public(v4.to_ipv6_mapped().into()));
        }
    }
}
