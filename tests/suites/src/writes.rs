//! Finds what the operator wrote between two looks at a cluster: changed objects, and write requests that the API server
//! counted.

/// Kinds of which only the operator writes objects while the cluster is left alone.
const CHILDREN: [&str; 8] = [
    "services",
    "httproutes",
    "configmaps",
    "networkpolicies",
    "poddisruptionbudgets",
    "serviceaccounts",
    "secrets",
    "deployments",
];

/// The state of a cluster at one time: its objects, and its counts of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// One line for each object, with its version.
    versions: Vec<String>,

    /// The lines of the API server's metrics that count write requests of the operator.
    requests: Vec<String>,
}

impl Look {
    /// Reads the lines with the objects' versions, and the API server's metrics. Fails if the metrics count no status that
    /// the operator wrote, because then they would show no other write either.
    pub fn new(versions: Vec<String>, metrics: &str) -> Result<Self, &'static str> {
        let requests: Vec<_> = metrics
            .lines()
            .filter(|line| line.starts_with("apiserver_request_total{") && is_write_of_the_operator(line))
            .map(str::to_owned)
            .collect();
        let wrote_status = |line: &String| has(line, "group", "behalf.dev") && has(line, "verb", "APPLY");
        if !requests.iter().any(wrote_status) {
            return Err("the API server counts no status that the operator wrote");
        }
        Ok(Self { versions, requests })
    }

    /// Returns the lines of a later look that show a write: objects that are new or have another version, and counts that
    /// are new or differ. Missing objects are no writes: events expire.
    pub fn writes_until<'l>(&self, later: &'l Self) -> Vec<&'l str> {
        let objects = later.versions.iter().filter(|line| !self.versions.contains(line));
        // A request that changes nothing leaves no trace in an object.
        let requests = later.requests.iter().filter(|line| !self.requests.contains(line));
        objects.chain(requests).map(String::as_str).collect()
    }
}

/// Whether the requests of this line are those that only the operator makes: all of its own API group, each server-side
/// apply, and each write to a kind of its children. Writes of the control plane to subresources, its leases and its
/// events are not among them.
fn is_write_of_the_operator(line: &str) -> bool {
    let is_read = ["GET", "LIST", "WATCH"]
        .iter()
        .any(|verb| has(line, "verb", verb));
    let is_child =
        CHILDREN.iter().any(|resource| has(line, "resource", resource)) && has(line, "subresource", "");
    !is_read && (has(line, "group", "behalf.dev") || has(line, "verb", "APPLY") || is_child)
}

fn has(line: &str, label: &str, value: &str) -> bool {
    line.contains(&format!("{label}=\"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(group: &str, resource: &str, subresource: &str, verb: &str, count: u32) -> String {
        format!(
            "apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"{group}\",\
             resource=\"{resource}\",scope=\"resource\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"v1\"}} {count}"
        )
    }

    fn status_writes(number: u32) -> String {
        count("behalf.dev", "mcpservers", "status", "APPLY", number)
    }

    fn look(versions: &[&str], requests: &[String]) -> Look {
        let metrics = [&[status_writes(7)], requests].concat().join("\n");
        let versions = versions.iter().map(|&line| line.to_owned()).collect();
        Look::new(versions, &metrics).unwrap()
    }

    #[test]
    fn a_cluster_in_which_nothing_happens_shows_no_write() {
        let before = look(&["servers/Secret/a=1", "servers/Event/e=2"], &[]);
        let expired = look(&["servers/Secret/a=1"], &[]);
        assert_eq!(before.writes_until(&before), [""; 0]);
        assert_eq!(before.writes_until(&expired), [""; 0]);
    }

    #[test]
    fn a_changed_and_a_new_object_are_writes() {
        let before = look(&["servers/Secret/a=1"], &[]);
        let later = look(&["servers/Secret/a=2", "servers/Event/e=3"], &[]);
        assert_eq!(
            before.writes_until(&later),
            ["servers/Secret/a=2", "servers/Event/e=3"]
        );
    }

    #[test]
    fn a_request_that_changed_no_object_is_a_write() {
        for (group, resource, subresource, verb) in [
            ("behalf.dev", "mcpservers", "status", "PATCH"),
            ("apps", "deployments", "", "APPLY"),
            ("apps", "deployments", "", "PUT"),
            ("", "secrets", "", "POST"),
            ("", "configmaps", "", "DELETE"),
            ("networking.k8s.io", "networkpolicies", "", "PATCH"),
        ] {
            let planted = |number| count(group, resource, subresource, verb, number);
            for before in [vec![], vec![planted(4)]] {
                let later = look(&[], &[planted(5)]);
                assert_eq!(look(&[], &before).writes_until(&later), [planted(5)]);
            }
        }
    }

    #[test]
    fn one_more_write_of_a_status_is_a_write() {
        let later = Look::new(Vec::new(), &status_writes(8)).unwrap();
        assert_eq!(look(&[], &[]).writes_until(&later), [status_writes(8)]);
    }

    #[test]
    fn reads_and_writes_of_the_control_plane_are_not_counted() {
        for (group, resource, subresource, verb) in [
            ("behalf.dev", "mcpservers", "", "LIST"),
            ("", "secrets", "", "GET"),
            ("apps", "deployments", "", "WATCH"),
            ("apps", "deployments", "status", "PUT"),
            ("", "serviceaccounts", "token", "POST"),
            ("coordination.k8s.io", "leases", "", "PUT"),
            ("", "events", "", "POST"),
        ] {
            let other = |number| count(group, resource, subresource, verb, number);
            let later = look(&[], &[other(5)]);
            assert_eq!(
                look(&[], &[other(4)]).writes_until(&later),
                [""; 0],
                "{resource} {verb}"
            );
        }
    }

    #[test]
    fn metrics_that_count_no_status_prove_nothing() {
        assert!(Look::new(Vec::new(), &count("", "secrets", "", "POST", 1)).is_err());
    }
}
