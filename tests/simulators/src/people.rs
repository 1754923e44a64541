//! The tenant, the application and the users that both simulators know.
//!
//! Everything here is invented. The Entra simulator signs these people in, the Azure DevOps simulator
//! recognises them by [`Person::object_id`] alone, as the real services do.

/// The tenant of the demo, home of every person below.
pub const TENANT_ID: &str = "c0ffee00-7e4a-4000-8000-00000000c0de";

/// Another tenant: a token from there is authentic and still foreign to the organisation.
pub const FOREIGN_TENANT_ID: &str = "badc0de0-7e4a-4000-8000-00000000f00d";

/// Behalf's application registration in the demo: OAuth client and API in one.
pub const CLIENT_ID: &str = "be4a1f00-c11e-4000-8000-00000000a001";

/// Object id of that application's service principal: the `oid` of its app-only tokens.
pub const SERVICE_PRINCIPAL_OBJECT_ID: &str = "be4a1f00-c11e-4000-8000-00000000a002";

/// Application id of Azure DevOps: `aud` of the tokens it accepts (entra.md, section 1).
pub const AZURE_DEVOPS_APPLICATION_ID: &str = "499b84ac-1321-427f-aa17-267ca6975798";

/// The audience of Azure DevOps in its URI form.
pub const AZURE_DEVOPS_APPLICATION_URI: &str = "https://app.vssps.visualstudio.com";

/// Application id of Azure Cache for Redis and Azure Managed Redis: `aud` of the tokens that they accept as password.
pub const REDIS_APPLICATION_ID: &str = "acca5fbb-b7e4-4009-81f1-37e38fd66d78";

/// The audience of Redis in its URI form.
pub const REDIS_APPLICATION_URI: &str = "https://redis.azure.com";

/// A user of the demo tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person {
    /// `oid`: with the tenant the only key of a user.
    pub object_id: &'static str,

    /// `preferred_username`, and what the person types at the sign-in page.
    pub user_name: &'static str,

    /// `name`.
    pub display_name: &'static str,
}

/// Sees the project `shop`, may queue builds.
pub const ANA: Person = Person {
    object_id: "11111111-aaaa-4000-8000-000000000001",
    user_name: "ana@contoso.example",
    display_name: "Ana Contoso",
};

/// Sees `shop` and `payments`, may queue builds and set variables at queue time.
pub const BEN: Person = Person {
    object_id: "22222222-bbbb-4000-8000-000000000002",
    user_name: "ben@contoso.example",
    display_name: "Ben Contoso",
};

/// Signs in as well as the others, but may only read `shop`.
pub const CAROL: Person = Person {
    object_id: "33333333-cccc-4000-8000-000000000003",
    user_name: "carol@contoso.example",
    display_name: "Carol Contoso",
};

/// Everybody, in the order a sign-in page lists them.
pub const EVERYBODY: [Person; 3] = [ANA, BEN, CAROL];

/// The person with this `oid`.
pub fn by_object_id(object_id: &str) -> Option<Person> {
    EVERYBODY.into_iter().find(|person| person.object_id == object_id)
}
