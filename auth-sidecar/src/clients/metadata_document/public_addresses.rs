//! Resolves names of hosts to public addresses alone (RFC 6890), against server-side request forgery.
//!
//! The HTTP client connects to an address of this answer and asks no second time. A name that resolves to another address
//! a moment later (DNS rebinding) therefore gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// Networks of IPv4 without public hosts: IANA's special-purpose registry, multicast and reserved addresses, and the
/// host agent of Azure, which has a public address.
const NOT_PUBLIC_IPV4: [&str; 16] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// The only network of IPv6 with public hosts. Loopback, link-local, unique local, multicast, IPv4-mapped and NAT64
/// addresses are outside of it.
const PUBLIC_IPV6: &str = "2000::/3";

/// Networks within [`PUBLIC_IPV6`] that have no public hosts, or that contain an address of IPv4: protocol assignments
/// with Teredo, documentation, 6to4.
const NOT_PUBLIC_IPV6: [&str; 4] = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

static NETWORKS: LazyLock<Networks> = LazyLock::new(|| Networks {
    public_ipv6: PUBLIC_IPV6.parse().ok(),
    not_public: NOT_PUBLIC_IPV4
        .iter()
        .chain(&NOT_PUBLIC_IPV6)
        .filter_map(|network| network.parse().ok())
        .collect(),
});

struct Networks {
    public_ipv6: Option<IpNet>,
    not_public: Vec<IpNet>,
}

/// True for the address of a host on the public internet.
fn is_public(address: IpAddr) -> bool {
    let may_be = match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(_) => NETWORKS
            .public_ipv6
            .is_some_and(|network| network.contains(&address)),
    };
    may_be
        && !NETWORKS
            .not_public
            .iter()
            .any(|network| network.contains(&address))
}

/// The name has no public address. Whether it has other addresses is not told.
#[derive(Debug, thiserror::Error)]
#[error("the host has no public address")]
pub(super) struct NoPublicAddress;

/// Passes on only the public addresses that another resolver finds.
pub struct PublicAddresses(Arc<dyn Resolve>);

impl PublicAddresses {
    /// Filters the answers of `resolver`.
    pub fn of(resolver: Arc<dyn Resolve>) -> Self {
        Self(resolver)
    }
}

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.0.resolve(name);
        Box::pin(async move {
            let public: Vec<SocketAddr> = addresses
                .await?
                .filter(|address| is_public(address.ip()))
                .collect();
            if public.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// The permits for look-ups of this process. The operating system cannot stop a look-up: it occupies a thread until the
/// name servers answer, also if the fetch has given up.
static LOOK_UPS: Semaphore = Semaphore::const_new(40);

/// Too many look-ups run already.
#[derive(Debug, thiserror::Error)]
#[error("too many names are looked up at the moment")]
pub(super) struct TooManyLookUps;

/// Resolves names as the operating system does, but without the search domains of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        // The dot at the end makes the name absolute. Port 0 stands for the port of the scheme.
        let host = format!("{}.", name.as_str());
        Box::pin(look_up(&LOOK_UPS, move || {
            (host.as_str(), 0_u16).to_socket_addrs().map(Iterator::collect)
        }))
    }
}

