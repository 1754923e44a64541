//! Meanings of AADSTS numbers. This is the only file whose code contains such numbers.
//!
//! Microsoft may change numbers and texts and advises against branching on them. Control flow therefore
//! follows `error`, `suberror` and the presence of `claims`; a number chooses the reason and the hint. Beyond
//! that, a known number can turn "sign in again" or "our bug" into "signing in does not help, an administrator
//! must act", or allow one more try. It never turns a failure into a login or a success. If a number is unknown
//! or gets another meaning, the cost is a useless login.

use crate::reason::{FederationReason, SignInReason};

/// The meaning of an AADSTS number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Concerns the application and its federation; no user can fix it.
    Federation(FederationReason),

    /// Concerns a user's sign-in.
    SignIn(SignInReason),

    /// A temporary failure of Entra. The same request may succeed later.
    Transient,

    /// The request was wrong: a defect of this project.
    OurBug,
}

/// Returns the meaning of an AADSTS number. `None` for a number that the table does not contain.
pub(crate) fn meaning(code: u32) -> Option<Meaning> {
    use FederationReason as Federation;
    use SignInReason as SignIn;

    Some(match code {
        // Client authentication
        700_211 => Meaning::Federation(Federation::FicIssuerMismatch),
        700_212 => Meaning::Federation(Federation::FicAudienceMismatch),
        700_213 => Meaning::Federation(Federation::FicSubjectMismatch),
        7_002_137 | 7_002_138 => Meaning::Federation(Federation::FicCaseMismatch),
        70_021 | 70_025 => Meaning::Federation(Federation::FicNotFound),
        700_231 => Meaning::Federation(Federation::ChainedFederation),
        700_222 | 700_229 => Meaning::Federation(Federation::WrongAssertion),
        700_024 => Meaning::Federation(Federation::FederatedTokenExpired),
        700_027 | 50_012 => Meaning::Federation(Federation::FederatedTokenSignature),
        90_061 | 50_166 | 501_661 => Meaning::Federation(Federation::IssuerUnreachable),
        700_016 | 700_011 => Meaning::Federation(Federation::AppNotFound),
        70_001 | 7_000_112 => Meaning::Federation(Federation::AppDisabled),
        90_002 | 90_038 => Meaning::Federation(Federation::TenantNotFound),
        700_025 => Meaning::Federation(Federation::PublicClient),
        500_011 => Meaning::Federation(Federation::ResourceNotFound),
        501_051 => Meaning::Federation(Federation::AppNotAssigned),

        // Consent, assignment, permissions
        65_001 => Meaning::SignIn(SignIn::ConsentRequired),
        90_094 | 90_095 => Meaning::SignIn(SignIn::AdminConsentRequired),
        65_004 => Meaning::SignIn(SignIn::ConsentDeclined),
        90_008 | 90_009 | 240_002 | 500_131 => Meaning::SignIn(SignIn::AppMisconfigured),
        650_057 | 650_056 | 65_005 | 650_052 => Meaning::SignIn(SignIn::PermissionMissing),
        50_105 => Meaning::SignIn(SignIn::UserNotAssigned),
        7_000_114 | 7_000_113 => Meaning::SignIn(SignIn::UsersOnly),
        50_020 | 50_034 | 50_057 | 90_072 | 500_212 | 500_213 => Meaning::SignIn(SignIn::UserNotAllowed),

        // Conditional Access
        50_076 | 50_079 | 50_072 | 50_074 | 50_078 | 50_158 => Meaning::SignIn(SignIn::StepUpRequired),
        50_097 | 53_000 | 53_001 | 53_002 | 50_131 => Meaning::SignIn(SignIn::DeviceCondition),
        53_003 | 530_032 | 530_035 | 53_011 => Meaning::SignIn(SignIn::PolicyBlocked),
        530_084 => Meaning::SignIn(SignIn::TokenProtection),
        70_043 => Meaning::SignIn(SignIn::SignInFrequency),

        // Codes, assertions, refresh tokens
        500_133 | 50_013 => Meaning::SignIn(SignIn::UserTokenStale),
        54_005 | 501_481 | 700_005 => Meaning::SignIn(SignIn::CodeUnusable),
        70_008 | 700_082 | 700_084 | 50_173 | 50_089 => Meaning::SignIn(SignIn::SessionEnded),
        70_000 | 9_002_313 => Meaning::SignIn(SignIn::GrantMalformed),
        50_196 => Meaning::SignIn(SignIn::LoopDetected),

        // A client secret, `resource`, a wrong scope, a missing parameter
        7_000_215 | 7_000_218 | 7_000_222 | 9_010_010 | 901_002 | 700_022 | 70_011 | 28_002 | 28_003
        | 900_144 => Meaning::OurBug,

        // Transient
        50_033 | 90_006 | 90_012 | 90_024 | 90_033 | 90_055 | 90_090 => Meaning::Transient,

        _ => return None,
    })
}

/// Returns the numbers after `AADSTS` in a description, for answers without `error_codes`.
pub(crate) fn numbers_in(description: &str) -> Vec<u32> {
    description
        .split("AADSTS")
        .skip(1)
        .filter_map(|rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest.get(..digits)?.parse().ok()
        })
        .take(4)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_numbers_of_a_description() {
        assert_eq!(numbers_in("AADSTS65001: The user has not consented"), [65_001]);
        assert_eq!(numbers_in("see AADSTS700211 and AADSTS70021."), [700_211, 70_021]);
        assert!(numbers_in("AADSTS: none, AADSTS99999999999: too long").is_empty());
        assert!(numbers_in("").is_empty());
    }

    #[test]
    fn an_unlisted_number_has_no_meaning() {
        assert_eq!(meaning(1), None);
        assert_eq!(meaning(0), None);
    }
}
