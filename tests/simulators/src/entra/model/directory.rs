//! The tenant: applications, people, consents, settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Application, IssuerAccess, Policy};
use crate::people::{self, AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID, SERVICE_PRINCIPAL_OBJECT_ID};

/// A user who may not use the application: assignment is required and she has none (50105).
pub const DORA: people::Person = people::Person {
    object_id: "44444444-dddd-4000-8000-000000000004",
    user_name: "dora@contoso.example",
    display_name: "Dora Contoso",
};

/// A user whose account is disabled (50057).
pub const EMIL: people::Person = people::Person {
    object_id: "55555555-eeee-4000-8000-000000000005",
    user_name: "emil@contoso.example",
    display_name: "Emil Contoso",
};

/// Everything that an administrator of the tenant would have set up, and what the test adds to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Directory {
    /// App registrations with their service principals.
    pub applications: Vec<Application>,

    /// The users who may try to sign in.
    pub users: Vec<User>,

    /// The consents of users to applications.
    pub consents: Vec<Consent>,

    /// Conditional Access, by user name or, for the application itself, by client id.
    pub policies: BTreeMap<String, Vec<Policy>>,

    /// Whether the tenant has Azure DevOps' service principal; without it 500011.
    pub azure_devops_principal: bool,

    /// Access to the issuers that federated credentials name.
    pub issuers: Vec<IssuerAccess>,

    /// Lifetimes, clock and delays.
    pub settings: Settings,
}

impl Default for Directory {
    fn default() -> Self {
        Self::contoso()
    }
}

impl Directory {
    /// The demo tenant: one application with admin consent and required assignment, but without redirect
    /// URI and federated credential; Ana, Ben and Carol may use it, Dora is not assigned, Emil is disabled.
    pub fn contoso() -> Self {
        let application = Application::new(CLIENT_ID, "Behalf", SERVICE_PRINCIPAL_OBJECT_ID);
        let person = |person: people::Person, assigned: bool| User {
            name: person.user_name.to_owned(),
            object_id: person.object_id.to_owned(),
            display_name: person.display_name.to_owned(),
            enabled: true,
            assigned_to: assigned.then(|| CLIENT_ID.to_owned()).into_iter().collect(),
            roles: BTreeMap::new(),
        };
        let mut users: Vec<User> = people::EVERYBODY
            .into_iter()
            .map(|one| person(one, true))
            .collect();
        users.push(person(DORA, false));
        users.push(User {
            enabled: false,
            ..person(EMIL, true)
        });
        Self {
            applications: vec![application],
            users,
            consents: vec![
                Consent::by_administrator(CLIENT_ID, CLIENT_ID),
                Consent::by_administrator(CLIENT_ID, AZURE_DEVOPS_APPLICATION_ID),
            ],
            policies: BTreeMap::new(),
            azure_devops_principal: true,
            issuers: Vec::new(),
            settings: Settings::default(),
        }
    }

    /// The registration with this client id.
    pub fn application(&self, client_id: &str) -> Option<&Application> {
        self.applications
            .iter()
            .find(|one| one.client_id.eq_ignore_ascii_case(client_id))
    }

    /// The registration with this client id, to be changed before the simulator starts.
    pub fn application_mut(&mut self, client_id: &str) -> Option<&mut Application> {
        self.applications
            .iter_mut()
            .find(|one| one.client_id.eq_ignore_ascii_case(client_id))
    }

    /// The user with this name; `ana` is enough for `ana@contoso.example`.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|one| one.answers_to(name))
    }

    /// The user with this object id.
    pub fn user_by_object_id(&self, object_id: &str) -> Option<&User> {
        self.users.iter().find(|one| one.object_id == object_id)
    }
}

/// A person of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The name that the user types. Case does not matter, and the part before `@` is enough.
    pub name: String,

    /// `oid`.
    pub object_id: String,

    /// `name`.
    pub display_name: String,

    /// False: 50057.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// Client ids of the applications this user is assigned to.
    #[serde(default)]
    pub assigned_to: Vec<String>,

    /// App roles by client id.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Whether `name` means this user.
    pub fn answers_to(&self, name: &str) -> bool {
        let short = self.name.split('@').next().unwrap_or_default();
        self.name.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name)
    }

    /// Whether this user may use the application when assignment is required.
    pub fn is_assigned_to(&self, client_id: &str) -> bool {
        self.assigned_to
            .iter()
            .any(|one| one.eq_ignore_ascii_case(client_id))
    }
}

/// Consent of an application to all it declares of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consent {
    /// The application that was consented to.
    pub client_id: String,

    /// Application id of the resource: the application itself, or Azure DevOps.
    pub resource: String,

    /// Object id of the user who consented; absent: an administrator, for all users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl Consent {
    /// Admin consent.
    pub fn by_administrator(client_id: &str, resource: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            resource: resource.to_owned(),
            user: None,
        }
    }
}

/// Lifetimes, clock and delays. Seconds throughout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Life of access tokens for the application itself; absent: random 3600 to 5400, or 24 h with `cp1`.
    pub application_token_seconds: Option<u64>,

    /// Life of access tokens for Azure DevOps; absent: as above.
    pub azure_devops_token_seconds: Option<u64>,

    /// Life of access tokens for Redis; absent: as above.
    pub redis_token_seconds: Option<u64>,

    /// Life of an authorization code.
    pub authorization_code_seconds: u64,

    /// Seconds after which an unused refresh token expires (700082).
    pub refresh_token_idle_seconds: u64,

    /// Propagation time of a new federated credential. During it, the simulator refuses the first and then
    /// every second request that presents the credential, as if the credential did not exist.
    pub federation_propagation_seconds: u64,

    /// Added to the machine's clock.
    pub clock_offset_seconds: i64,

    /// Whether a browser that signed in once skips the sign-in page; `prompt=none` works either way.
    pub single_sign_on: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            application_token_seconds: None,
            azure_devops_token_seconds: None,
            redis_token_seconds: None,
            authorization_code_seconds: 600,
            refresh_token_idle_seconds: 90 * 24 * 3600,
            federation_propagation_seconds: 0,
            clock_offset_seconds: 0,
            single_sign_on: false,
        }
    }
}

fn yes() -> bool {
    true
}
