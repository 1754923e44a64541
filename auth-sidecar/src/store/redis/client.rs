//! An open connection, to a server or to a cluster.

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use ::redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};

/// An open connection. Its clones share it.
#[derive(Clone)]
pub(super) enum RedisConnection {
    Standalone(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisConnection {
    /// Subscribes to the channel of announcements.
    pub(super) async fn subscribe(&mut self, channel: &str) -> Result<(), RedisError> {
        match self {
            Self::Standalone(connection) => connection.subscribe(channel).await,
            Self::Cluster(connection) => connection.subscribe(channel).await,
        }
    }

    /// Asks the server, or in a cluster any node, whichever slots it has.
    pub(super) async fn ask_any_node(&mut self, command: Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Standalone(connection) => connection.req_packed_command(&command).await,
            Self::Cluster(connection) => {
                let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                connection.route_command(command, anywhere).await
            }
        }
    }

    /// Asks the node of a cluster with this address. A standalone server is the only node.
    pub(super) async fn ask_node(&mut self, command: Cmd, address: &str) -> Result<Value, RedisError> {
        match (self, to_node(address)) {
            (Self::Cluster(connection), Some(node)) => connection.route_command(command, node).await,
            (connection, _) => connection.req_packed_command(&command).await,
        }
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Standalone(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Standalone(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Standalone(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The routing to the node with this address.
fn to_node(address: &str) -> Option<RoutingInfo> {
    let (host, port) = address.rsplit_once(':')?;
    let (host, port) = (host.to_owned(), port.parse().ok()?);
    Some(RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress {
        host,
        port,
    }))
}
