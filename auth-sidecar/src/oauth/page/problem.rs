//! Pages that explain an error and what the user can do.

use std::fmt;

use askama::Template;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::{Frame, respond};
use crate::clients::ClientError;
use crate::oauth::login::PageError;
use crate::services::Services;

/// Why a user sees a page instead of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::oauth) enum Problem {
    /// The query of `/authorize` is longer than any client needs.
    RequestTooLong,

    /// The request has no usable client id or redirect URI, so the server cannot answer the client.
    RequestIncomplete,

    /// This server did not issue the client id.
    UnknownClient,

    /// The administrator does not allow the client.
    RefusedClient,

    /// The metadata document of the client cannot be used.
    UnusableDocument,

    /// Too many metadata documents were fetched for this address, or for all addresses.
    TooManyDocuments,

    /// The redirect URI is not one of the client's.
    ForeignRedirectUri,

    /// The consent form came more than ten minutes after its page.
    ConsentExpired,

    /// The consent form came from another site or browser, or the browser sent no cookie.
    ForeignConsent,

    /// The body is not a consent form, or did not arrive.
    ConsentUnreadable(StatusCode),

    /// Entra sent the browser back more than ten minutes after the approval.
    FlowExpired,

    /// Entra's answer belongs to no sign-in of this browser.
    ForeignCallback,

    /// Callbacks of this address, or of all addresses, asked Entra too often.
    TooManySignIns,

    /// Keys, sessions or memory are temporarily unavailable.
    Busy,

    /// The server could not build an answer.
    Defect,
}

impl Problem {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::RequestTooLong => StatusCode::URI_TOO_LONG,
            Self::ForeignConsent | Self::RefusedClient => StatusCode::FORBIDDEN,
            Self::ConsentUnreadable(status) => status,
            Self::TooManySignIns | Self::TooManyDocuments => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Defect => StatusCode::SERVICE_UNAVAILABLE,
            Self::RequestIncomplete
            | Self::UnknownClient
            | Self::UnusableDocument
            | Self::ForeignRedirectUri
            | Self::ConsentExpired
            | Self::FlowExpired
            | Self::ForeignCallback => StatusCode::BAD_REQUEST,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::RequestTooLong => "This sign-in request is too long",
            Self::RequestIncomplete => "This sign-in request is incomplete",
            Self::UnknownClient => "The application is not registered with this server",
            Self::RefusedClient => "This server does not allow the application",
            Self::UnusableDocument => "The description of the application cannot be read",
            Self::TooManyDocuments => "Too many sign-ins of new applications at the moment",
            Self::ForeignRedirectUri => "The application did not register this address",
            Self::ConsentExpired => "This sign-in took longer than ten minutes",
            Self::FlowExpired => "The sign-in at Microsoft Entra took longer than ten minutes",
            Self::ForeignConsent => "This answer does not belong to this browser",
            Self::ConsentUnreadable(_) => "This answer cannot be read",
            Self::ForeignCallback => "This sign-in was not started in this browser",
            Self::TooManySignIns => "Too many sign-ins at the moment",
            Self::Busy => "This server is busy",
            Self::Defect => "This server could not build its answer",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::RequestTooLong => {
                "The application sent more than a sign-in needs. Nothing was changed. Report it to the application's \
                 author."
            }
            Self::RequestIncomplete => {
                "Start the sign-in again in your application. If this page comes back, report it to the application's \
                 author."
            }
            Self::UnknownClient => {
                "Remove this server from your MCP client and add it again. (VS Code: run \u{201c}Authentication: Remove \
                 Dynamic Authentication Providers\u{201d}. Claude: Settings > Connectors.)"
            }
            Self::RefusedClient => {
                "The administrator of this server has not allowed it. Nothing was changed. If you need the application, \
                 tell the administrator the reference."
            }
            Self::UnusableDocument => {
                "The application names a page that describes it, and this server cannot use that page. Nothing was \
                 changed. Start the sign-in again in your application. If this page comes back, tell the administrator \
                 of this server the reference: the server may not be able to reach the page."
            }
            Self::TooManyDocuments => {
                "More sign-ins of applications that this server must look up came from your network, or from all \
                 networks together, than it allows. Nothing was changed. Reload this page in a minute."
            }
            Self::ForeignRedirectUri => {
                "The application asked for the answer at an address that it did not register. Nothing was sent there. \
                 If you did not start this sign-in, close this page. If you did, remove this server from your MCP client \
                 and add it again."
            }
            Self::ConsentExpired => {
                "The consent page expired before you answered. Nothing was allowed. Start the sign-in again in your \
                 application."
            }
            Self::ForeignConsent => {
                "The consent page was opened in another browser, or this browser blocks cookies. Nothing was allowed. \
                 Allow cookies for this server and start the sign-in again in your application."
            }
            Self::ConsentUnreadable(_) => {
                "The answer did not arrive as the consent page sends it. Nothing was allowed. Start the sign-in again in \
                 your application."
            }
            Self::FlowExpired => {
                "Microsoft Entra sent you back too late. Nothing was changed. Start the sign-in again in your \
                 application."
            }
            Self::ForeignCallback => {
                "The sign-in was started in another browser, is finished already, or this browser blocks cookies. \
                 Nothing was changed. Start the sign-in again in your application."
            }
            Self::TooManySignIns => {
                "More sign-ins came from your network, or from all networks together, than this server allows. Nothing \
                 was changed. Reload this page in a minute. If this page comes back, tell the administrator of this \
                 server the reference."
            }
            Self::Busy => "The sign-in cannot be finished at the moment. Reload this page in a minute.",
            Self::Defect => {
                "Start the sign-in again in your application. If this page comes back, tell the administrator of this \
                 server the reference."
            }
        }
    }

    /// Writes the log line that an administrator finds by the page's reference. `reason` is more exact than
    /// the page.
    fn log(self, frame: &Frame<'_>, reason: &dyn fmt::Display) {
        let reference = &frame.reference;
        if self == Self::Defect {
            tracing::error!(page.reference = %reference, "Failed to build an answer: this is a defect of the sidecar");
        } else {
            tracing::info!(page.reference = %reference, page.problem = ?self, "Showed a page: {reason}");
        }
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Client(ClientError::Unavailable) => Self::Busy,
            PageError::Client(ClientError::Unknown) => Self::UnknownClient,
            PageError::Client(ClientError::Refused) => Self::RefusedClient,
            PageError::Client(ClientError::Document) => Self::UnusableDocument,
            PageError::Client(ClientError::Busy) => Self::TooManyDocuments,
            PageError::ForeignRedirectUri => Self::ForeignRedirectUri,
            PageError::ClientId | PageError::RedirectUri | PageError::Parameters => Self::RequestIncomplete,
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemTemplate<'a> {
    frame: Frame<'a>,
    title: &'a str,
    text: &'a str,
}

