//! Decides which token the server gets, and whether in a header or as an argument (`docs/proxy.md`).

use behalf_contract::{ExchangePlace, Injection};

/// A token of the signed-in user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// The token for this application. The server exchanges it.
    User,

    /// The token for the downstream API. The sidecar obtains it.
    Downstream,
}

/// The tokens that one request carries to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// In `Authorization: Bearer`.
    pub(super) header: Option<TokenKind>,

    /// In `params.arguments.bearerToken`.
    pub(super) argument: Option<TokenKind>,
}

impl Plan {
    /// Returns the tokens for a request. Only `tools/call` gets the argument, because no other method has arguments
    /// of a tool.
    pub(super) fn of(at: ExchangePlace, injection: Injection, is_tool_call: bool) -> Self {
        let token = match at {
            ExchangePlace::Sidecar => TokenKind::Downstream,
            ExchangePlace::Server => TokenKind::User,
        };
        match (at, injection) {
            (_, Injection::None) => Self {
                header: None,
                argument: None,
            },
            (_, Injection::Header) => Self {
                header: Some(token),
                argument: None,
            },
            (ExchangePlace::Sidecar, Injection::Argument) => Self {
                header: None,
                argument: is_tool_call.then_some(token),
            },
            (ExchangePlace::Server, Injection::Argument) => Self {
                header: Some(token),
                argument: is_tool_call.then_some(token),
            },
        }
    }

    /// True if the server gets a token of the user.
    pub(super) fn sends_a_token(self) -> bool {
        self.header.is_some() || self.argument.is_some()
    }

    /// True if the sidecar must exchange the user's token.
    pub(super) fn needs_exchange(self) -> bool {
        self.header == Some(TokenKind::Downstream) || self.argument == Some(TokenKind::Downstream)
    }
}

#[cfg(test)]
mod tests {
    use behalf_contract::ExchangePlace::{Server, Sidecar};
    use behalf_contract::Injection::{Argument, Header, None as Nothing};
    use rstest::rstest;

    use super::TokenKind::{Downstream, User};
    use super::*;

    #[rstest]
    #[case(Sidecar, Header, true, Some(Downstream), None)]
    #[case(Sidecar, Header, false, Some(Downstream), None)]
    #[case(Sidecar, Argument, true, None, Some(Downstream))]
    #[case(Sidecar, Argument, false, None, None)]
    #[case(Server, Header, true, Some(User), None)]
    #[case(Server, Header, false, Some(User), None)]
    #[case(Server, Argument, true, Some(User), Some(User))]
    #[case(Server, Argument, false, Some(User), None)]
    #[case(Sidecar, Nothing, true, None, None)]
    #[case(Server, Nothing, true, None, None)]
    fn the_plan_depends_on_place_injection_and_method(
        #[case] at: ExchangePlace,
        #[case] injection: Injection,
        #[case] is_tool_call: bool,
        #[case] header: Option<TokenKind>,
        #[case] argument: Option<TokenKind>,
    ) {
        assert_eq!(Plan::of(at, injection, is_tool_call), Plan { header, argument });
    }
}