/// Looks a name up on a thread for blocking work. The permit is released when the look-up ends, not when its caller leaves.
async fn look_up(
    permits: &'static Semaphore,
    ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    let permit = permits.try_acquire().map_err(|_| TooManyLookUps)?;
    let asking = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        ask()
    });
    Ok(Box::new(asking.await??.into_iter()) as Addrs)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::dns("8.8.8.8")]
    #[case::github("140.82.121.3")]
    #[case::beside_private("172.32.0.1")]
    #[case::beside_shared("100.128.0.1")]
    #[case::beside_the_host_agent("168.63.129.17")]
    #[case::beside_loopback("128.0.0.1")]
    #[case::ipv6("2606:4700::6810:84e5")]
    #[case::ipv6_of_google("2001:4860:4860::8888")]
    fn public_addresses_are_reached(#[case] address: &str) {
        assert!(is_public(address.parse().unwrap()));
    }

    #[rstest]
    #[case::unspecified("0.0.0.0")]
    #[case::this_network("0.1.2.3")]
    #[case::loopback("127.0.0.1")]
    #[case::other_loopback("127.8.9.10")]
    #[case::private_10("10.96.0.1")]
    #[case::private_172("172.31.255.255")]
    #[case::private_192("192.168.1.1")]
    #[case::shared("100.64.0.1")]
    #[case::metadata_service_of_alibaba("100.100.100.200")]
    #[case::metadata_service("169.254.169.254")]
    #[case::host_agent_of_azure("168.63.129.16")]
    #[case::protocol_assignments("192.0.0.8")]
    #[case::documentation("192.0.2.1")]
    #[case::documentation_2("198.51.100.1")]
    #[case::documentation_3("203.0.113.1")]
    #[case::relay_of_6to4("192.88.99.1")]
    #[case::benchmarks("198.19.0.1")]
    #[case::multicast("224.0.0.1")]
    #[case::reserved("240.0.0.1")]
    #[case::broadcast("255.255.255.255")]
    #[case::ipv6_unspecified("::")]
    #[case::ipv6_loopback("::1")]
    #[case::ipv4_mapped("::ffff:127.0.0.1")]
    #[case::ipv4_mapped_public("::ffff:8.8.8.8")]
    #[case::ipv4_compatible("::127.0.0.1")]
    #[case::nat64("64:ff9b::a00:1")]
    #[case::local_nat64("64:ff9b:1::1")]
    #[case::discard_only("100::1")]
    #[case::teredo("2001::1")]
    #[case::orchid("2001:20::1")]
    #[case::ipv6_documentation("2001:db8::1")]
    #[case::ipv6_documentation_2("3fff::1")]
    #[case::of_6to4("2002:7f00:1::")]
    #[case::unique_local("fd00:ec2::254")]
    #[case::link_local("fe80::1")]
    #[case::site_local("fec0::1")]
    #[case::ipv6_multicast("ff02::1")]
    #[case::segment_routing("5f00::1")]
    fn other_addresses_are_not(#[case] address: &str) {
        assert!(!is_public(address.parse().unwrap()));
    }

    #[test]
    fn every_network_of_the_lists_is_one() {
        let listed = NOT_PUBLIC_IPV4.len() + NOT_PUBLIC_IPV6.len();
        assert_eq!(NETWORKS.not_public.len(), listed);
        assert!(NETWORKS.public_ipv6.is_some());
    }

    /// Finds these addresses for every name.
    struct Fixed(Vec<SocketAddr>);

    impl Resolve for Fixed {
        fn resolve(&self, _: Name) -> Resolving {
            let found = self.0.clone();
            Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
        }
    }

    async fn resolve(found: &[&str]) -> Result<Vec<SocketAddr>, String> {
        let found = found.iter().map(|address| address.parse().unwrap()).collect();
        let guard = PublicAddresses::of(Arc::new(Fixed(found)));
        let addresses = guard.resolve("client.example".parse().unwrap()).await;
        addresses
            .map(Iterator::collect)
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn only_the_public_addresses_of_a_name_are_passed_on() {
        let found = ["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"];
        assert_eq!(resolve(&found).await.unwrap(), ["8.8.8.8:0".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_without_address_and_one_with_private_addresses_give_one_error() {
        let none = resolve(&[]).await.unwrap_err();
        assert_eq!(resolve(&["127.0.0.1:0", "10.0.0.1:0"]).await.unwrap_err(), none);
    }

    #[tokio::test]
    async fn a_look_up_that_nobody_waits_for_keeps_its_place_until_it_ends() {
        static PLACES: Semaphore = Semaphore::const_new(1);
        let (answer, answers) = std::sync::mpsc::channel::<()>();
        let mut abandoned = Box::pin(look_up(&PLACES, move || {
            answers.recv().ok();
            Ok(Vec::new())
        }));
        assert!(futures::poll!(abandoned.as_mut()).is_pending());
        drop(abandoned);
        let refused = look_up(&PLACES, || Ok(Vec::new())).await.err().unwrap();
        assert_eq!(refused.to_string(), TooManyLookUps.to_string());
        answer.send(()).unwrap();
        drop(PLACES.acquire().await.unwrap());
        assert!(look_up(&PLACES, || Ok(Vec::new())).await.is_ok());
    }
}
