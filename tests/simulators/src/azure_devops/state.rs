//! The one state that the three listeners and the control port share.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    clock::Clock,
    fault::Faults,
    permissions::{self, Permissions},
    record::Record,
    throttle::{RateLimit, Usage},
    token::Verifier,
    world::World,
};

/// The organization that exists. Any other is 404.
pub const ORGANIZATION: &str = "contoso";

/// The answer to a refused token, on GET and POST.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SignInAnswer {
    /// 203 and the sign-in page as `text/html`.
    #[default]
    Page,

    /// 302 to the sign-in page.
    Redirect,
}

/// The tenant that the tenant probe names. It changes nothing else: tokens of the authority's tenant stay good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OrganizationTenant {
    /// The authority's tenant.
    #[default]
    Own,

    /// Another tenant ([`OTHER_TENANT_ID`]).
    Other,

    /// None: the organization's members have personal Microsoft accounts. The header is then the GUID of zeros, as
    /// `AzureDevOpsRestApi` of Git Credential Manager reads it.
    None,
}

/// The tenant of [`OrganizationTenant::Other`].
pub const OTHER_TENANT_ID: &str = "0ff1ce00-7e4a-4000-8000-00000000c0de";

/// Settings for behaviour that differs between organizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// The answer to a refused token, on GET and POST.
    pub sign_in_answer: SignInAnswer,

    /// A UTF-8 byte order mark leads every JSON body.
    pub byte_order_mark: bool,

    /// Number of the first line of a log: 0 or 1. The real one is not documented.
    pub first_log_line: u64,

    /// Whether `endLine` itself is part of the range. Not documented either.
    pub end_line_inclusive: bool,

    /// Limit of each user.
    pub rate_limit: RateLimit,

    /// The tenant that the tenant probe names.
    pub organization_tenant: OrganizationTenant,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sign_in_answer: SignInAnswer::Page,
            byte_order_mark: false,
            first_log_line: 0,
            end_line_inclusive: true,
            rate_limit: RateLimit::default(),
            organization_tenant: OrganizationTenant::Own,
        }
    }
}

/// Base URLs of the three services, as clients reach them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Stands for `https://dev.azure.com`.
    pub core: Url,

    /// Stands for `https://vsrm.dev.azure.com`.
    pub release: Url,

    /// Stands for `https://vssps.dev.azure.com`.
    pub identity: Url,
}

/// The state that requests change.
#[derive(Debug)]
pub(super) struct State {
    pub(super) world: World,
    pub(super) permissions: BTreeMap<String, Permissions>,
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    pub(super) usage: Usage,
    pub(super) record: Record,
}

/// The simulator behind its listeners.
#[derive(Debug)]
pub(super) struct Simulator {
    pub(super) clock: Clock,
    pub(super) verifier: Verifier,
    pub(super) endpoints: Endpoints,
    state: Mutex<State>,
}

impl Simulator {
    pub(super) fn new(clock: Clock, verifier: Verifier, endpoints: Endpoints) -> Self {
        let state = State {
            world: World::demo(clock.now()),
            permissions: permissions::of_the_demo(),
            settings: Settings::default(),
            faults: Faults::default(),
            usage: Usage::default(),
            record: Record::default(),
        };
        Self {
            clock,
            verifier,
            endpoints,
            state: Mutex::new(state),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Back to the demo's beginning. The list of received tokens stays: it must be whole for a leak test.
    pub(super) fn reset(&self) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.world = World::demo(now);
        state.permissions = permissions::of_the_demo();
        state.settings = Settings::default();
        state.faults.clear();
        state.usage.clear();
        state.record.clear_calls();
    }

    /// An address below the core service, for the links that answers carry.
    pub(super) fn core_link(&self, path: &str) -> String {
        format!(
            "{}/{ORGANIZATION}{path}",
            self.endpoints.core.as_str().trim_end_matches('/')
        )
    }

    /// An address below the release service, for the links that answers carry.
    pub(super) fn release_link(&self, path: &str) -> String {
        format!(
            "{}/{ORGANIZATION}{path}",
            self.endpoints.release.as_str().trim_end_matches('/')
        )
    }
}
