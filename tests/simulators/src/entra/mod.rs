//! The Entra simulator: one tenant that checks what Entra checks, and refuses with Entra's errors.
//!
//! [`EntraSimulator::start`] serves it on loopback inside a test; the binary `behalf-simulator entra`
//! serves the same code in a Pod. Tests script it and read its records through [`Control`]. What it does
//! not model is written down in `docs/simulators.md`.

mod assertion;
mod authorize;
mod clock;
mod control;
mod control_server;
mod endpoints;
mod failure;
mod faults;
mod fixture;
mod forge;
mod form;
mod grants;
mod issuers;
mod jwt;
mod keys;
mod metadata;
mod model;
mod pages;
mod policies;
mod random;
mod report;
mod scopes;
mod state;
mod token;
mod token_request;
mod tokens;
mod trace;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use url::Url;

pub use self::control::Control;
use self::endpoints::Endpoints;
pub use self::fixture::{IssuerFixture, ServiceAccountToken};
pub use self::forge::forge;
pub use self::keys::KeyError;
pub use self::model::{
    Application, Consent, DORA, Demand, Directory, EMIL, Effect, FEDERATED_AUDIENCE, Fault,
    FederatedCredential, IssuerAccess, Policy, RequestKind, Settings, User,
};
pub use self::pages::ERROR_META;
pub use self::report::{
    AssertionNames, MintRequest, Minted, Outcome, RequestRecord, SecretKind, SecretValue,
};
use self::state::World;
use crate::control::ControlError;
use crate::listener::{ListenError, Listener, Serving, TlsIdentity};
use crate::people::TENANT_ID;

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port could not be opened.
    #[error("failed to open the simulator's ports")]
    Listen(#[source] ListenError),

    /// No signing key.
    #[error("failed to make the simulator's signing key")]
    Key(#[source] KeyError),

    /// The simulator's own address is no URL.
    #[error("simulator's own address is not a URL")]
    Address(#[source] url::ParseError),

    /// No client for the control port.
    #[error("failed to make a client of the simulator's control port")]
    Control(#[source] ControlError),
}

/// The simulator's addresses, names and initial directory.
#[derive(Debug, Clone)]
pub struct EntraSimulatorOptions {
    /// The one tenant it plays.
    pub tenant_id: String,

    /// The initial directory. A reset restores it.
    pub directory: Directory,

    /// Address of Entra's endpoints. Port 0: any free one.
    pub listen: SocketAddr,

    /// TLS on that port; absent: plain HTTP, for loopback.
    pub tls: Option<TlsIdentity>,

    /// Scheme, host and port that clients know that port by; absent: its own address.
    pub public_base: Option<Url>,

    /// A second, plain HTTP port with the browser's pages alone.
    pub browser_listen: Option<SocketAddr>,

    /// Scheme, host and port a browser reaches the pages by: discovery's `authorization_endpoint` starts
    /// with it. Absent: `public_base`.
    pub browser_base: Option<Url>,

    /// Address of the control port.
    pub control_listen: SocketAddr,
}

impl Default for EntraSimulatorOptions {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            tenant_id: TENANT_ID.to_owned(),
            directory: Directory::contoso(),
            listen: any,
            tls: None,
            public_base: None,
            browser_listen: None,
            browser_base: None,
            control_listen: any,
        }
    }
}

/// A running simulator. Dropping it closes its ports.
#[derive(Debug)]
pub struct EntraSimulator {
    authority: Url,
    tenant_id: String,
    control: Control,
    entra: Serving,
    _browser_port: Option<Serving>,
    _control_port: Serving,
}

impl EntraSimulator {
    /// Opens the ports and serves.
    pub async fn start(options: EntraSimulatorOptions) -> Result<Self, StartError> {
        let listen = StartError::Listen;
        let entra = Listener::bind(options.listen, options.tls.as_ref())
            .await
            .map_err(listen)?;
        let browser = match options.browser_listen {
            Some(address) => Some(Listener::bind(address, None).await.map_err(listen)?),
            None => None,
        };
        let control_port = Listener::bind(options.control_listen, None)
            .await
            .map_err(listen)?;
        let authority = match options.public_base {
            Some(base) => base,
            None => Url::parse(&entra.base_url()).map_err(StartError::Address)?,
        };
        let browser_base = options.browser_base.as_ref().unwrap_or(&authority);
        let trim = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        let endpoints = Endpoints {
            tenant_id: options.tenant_id.clone(),
            public_base: trim(&authority),
            browser_base: trim(browser_base),
        };
        let world = Arc::new(World::new(endpoints, options.directory).map_err(StartError::Key)?);
        let control_base = Url::parse(&control_port.base_url()).map_err(StartError::Address)?;
        Ok(Self {
            authority,
            tenant_id: options.tenant_id,
            control: Control::new(control_base).map_err(StartError::Control)?,
            entra: entra.serve(public_router().with_state(Arc::clone(&world))),
            _browser_port: browser
                .map(|listener| listener.serve(browser_router().with_state(Arc::clone(&world)))),
            _control_port: control_port.serve(control_server::router(world)),
        })
    }

    /// The authority, in production `https://login.microsoftonline.com`.
    pub fn authority(&self) -> Url {
        self.authority.clone()
    }

    /// The tenant.
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// `iss` of the tokens.
    pub fn issuer(&self) -> String {
        format!(
            "{}/{}/v2.0",
            self.authority.as_str().trim_end_matches('/'),
            self.tenant_id
        )
    }

    /// Commands and questions.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The address Entra's port listens on.
    pub fn address(&self) -> SocketAddr {
        self.entra.address()
    }
}

fn browser_router() -> Router<Arc<World>> {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/authorize", get(authorize::authorize))
        .route("/{tenant}/login", post(authorize::login))
        .route("/{tenant}/consent", post(authorize::consent))
}

fn public_router() -> Router<Arc<World>> {
    browser_router()
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(metadata::discovery),
        )
        .route("/{tenant}/discovery/v2.0/keys", get(metadata::keys))
        .route("/{tenant}/oauth2/v2.0/token", post(token::token))
}
