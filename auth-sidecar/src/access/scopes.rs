//! The scopes of an access token.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The scopes of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// `mcp:read`: tools that only read.
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    pub read: bool,

    /// `mcp:run`: every tool. Implies `read`.
    #[serde(rename = "w", default, skip_serializing_if = "is_false")]
    pub run: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A `scope` parameter that violates RFC 6749, section 3.3, or names only scopes of other servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this server has none of the requested scopes; request mcp:read or mcp:run")]
pub struct UnknownScopes;

impl Scopes {
    /// The name of the scope for [`Scopes::read`].
    pub const READ_NAME: &'static str = "mcp:read";

    /// The name of the scope for [`Scopes::run`].
    pub const RUN_NAME: &'static str = "mcp:run";

    /// Clients may request it. It has no effect, because every login gets a refresh token.
    pub const OFFLINE_ACCESS: &'static str = "offline_access";

    /// Only `mcp:read`.
    pub const READ: Self = Self {
        read: true,
        run: false,
    };

    /// `mcp:read` and `mcp:run`.
    pub const ALL: Self = Self {
        read: true,
        run: true,
    };

    /// Reads a `scope` parameter. Returns `None` when it names no scope of this server and is empty or contains
    /// `offline_access`. Names of other servers are ignored beside ours or `offline_access`, as RFC 6749,
    /// section 3.3, allows. Names of other servers alone are refused, because the client is at the wrong address.
    pub fn parse(text: &str) -> Result<Option<Self>, UnknownScopes> {
        let mut scopes = Self::default();
        let mut foreign = false;
        let mut offline = false;
        for name in text.split(' ').filter(|name| !name.is_empty()) {
            match name {
                Self::READ_NAME => scopes.read = true,
                Self::RUN_NAME => scopes = Self::ALL,
                Self::OFFLINE_ACCESS => offline = true,
                other if other.bytes().all(is_scope_character) => foreign = true,
                _ => return Err(UnknownScopes),
            }
        }
        if scopes.read {
            Ok(Some(scopes))
        } else if foreign && !offline {
            Err(UnknownScopes)
        } else {
            Ok(None)
        }
    }

    /// True when this contains every scope of `other`.
    pub fn contains(self, other: Self) -> bool {
        (self.read || !other.read) && (self.run || !other.run)
    }

    /// Returns the scopes that both contain.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self {
            read: self.read && other.read,
            run: self.run && other.run,
        }
    }

    /// Returns the names of the scopes, the narrowest first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let read = self.read.then_some(Self::READ_NAME);
        let run = self.run.then_some(Self::RUN_NAME);
        read.into_iter().chain(run)
    }
}

/// True for `%x21 / %x23-5B / %x5D-7E`, the characters of a scope (RFC 6749, section 3.3).
fn is_scope_character(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

/// Writes the names, separated by spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            formatter.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", None)]
    #[case::offline_access_asks_for_nothing("offline_access", None)]
    #[case::offline_access_of_openid("openid offline_access", None)]
    #[case::run_implies_read("mcp:run", Some("mcp:read mcp:run"))]
    #[case::names_of_others_are_left_out("openid mcp:read claudeai", Some("mcp:read"))]
    #[case::order_and_spaces_do_not_count("  mcp:run   mcp:read ", Some("mcp:read mcp:run"))]
    fn reads_a_scope_parameter(#[case] text: &str, #[case] expected: Option<&str>) {
        let scopes = Scopes::parse(text).unwrap();
        assert_eq!(scopes.map(|scopes| scopes.to_string()).as_deref(), expected);
    }

    #[rstest]
    #[case::of_another_server("openid profile")]
    #[case::wild("*")]
    #[case::quotes("mcp:read \"")]
    #[case::line_break("mcp:read\n")]
    fn refuses_a_parameter_without_a_scope_of_this_server(#[case] text: &str) {
        assert_eq!(Scopes::parse(text), Err(UnknownScopes));
    }

    #[test]
    fn narrower_scopes_do_not_contain_wider_ones() {
        assert!(Scopes::ALL.contains(Scopes::READ));
        assert!(!Scopes::READ.contains(Scopes::ALL));
        assert_eq!(Scopes::ALL.intersection(Scopes::READ), Scopes::READ);
    }
}
