//! The ports of a Pod. Other containers must not use them.

/// The sidecar's public port: OAuth endpoints and `/mcp`. The Service points here.
pub const PUBLIC: u16 = 8080;

/// The sidecar's probes, metrics and status document; for the kubelet, the operator and Prometheus.
pub const INTERNAL: u16 = 9090;

/// The built-in server's MCP endpoint, on loopback only.
pub const SERVER: u16 = 3000;

/// The built-in server's probes and metrics; for the kubelet and Prometheus.
pub const SERVER_PROBES: u16 = 3001;
