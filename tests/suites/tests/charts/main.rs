//! Renders the charts with Helm 3 and Helm 4, without a cluster. `.ci/test` runs this suite: `.ci/charts` builds its programs
//! at its first run. The black-box suite installs the charts.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod azure_policy;
#[cfg(test)]
mod children;
#[cfg(test)]
mod crds;
#[cfg(test)]
mod documentation;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod network;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod placement;
#[cfg(test)]
mod render;
#[cfg(test)]
mod test_pod;
