use std::fmt;

use serde::{Deserialize, Serialize};

/// What a client may do with a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// `mcp:read`: read-only tools.
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    pub read: bool,

    /// `mcp:run`: tools that change something. Implies `read`.
    #[serde(rename = "w", default, skip_serializing_if = "is_false")]
    pub run: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A `scope` parameter that names nothing of this server, or is none (RFC 6749, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the scopes exists here; ask for mcp:read or mcp:run")]
pub struct UnknownScopes;

impl Scopes {
    /// The name of [`Scopes::read`].
    pub const READ: &'static str = "mcp:read";

    /// The name of [`Scopes::run`].
    pub const RUN: &'static str = "mcp:run";

    /// Accepted from clients and without meaning: every login gets a refresh token.
    pub const OFFLINE_ACCESS: &'static str = "offline_access";

    /// What every login grants for now.
    pub const ALL: Self = Self {
        read: true,
        run: true,
    };

    /// Reads a `scope` parameter. Names of other servers beside ours are left out, as RFC 6749, section
    /// 3.3, allows; a list without a single name of ours is refused, because the client is at the wrong
    /// address. Nothing at all means the least.
    pub fn parse(text: &str) -> Result<Self, UnknownScopes> {
        let mut scopes = Self::default();
        let mut offline = false;
        let mut named = false;
        for name in text.split(' ').filter(|name| !name.is_empty()) {
            named = true;
            match name {
                Self::READ => scopes.read = true,
                Self::RUN => scopes = Self::ALL,
                Self::OFFLINE_ACCESS => offline = true,
                other if other.bytes().all(is_scope_character) => {}
                _ => return Err(UnknownScopes),
            }
        }
        if scopes.read {
            Ok(scopes)
        } else if offline || !named {
            Ok(Self {
                read: true,
                run: false,
            })
        } else {
            Err(UnknownScopes)
        }
    }

    /// True when `other` asks for nothing beyond this.
    pub fn contain(self, other: Self) -> bool {
        (self.read || !other.read) && (self.run || !other.run)
    }
}

/// `%x21 / %x23-5B / %x5D-7E`
fn is_scope_character(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

/// The names with spaces between.
impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.read, self.run) {
            (true, true) => write!(formatter, "{} {}", Self::READ, Self::RUN),
            (true, false) => formatter.write_str(Self::READ),
            (false, true) => formatter.write_str(Self::RUN),
            (false, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::least_by_default("", "mcp:read")]
    #[case::offline_access_means_nothing("offline_access", "mcp:read")]
    #[case::run_implies_read("mcp:run", "mcp:read mcp:run")]
    #[case::names_of_others_are_left_out("openid mcp:read claudeai", "mcp:read")]
    #[case::order_and_spaces_do_not_count("  mcp:run   mcp:read ", "mcp:read mcp:run")]
    fn reads_a_scope_parameter(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Scopes::parse(text).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case::of_another_server("openid profile")]
    #[case::wild("*")]
    #[case::quotes("mcp:read \"")]
    #[case::line_break("mcp:read\n")]
    fn refuses_what_names_nothing_here(#[case] text: &str) {
        assert_eq!(Scopes::parse(text), Err(UnknownScopes));
    }

    #[test]
    fn more_than_granted_is_not_contained() {
        let read = Scopes {
            read: true,
            run: false,
        };
        assert!(Scopes::ALL.contain(read));
        assert!(!read.contain(Scopes::ALL));
    }
}
