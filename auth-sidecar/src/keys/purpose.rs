//! The purposes of sealed texts. Each purpose has its own subkey.

/// The purpose of a sealed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Access tokens of clients.
    Access,

    /// Refresh tokens of clients.
    Refresh,

    /// Authorization codes.
    Code,

    /// A validated authorization request, in the HTML form of the consent page.
    Request,

    /// An approved request, in a cookie while the user signs in at Entra.
    Flow,

    /// The CSRF token that binds the consent form to the browser that received it.
    Csrf,

    /// The approvals that a browser remembers, in a cookie.
    Consent,

    /// Ids of registered clients.
    Client,

    /// Records in the session store. The subkey is the salt from which each record's key is derived.
    Record,

    /// Requirements of Entra for a user's next login, in the session store.
    Pending,

    /// The list of one user's sessions, in the session store.
    User,

    /// The summary of a session for administrators, in the session store.
    Summary,
}

impl Purpose {
    /// Every purpose, in the order of [`Purpose::index`].
    pub const ALL: [Self; 12] = [
        Self::Access,
        Self::Refresh,
        Self::Code,
        Self::Request,
        Self::Flow,
        Self::Csrf,
        Self::Consent,
        Self::Client,
        Self::Record,
        Self::Pending,
        Self::User,
        Self::Summary,
    ];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// HKDF `info`, and part of the associated data. A text sealed under one name does not open under another,
    /// so these names never change.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Code => "code",
            Self::Request => "request",
            Self::Flow => "flow",
            Self::Csrf => "csrf",
            Self::Consent => "consent",
            Self::Client => "client",
            Self::Record => "record",
            Self::Pending => "pending",
            Self::User => "user",
            Self::Summary => "summary",
        }
    }

    /// The start of every sealed text. A person or a secret scanner recognizes the kind of text by it. The
    /// digit is the version of the form.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Access => "bha1",
            Self::Refresh => "bhr1",
            Self::Code => "bhc1",
            Self::Request => "bhq1",
            Self::Flow => "bhf1",
            Self::Csrf => "bhx1",
            Self::Consent => "bho1",
            Self::Client => "bhi1",
            Self::Record => "bhs1",
            Self::Pending => "bhp1",
            Self::User => "bhu1",
            Self::Summary => "bhm1",
        }
    }

    /// True for a text that claims to be sealed for this purpose.
    pub(crate) fn marks(self, text: &str) -> bool {
        text.strip_prefix(self.prefix())
            .is_some_and(|rest| rest.starts_with('.'))
    }

    /// Maximum length of a sealed text in bytes. Longer texts are refused before any decoding. Browsers keep
    /// cookies of at most 4096 bytes, name included. Client ids have at most 1 KiB, because URLs contain them.
    pub(crate) fn max_length(self) -> usize {
        match self {
            Self::Access | Self::Refresh | Self::Client | Self::Summary => 1024,
            Self::Code => 2048,
            Self::Request | Self::Flow | Self::Consent => 3968,
            Self::Csrf => 512,
            Self::User => 4096,
            Self::Record | Self::Pending => 64 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_purposes_share_a_name_or_a_prefix() {
        let names: HashSet<_> = Purpose::ALL.iter().map(|purpose| purpose.name()).collect();
        let prefixes: HashSet<_> = Purpose::ALL.iter().map(|purpose| purpose.prefix()).collect();
        assert_eq!(
            (names.len(), prefixes.len()),
            (Purpose::ALL.len(), Purpose::ALL.len())
        );
    }

    #[test]
    fn the_index_of_a_purpose_is_its_position_in_the_list() {
        for (place, purpose) in Purpose::ALL.iter().enumerate() {
            assert_eq!(purpose.index(), place);
        }
    }
}
