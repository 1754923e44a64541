//! Conditional Access policies.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::RequestKind;

/// One Conditional Access policy of a user, or of the application for its own sign-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Which requests it is judged at.
    pub at: Vec<RequestKind>,

    /// The demand.
    pub demand: Demand,
}

/// The demand of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", deny_unknown_fields)]
pub enum Demand {
    /// A stronger login: met only by a new authorize request that carries these `claims`.
    #[serde(rename_all = "camelCase")]
    Claims {
        /// AADSTS code, 50076 usually.
        code: u32,
        /// `interaction_required`, or `invalid_grant`.
        error: String,
        /// `suberror` beside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suberror: Option<String>,
        /// The challenge, a JSON text.
        claims: String,
    },

    /// No login helps: 53003 with `message_only`.
    Block,

    /// Only tokens that are bound to a device are issued: 530084. No login of this application meets it.
    TokenProtection,

    /// The login is too old: 70043. Met by any later login.
    #[serde(rename_all = "camelCase")]
    FreshLogin {
        /// Logins before this moment do not count.
        since: jiff::Timestamp,
    },
}

impl Policy {
    /// Multi-factor authentication for Azure DevOps, asked for at On-Behalf-Of time (50076).
    pub fn multi_factor() -> Self {
        let claims = json!({"access_token": {"polids": {"essential": true,
            "values": ["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}});
        Self {
            at: vec![RequestKind::OnBehalfOf],
            demand: Demand::Claims {
                code: 50076,
                error: "interaction_required".to_owned(),
                suberror: Some("basic_action".to_owned()),
                claims: claims.to_string(),
            },
        }
    }

    /// Access blocked at On-Behalf-Of time (53003).
    pub fn blocked() -> Self {
        Self {
            at: vec![RequestKind::OnBehalfOf],
            demand: Demand::Block,
        }
    }

    /// Token protection at On-Behalf-Of time (530084).
    pub fn token_protection() -> Self {
        Self {
            at: vec![RequestKind::OnBehalfOf],
            demand: Demand::TokenProtection,
        }
    }

    /// Sign-in frequency, judged when a refresh token is used (70043).
    pub fn login_since(since: jiff::Timestamp) -> Self {
        Self {
            at: vec![RequestKind::RefreshToken],
            demand: Demand::FreshLogin { since },
        }
    }

    /// Judges the policy at these requests instead.
    #[must_use]
    pub fn at(mut self, kinds: impl Into<Vec<RequestKind>>) -> Self {
        self.at = kinds.into();
        self
    }
}