/// Builds the page for `problem`.
pub(in crate::oauth) fn problem(services: &Services, problem: impl Into<Problem>) -> Response {
    let problem = problem.into();
    problem_because(services, problem, &problem.title())
}

/// Builds the page for a refused authorization request.
pub(in crate::oauth) fn refused(services: &Services, error: PageError) -> Response {
    problem_because(services, error.into(), &error)
}

fn problem_because(services: &Services, problem: Problem, reason: &dyn fmt::Display) -> Response {
    let frame = Frame::new(services);
    problem.log(&frame, reason);
    page(frame, problem)
}

fn page(frame: Frame<'_>, problem: Problem) -> Response {
    let page = ProblemTemplate {
        frame,
        title: problem.title(),
        text: problem.text(),
    };
    let mut response = respond(problem.status(), &page, "'none'");
    if matches!(
        problem,
        Problem::Busy | Problem::TooManySignIns | Problem::TooManyDocuments
    ) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("60"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use axum::body::to_bytes;

    use super::super::{Reference, STYLE};
    use super::*;

    /// Returns every problem.
    fn all() -> Vec<Problem> {
        std::iter::successors(Some(Problem::RequestTooLong), |problem| next(*problem)).collect()
    }

    /// A new problem does not compile until it has a place here.
    fn next(problem: Problem) -> Option<Problem> {
        Some(match problem {
            Problem::RequestTooLong => Problem::RequestIncomplete,
            Problem::RequestIncomplete => Problem::UnknownClient,
            Problem::UnknownClient => Problem::RefusedClient,
            Problem::RefusedClient => Problem::UnusableDocument,
            Problem::UnusableDocument => Problem::TooManyDocuments,
            Problem::TooManyDocuments => Problem::ForeignRedirectUri,
            Problem::ForeignRedirectUri => Problem::ConsentExpired,
            Problem::ConsentExpired => Problem::ForeignConsent,
            Problem::ForeignConsent => Problem::ConsentUnreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Problem::ConsentUnreadable(_) => Problem::FlowExpired,
            Problem::FlowExpired => Problem::ForeignCallback,
            Problem::ForeignCallback => Problem::TooManySignIns,
            Problem::TooManySignIns => Problem::Busy,
            Problem::Busy => Problem::Defect,
            Problem::Defect => return None,
        })
    }

    async fn html(problem: Problem) -> String {
        let frame = Frame {
            style: STYLE,
            server: "mcp.contoso.example",
            reference: Reference([0, 1, 2, 0xfe, 0xff]),
        };
        let response = page(frame, problem);
        assert_eq!(response.status(), problem.status());
        let body = to_bytes(response.into_body(), 64 * 1024).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_page_names_the_server_has_a_reference_and_a_title_of_its_own() {
        let problems = all();
        let mut titles = HashSet::new();
        for problem in &problems {
            let html = html(*problem).await;
            assert!(
                html.contains("Server <strong>mcp.contoso.example</strong>"),
                "{problem:?}: {html}"
            );
            assert!(
                html.contains("Reference <code>000102feff</code>"),
                "{problem:?}: {html}"
            );
            assert!(
                html.contains(&format!("<h1>{}</h1>", problem.title())),
                "{problem:?}: {html}"
            );
            assert!(problem.status().as_u16() >= 400, "{problem:?}");
            assert!(titles.insert(problem.title()), "{problem:?}");
        }
        assert_eq!(titles.len(), 15);
    }

    #[tokio::test]
    async fn every_page_says_what_the_user_can_do() {
        for problem in all() {
            let html = html(problem).await;
            let steps = [
                "again",
                "Reload this page",
                "Report it to",
                "tell the administrator",
            ];
            assert!(
                steps.iter().any(|step| html.contains(step)),
                "{problem:?}: {html}"
            );
        }
    }

    #[tokio::test]
    async fn a_slow_sign_in_is_not_shown_as_a_foreign_one() {
        for slow in [Problem::ConsentExpired, Problem::FlowExpired] {
            let html = html(slow).await;
            assert!(html.contains("took longer than ten minutes"), "{slow:?}: {html}");
            assert!(!html.contains("browser"), "{slow:?}: {html}");
        }
        for foreign in [Problem::ForeignConsent, Problem::ForeignCallback] {
            let html = html(foreign).await;
            assert!(html.contains("in another browser"), "{foreign:?}: {html}");
            assert!(!html.contains("ten minutes"), "{foreign:?}: {html}");
        }
    }
}
