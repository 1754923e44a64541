//! The programs that a run compares.

mod nginx;
mod sidecar;

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use behalf_contract::Injection;

use crate::call;
use crate::cores::SubjectCore;
use crate::delaying_proxy::DelayingProxy;
use crate::error::BenchError;
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
            Self::Slowed => "slowed sidecar",
        })
    }
}

/// A started program that answers calls.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    process: Option<Process>,
    /// Keeps the planted slowdown running.
    _proxy: Option<DelayingProxy>,
}

impl Subject {
    /// The CPU time that the program has used until now. A direct call has no program.
    pub(crate) fn cpu(&self) -> Result<Duration, BenchError> {
        self.process.as_ref().map_or(Ok(Duration::ZERO), Process::cpu)
    }

    /// A call without any program in between.
    pub(crate) fn direct(around: &Surroundings) -> Self {
        Self {
            kind: Kind::Direct,
            target: plain(around.server.address()),
            process: None,
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
        let sidecar = sidecar::start(around, core, program, kind, injection).await?;
        let mut requests = Vec::new();
        for user in around.add_users(USERS).await? {
            let token = around.sign_in(&sidecar.base, &user).await?;
            requests.push(call::request(sidecar.base.authority(), &token));
        }
        Ok(Self {
            kind,
            target: Target {
                address: sidecar.address,
                requests,
            },
            process: Some(sidecar.process),
            _proxy: None,
        })
    }

    /// Puts a planted slowdown before this program.
    pub(crate) async fn slowed(self, delay: Duration) -> Result<Self, BenchError> {
        let proxy = DelayingProxy::start(self.target.address, delay).await?;
        let target = Target {
            address: proxy.address(),
            ..self.target
        };
        Ok(Self {
            kind: Kind::Slowed,
            target,
            process: self.process,
            _proxy: Some(proxy),
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
