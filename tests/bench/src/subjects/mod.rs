//! The programs that a run compares.

mod fastmcp;
mod nginx;
pub(crate) mod redis;
pub(crate) mod sidecar;

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use behalf_contract::{Injection, StoreConfig};
use behalf_simulators::sign_in::Browser;

use crate::call;
use crate::cores::SubjectCore;
use crate::cpu_time::CpuTime;
use crate::delaying_proxy::DelayingProxy;
use crate::error::{BenchError, Step as _};
use crate::generator::Target;
use crate::process::Process;
use crate::surroundings::Surroundings;

/// Number of users who call through a sidecar. One user may have 16 calls in flight.
const USERS: u32 = 64;

/// The program between the generator and the MCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Nothing.
    Direct,

    /// nginx as a plain proxy.
    Nginx,

    /// The sidecar with sessions in memory, which injects the token as a header.
    SidecarHeader,

    /// The sidecar with sessions in memory, which injects the token as an argument.
    SidecarArgument,

    /// The sidecar of [`Kind::SidecarHeader`] with sessions in Redis.
    SidecarRedis,

    /// A server made with `FastMCP` that checks a JWT at each call.
    FastMcp,

    /// The sidecar of [`Kind::SidecarHeader`] behind a planted slowdown.
    Slowed,
}

impl Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Direct => "direct call",
            Self::Nginx => "nginx",
            Self::SidecarHeader => "sidecar, Header",
            Self::SidecarArgument => "sidecar, Argument",
            Self::SidecarRedis => "sidecar, Header, Redis",
            Self::FastMcp => "FastMCP with JWT check",
            Self::Slowed => "slowed sidecar",
        })
    }
}

/// The store of a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    Redis,
}

impl Display for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Memory => "memory",
            Self::Redis => "Redis",
        })
    }
}

/// A started program that answers calls.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    process: Option<Process>,
    /// Run as long as the program.
    _redis: Option<Process>,
    _proxy: Option<DelayingProxy>,
}

impl Subject {
    /// True if the program can answer calls at a rate. `FastMCP` is measured at its limit only, which is below the rates.
    pub(crate) fn has_rates(&self) -> bool {
        self.kind != Kind::FastMcp
    }

    /// True if the limit of the program says anything.
    pub(crate) fn has_limit(&self) -> bool {
        self.kind != Kind::Slowed
    }

    /// The CPU time that the program has used until now. A direct call has no program.
    pub(crate) fn cpu(&self) -> Result<CpuTime, BenchError> {
        self.process
            .as_ref()
            .map_or_else(|| Ok(CpuTime::default()), Process::cpu)
    }

    /// A call without any program in between.
    pub(crate) fn direct(around: &Surroundings) -> Self {
        Self {
            kind: Kind::Direct,
            target: plain(around.server.address()),
            process: None,
            _redis: None,
            _proxy: None,
        }
    }

    /// Starts nginx.
    pub(crate) async fn nginx(around: &Surroundings, core: SubjectCore) -> Result<Self, BenchError> {
        let (process, address) = nginx::start(around, core).await?;
        Ok(Self {
            kind: Kind::Nginx,
            target: plain(address),
            process: Some(process),
            _redis: None,
            _proxy: None,
        })
    }

    /// Starts a server made with `FastMCP`.
    pub(crate) async fn fastmcp(
        around: &Surroundings,
        core: SubjectCore,
        python: &Path,
    ) -> Result<Self, BenchError> {
        let (process, target) = fastmcp::start(around, core, python).await?;
        Ok(Self {
            kind: Kind::FastMcp,
            target,
            process: Some(process),
            _redis: None,
            _proxy: None,
        })
    }

    /// Starts a sidecar, and signs users in.
    pub(crate) async fn sidecar(
        around: &Surroundings,
        core: SubjectCore,
        program: &Path,
        kind: Kind,
    ) -> Result<Self, BenchError> {
        let injection = if kind == Kind::SidecarArgument {
            Injection::Argument
        } else {
            Injection::Header
        };
        let (redis, store) = if kind == Kind::SidecarRedis {
            let (process, store) = redis::start(around).await?;
            (Some(process), store)
        } else {
            (None, StoreConfig::Memory)
        };
        let name = format!("{kind:?}");
        let sidecar = sidecar::start(around, core, program, &name, injection, store).await?;
        let mut requests = Vec::new();
        for user in around.add_users(USERS).await? {
            let browser = Browser::new().step("build a browser")?;
            let tokens = around.sign_in(&browser, &sidecar.base, &user).await?;
            requests.push(call::request(sidecar.base.authority(), &tokens.access));
        }
        Ok(Self {
            kind,
            target: Target {
                address: sidecar.address,
                requests,
            },
            process: Some(sidecar.process),
            _redis: redis,
            _proxy: None,
        })
    }

    /// Puts a planted slowdown before this program.
    pub(crate) async fn slowed(self, delay: Duration) -> Result<Self, BenchError> {
        let proxy = DelayingProxy::start(self.target.address, delay).await?;
        let target = Target {
            address: proxy.address(),
            requests: self.target.requests.clone(),
        };
        Ok(Self {
            kind: Kind::Slowed,
            target,
            _proxy: Some(proxy),
            ..self
        })
    }
}

/// A target that looks at no token. The token has about the length of an access token.
fn plain(address: SocketAddr) -> Target {
    Target {
        address,
        requests: vec![call::request(&address.to_string(), &"t".repeat(256))],
    }
}
