//! Which hosts are inside of the cluster. The operator opens the network for Services, and no proxy serves such hosts.

use std::net::IpAddr;

use url::Host;

/// Returns the namespace in `<service>.<namespace>.svc`, with or without `.cluster.local` at the end. The Pods of a
/// `StatefulSet` have a further label in front.
///
/// A cluster may have another domain, but a name that only begins like that of a Service can be of any host on the internet.
pub fn namespace_of_service(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = name.strip_suffix(".cluster.local").unwrap_or(name);
    let (service, namespace) = name.strip_suffix(".svc")?.rsplit_once('.')?;
    (!service.is_empty() && !namespace.is_empty()).then_some(namespace)
}

/// Returns true for loopback, for Services of the cluster, and for names that only the cluster's DNS completes.
pub fn is_inside_cluster(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            !name.contains('.')
                || name.ends_with(".localhost")
                || name.ends_with(".cluster.local")
                || namespace_of_service(name).is_some()
        }
        Host::Ipv4(address) => is_own(IpAddr::V4(*address)),
        // `::ffff:127.0.0.1` is 127.0.0.1.
        Host::Ipv6(address) => is_own(address.to_canonical()),
    }
}

/// Returns true for loopback and for `0.0.0.0` and `::`, which the operating system connects to loopback.
fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_the_label_before_svc_at_the_end_of_a_name() {
        for (name, namespace) in [
            ("redis.data.svc", Some("data")),
            ("redis.data.svc.", Some("data")),
            ("redis.data.svc.cluster.local", Some("data")),
            ("redis.data.svc.cluster.local.", Some("data")),
            ("redis-0.redis.data.svc", Some("data")),
            ("redis.data.svc.evil.example", None),
            ("redis.data.svc.corp.local", None),
            ("data.svc", None),
            (".data.svc", None),
            ("redis..svc", None),
            ("redis.data.xsvc", None),
            ("redis.data.cluster.local", None),
        ] {
            assert_eq!(namespace_of_service(name), namespace, "{name}");
        }
    }
}
