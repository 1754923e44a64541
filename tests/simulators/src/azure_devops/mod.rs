//! A simulator of Azure DevOps Services: the REST API that Behalf uses, with the service's own quirks.
//!
//! It answers as the service does where that is known, wrongly shaped and inconveniently timed where the
//! service is, and knows a user only from a bearer token whose signature it checked against the tenant's
//! published keys. `docs/simulator-azure-devops.md` says what it models, how to steer it, and what it does
//! not model.
//!
//! [`AzureDevOpsSimulator::start`] serves it on loopback inside a test; the binary
//! `behalf-simulator azure-devops` serves the same code in a Pod. Tests script it and read its record through
//! [`Control`].

mod admission;
mod ask;
mod clock;
mod control;
mod error;
mod fault;
mod fault_answer;
mod gate;
mod permissions;
mod query;
mod record;
mod reply;
mod routes;
mod state;
mod throttle;
mod token;
mod version;
mod world;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use url::Url;

pub use self::{
    clock::Clock,
    control::{BuildChange, Control, NewBuild, Planted},
    fault::{Action, Calls, Fault},
    permissions::Permissions,
    record::RecordedCall,
    state::{Endpoints, ORGANIZATION, OTHER_TENANT_ID, OrganizationTenant, Settings, SignInAnswer},
    throttle::RateLimit,
    token::{Issuer, Refusal},
    world::{
        model::Story,
        planted::{INSTRUCTIONS as PLANTED_INSTRUCTIONS, SECRETS as PLANTED_SECRETS},
        story::{approval_id, earlier_timeline_id, timeline_id},
    },
};
use self::{
    gate::{Host, Services},
    state::Simulator,
    token::Verifier,
};
use crate::{
    control::ControlError,
    listener::{ListenError, Listener, Serving, TlsIdentity},
    people::TENANT_ID,
};

/// The issuer of the tokens that the simulator accepts, and its addresses.
#[derive(Debug, Clone)]
pub struct AzureDevOpsOptions {
    /// The issuer whose tokens are accepted.
    pub issuer: Issuer,

    /// The time.
    pub clock: Clock,

    /// The ports of the three services.
    pub ports: Ports,

    /// TLS on those ports; absent: plain HTTP, for loopback.
    pub tls: Option<TlsIdentity>,

    /// Base URLs that clients know the services by, for the links in answers; absent: their own addresses.
    pub endpoints: Option<Endpoints>,

    /// Address of the control port: plain HTTP, `GET /health` for probes.
    pub control_listen: SocketAddr,
}

/// Addresses of the three services. Port 0: any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// A port each, as the real services have a host each: a call to the wrong one is 404.
    Separate {
        /// Stands for `dev.azure.com`.
        core: SocketAddr,

        /// Stands for `vsrm.dev.azure.com`.
        release: SocketAddr,

        /// Stands for `vssps.dev.azure.com`.
        identity: SocketAddr,
    },

    /// One port for all three. The path decides which one is meant.
    Shared(SocketAddr),
}

impl AzureDevOpsOptions {
    /// Believes the tokens of the demo's tenant at `authority`; loopback, free ports, the machine's clock.
    pub fn new(authority: Url) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            issuer: Issuer {
                authority,
                tenant_id: TENANT_ID.to_owned(),
                certificate_authority: None,
            },
            clock: Clock::system(),
            ports: Ports::Separate {
                core: any,
                release: any,
                identity: any,
            },
            tls: None,
            endpoints: None,
            control_listen: any,
        }
    }
}

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port could not be opened.
    #[error("failed to open the simulator's ports")]
    Listen(#[source] ListenError),

    /// The simulator's own address is no URL.
    #[error("simulator's own address is not a URL")]
    Address(#[source] url::ParseError),

    /// No client for the control port.
    #[error("failed to make a client of the simulator's control port")]
    Control(#[source] ControlError),
}

/// A running simulator. Dropping it closes its ports.
#[derive(Debug)]
pub struct AzureDevOpsSimulator {
    endpoints: Endpoints,
    control: Control,
    _ports: Vec<Serving>,
}

impl AzureDevOpsSimulator {
    /// Opens the ports and serves.
    pub async fn start(options: AzureDevOpsOptions) -> Result<Self, StartError> {
        let tls = options.tls.as_ref();
        let listeners = match options.ports {
            Ports::Shared(address) => vec![(None, bind(address, tls).await?)],
            Ports::Separate {
                core,
                release,
                identity,
            } => vec![
                (Some(Host::Core), bind(core, tls).await?),
                (Some(Host::Release), bind(release, tls).await?),
                (Some(Host::Identity), bind(identity, tls).await?),
            ],
        };
        let control_port = bind(options.control_listen, None).await?;
        let endpoints = options.endpoints.map_or_else(|| own_endpoints(&listeners), Ok)?;
        let control = Control::new(base_url(&control_port)?).map_err(StartError::Control)?;

        let verifier = Verifier::new(options.issuer, options.clock.clone());
        let simulator = Arc::new(Simulator::new(options.clock, verifier, endpoints.clone()));
        let services = Services {
            core: routes::core(Arc::clone(&simulator)),
            release: routes::release(Arc::clone(&simulator)),
            identity: routes::identity(Arc::clone(&simulator)),
        };
        let mut ports: Vec<Serving> = listeners
            .into_iter()
            .map(|(host, listener)| listener.serve(gate::router(&simulator, host, &services)))
            .collect();
        ports.push(control_port.serve(control::router(simulator)));
        Ok(Self {
            endpoints,
            control,
            _ports: ports,
        })
    }

    /// Stands for `https://dev.azure.com`.
    pub fn core_url(&self) -> Url {
        self.endpoints.core.clone()
    }

    /// Stands for `https://vsrm.dev.azure.com`.
    pub fn release_url(&self) -> Url {
        self.endpoints.release.clone()
    }

    /// Stands for `https://vssps.dev.azure.com`.
    pub fn identity_url(&self) -> Url {
        self.endpoints.identity.clone()
    }

    /// Commands and questions.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

async fn bind(address: SocketAddr, tls: Option<&TlsIdentity>) -> Result<Listener, StartError> {
    Listener::bind(address, tls).await.map_err(StartError::Listen)
}

fn base_url(listener: &Listener) -> Result<Url, StartError> {
    Url::parse(&listener.base_url()).map_err(StartError::Address)
}

fn own_endpoints(listeners: &[(Option<Host>, Listener)]) -> Result<Endpoints, StartError> {
    let of = |host: Host| {
        let found = listeners
            .iter()
            .find(|(served, _)| served.is_none_or(|served| served == host));
        found.map_or(
            Err(StartError::Address(url::ParseError::EmptyHost)),
            |(_, listener)| base_url(listener),
        )
    };
    Ok(Endpoints {
        core: of(Host::Core)?,
        release: of(Host::Release)?,
        identity: of(Host::Identity)?,
    })
}
