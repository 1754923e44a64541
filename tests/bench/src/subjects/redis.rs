//! Debian's Redis as the store of a sidecar. It shares the core of the bench, so that the sidecar's CPU time is its own.

use std::net::{Ipv4Addr, SocketAddr};

use behalf_contract::{RedisAuthentication, RedisConfig, RedisTopology, StoreConfig};
use url::Url;

use crate::error::{BenchError, Step as _};
use crate::process::{Process, free_port};
use crate::surroundings::Surroundings;

/// Starts an empty Redis without persistence. Returns the store that it is for a sidecar.
pub(crate) async fn start(around: &Surroundings) -> Result<(Process, StoreConfig), BenchError> {
    let port = free_port()?;
    let folder = around.folder.path();
    let command = [
        "redis-server",
        "--bind",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--appendonly",
        "no",
        "--maxmemory-policy",
        "noeviction",
        "--dir",
        &folder.display().to_string(),
    ];
    let mut process = Process::start("redis", None, &command, folder)?;
    process
        .listens(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await?;
    let endpoint = Url::parse(&format!("redis://127.0.0.1:{port}")).step("build the endpoint of Redis")?;
    let store = StoreConfig::Redis(RedisConfig {
        topology: RedisTopology::Standalone,
        endpoints: vec![endpoint],
        authentication: RedisAuthentication::None,
        certificate_authority_file: None,
    });
    Ok((process, store))
}
