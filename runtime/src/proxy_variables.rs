//! Proxies that the environment of a Pod names, and that Behalf's programs ignore.

use std::ffi::OsString;

/// The variables with which other programs find a proxy for https addresses.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Logs a warning if `environment` names a proxy although the program is configured to use none. A webhook of the cluster
/// may have set it, and every outgoing request of the program would fail where only the proxy has a way out.
pub fn warn_of_ignored_proxy(has_proxy: bool, environment: impl IntoIterator<Item = (OsString, OsString)>) {
    let variables = ignored(has_proxy, environment);
    // Never the values, which may contain a password.
    if !variables.is_empty() {
        tracing::warn!(
            "The environment names a proxy ({}), which this program ignores: it calls every host directly. If the cluster has \
             a proxy, set proxy.https of the chart behalf",
            variables.join(", ")
        );
    }
}

/// Returns the names of the variables that name a proxy.
fn ignored(
    has_proxy: bool,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<&'static str> {
    if has_proxy {
        return Vec::new();
    }
    let set: Vec<OsString> = environment
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| name)
        .collect();
    VARIABLES
        .into_iter()
        .filter(|variable| set.iter().any(|name| name == variable))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(texts: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        texts
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn a_proxy_of_the_environment_is_found_in_both_spellings() {
        for variable in VARIABLES {
            let environment = environment(&[("PATH", "/bin"), (variable, "http://proxy:3128")]);
            assert_eq!(ignored(false, environment), [variable]);
        }
    }

    #[test]
    fn an_empty_variable_a_proxy_for_http_and_a_configured_proxy_are_no_reason_to_warn() {
        let other = environment(&[("HTTPS_PROXY", ""), ("HTTP_PROXY", "http://proxy:3128")]);
        assert!(ignored(false, other).is_empty());
        let configured = environment(&[("HTTPS_PROXY", "http://proxy:3128")]);
        assert!(ignored(true, configured).is_empty());
    }
}
