//! The revocations that an administrator declared in `spec.sessions.revocations`.
//!
//! Each login has a time: the moment at which this server redeemed the user's sign-in at Entra, by the clock of the Pod.
//! A session is revoked if its login is before the time that the file names for everyone or for its user. The rule needs
//! nothing from the session store, so that a store that is restored from a backup cannot undo a revocation.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;

use behalf_contract::{Revocations, digest};
use jiff::Timestamp;

use crate::mounted_file::{MountedContent, MountedFile, MountedFileError};

/// The file of revocations, read at start and when it changes.
pub struct RevocationsFile(MountedFile<RevocationRule>);

impl RevocationsFile {
    /// Reads the file.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, MountedFileError> {
        Ok(Self(MountedFile::load(path)?))
    }

    /// Reads the file, and uses its rule if it changed. Returns true if it changed. When the file is unusable, the rule
    /// that was loaded before stays in force.
    pub fn reload(&self) -> Result<bool, MountedFileError> {
        let Some(rule) = self.0.reload()? else {
            return Ok(false);
        };
        tracing::info!(
            revocations.before = rule.before.as_ref().map(tracing::field::display),
            revocations.users = rule.users.len(),
            "Loaded changed revocations"
        );
        Ok(true)
    }

    /// The digest of the file whose rule is in force, for the status document.
    pub(crate) fn digest(&self) -> String {
        digest::format_sha256(&self.0.digest())
    }

    /// True if the file names a time.
    pub(crate) fn revokes_any(&self) -> bool {
        let rule = self.0.content();
        rule.before.is_some() || !rule.users.is_empty()
    }

    /// True if the sessions of a login of this user (an object id) at this time are revoked.
    pub fn is_revoked(&self, user: &str, login: Timestamp) -> bool {
        self.0.content().is_revoked(user, login)
    }

    /// The earliest time at which a login of this user is not revoked.
    pub(crate) fn first_login(&self, user: &str) -> Option<Timestamp> {
        self.0.content().first_login(user)
    }
}

impl std::fmt::Debug for RevocationsFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RevocationsFile")
            .field("path", &self.0.path())
            .finish_non_exhaustive()
    }
}

impl MountedContent for RevocationRule {
    const WHAT: &'static str = "file of revocations";
    const NEXT_STEP: &'static str = "delete its Secret, and the operator writes it again";

    fn parse(bytes: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self::new(serde_json::from_slice(bytes)?))
    }
}

/// Decides whether a login is revoked. Pure.
#[derive(Debug)]
struct RevocationRule {
    before: Option<Timestamp>,
    /// By object id in lower case, as Entra writes it.
    users: HashMap<String, Timestamp>,
}

impl RevocationRule {
    fn new(revocations: Revocations) -> Self {
        let mut users = HashMap::with_capacity(revocations.users.len());
        for user in revocations.users {
            let before = users.entry(user.id.to_ascii_lowercase()).or_insert(user.before);
            *before = user.before.max(*before);
        }
        Self {
            before: revocations.before,
            users,
        }
    }

    fn is_revoked(&self, user: &str, login: Timestamp) -> bool {
        self.first_login(user).is_some_and(|first| login < first)
    }

    /// The later of the user's time and everyone's. `None` is less than any time.
    fn first_login(&self, user: &str) -> Option<Timestamp> {
        self.users
            .get(&user.to_ascii_lowercase())
            .copied()
            .max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use behalf_contract::RevokedUser;
    use rstest::rstest;

    use super::*;

    const ANA: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const BEN: &str = "bbbbbbbb-0000-4000-8000-000000000002";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn rule(before: Option<i64>, ana: &[i64]) -> RevocationRule {
        let user = |second: &i64| RevokedUser {
            id: ANA.to_owned(),
            before: at(*second),
        };
        RevocationRule::new(Revocations {
            before: before.map(at),
            users: ana.iter().map(user).collect(),
        })
    }

    #[rstest]
    #[case::nothing(None, &[], [false, false])]
    #[case::everyone(Some(100), &[], [true, true])]
    #[case::the_time_itself_counts_as_after(Some(50), &[], [false, false])]
    #[case::one_user(None, &[100], [true, false])]
    #[case::one_user_earlier_than_everyone(Some(100), &[10], [true, true])]
    #[case::one_user_later_than_everyone(Some(10), &[100], [true, false])]
    #[case::the_latest_entry_of_a_user(None, &[100, 10], [true, false])]
    fn a_login_before_the_time_for_everyone_or_its_user_is_revoked(
        #[case] before: Option<i64>,
        #[case] ana: &[i64],
        #[case] revoked: [bool; 2],
    ) {
        let rule = rule(before, ana);
        assert_eq!([ANA, BEN].map(|user| rule.is_revoked(user, at(50))), revoked);
    }

    #[test]
    fn the_spelling_of_an_object_id_does_not_matter() {
        assert!(rule(None, &[100]).is_revoked(&ANA.to_ascii_uppercase(), at(50)));
    }

    #[test]
    fn an_unusable_file_leaves_the_last_rule_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.json");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(r#"{"before": "2026-01-01T00:00:00Z", "users": []}"#);
        let file = RevocationsFile::load(&path).unwrap();
        let digest = file.digest();
        let old: Timestamp = "2025-12-31T00:00:00Z".parse().unwrap();
        for damaged in [
            "",
            "{}",
            "null",
            r#"{"users": [], "clients": []}"#,
            r#"{"users": [{"id": "a"}]}"#,
        ] {
            write(damaged);
            assert!(file.reload().is_err(), "{damaged}");
            assert!(file.is_revoked(ANA, old), "{damaged}");
            assert_eq!(file.digest(), digest, "{damaged}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(file.reload().is_err());
        assert!(file.is_revoked(ANA, old));
        write(r#"{"users": []}"#);
        assert!(file.reload().unwrap());
        assert!(!file.is_revoked(ANA, old));
        assert!(!file.reload().unwrap(), "read again without a change");
    }

    #[test]
    fn a_file_that_is_unusable_at_the_start_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revocations.json");
        assert!(matches!(
            RevocationsFile::load(&path),
            Err(MountedFileError::Unreadable { .. })
        ));
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(
            RevocationsFile::load(&path),
            Err(MountedFileError::Unusable { .. })
        ));
    }
}
