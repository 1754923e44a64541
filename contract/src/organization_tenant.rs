//! The tenant that Azure DevOps names for an organization, in a header of its answers, to anybody.

use crate::is_guid;

/// The header that names the tenant. It may have several values, in one line or in several.
pub const ORGANIZATION_TENANT_HEADER: &str = "x-vss-resourcetenant";

/// The value of the header for an organization without a tenant.
const NO_TENANT: &str = "00000000-0000-0000-0000-000000000000";

/// The tenant of an organization, compared with that of the users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrganizationTenant {
    /// It is the tenant of the users.
    Same,

    /// It is this other tenant, in lower case.
    Other(String),

    /// It is none: the members of the organization have personal Microsoft accounts.
    NotConnected,
}

impl OrganizationTenant {
    /// Compares the tenants in the header with `ours`. If `ours` is among them, it wins. The GUID of zeros (no tenant) counts
    /// only if it is the only one. Returns `None` if the header has no tenant.
    pub fn named<'v>(values: impl IntoIterator<Item = &'v str>, ours: &str) -> Option<Self> {
        let tenants: Vec<&str> = values
            .into_iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|value| is_guid(value))
            .collect();
        if tenants.iter().any(|tenant| tenant.eq_ignore_ascii_case(ours)) {
            return Some(Self::Same);
        }
        match tenants.iter().find(|tenant| **tenant != NO_TENANT) {
            Some(other) => Some(Self::Other(other.to_ascii_lowercase())),
            None => (!tenants.is_empty()).then_some(Self::NotConnected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "aaaaaaaa-1111-4111-8111-111111111111";
    const OTHER: &str = "99999999-9999-4999-8999-999999999999";

    #[test]
    fn of_several_tenants_the_one_of_the_users_counts_and_the_empty_one_only_alone() {
        let upper = OURS.to_ascii_uppercase();
        let beside = format!("{NO_TENANT}, {OTHER}");
        let other = || Some(OrganizationTenant::Other(OTHER.to_owned()));
        for (values, expected) in [
            (vec![OURS], Some(OrganizationTenant::Same)),
            (vec![upper.as_str()], Some(OrganizationTenant::Same)),
            (vec![beside.as_str(), OURS], Some(OrganizationTenant::Same)),
            (vec![beside.as_str()], other()),
            (vec![NO_TENANT], Some(OrganizationTenant::NotConnected)),
            (vec!["contoso", ""], None),
            (vec![], None),
        ] {
            assert_eq!(
                OrganizationTenant::named(values.clone(), OURS),
                expected,
                "{values:?}"
            );
        }
        assert_eq!(
            OrganizationTenant::named([OTHER], ""),
            other(),
            "the users' tenant is not known"
        );
    }
}
