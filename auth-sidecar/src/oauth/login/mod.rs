//! The state of a login in progress: the client's request, the user's approval, and the sign-in at Entra.

mod approved;
pub(crate) mod cookies;
pub(crate) mod csrf;
pub(crate) mod parameters;
pub(crate) mod remembered_approvals;
mod request;
mod sealed;

pub(crate) use approved::{ApprovedRequest, FLOW_COOKIE_LIFETIME, FLOW_LIFETIME, Found, flow_cookies};
pub(crate) use request::{AuthorizationRequest, AuthorizeRefusal, PageError, RedirectError};
pub(crate) use sealed::{OfferedRequest, REQUEST_LIFETIME};
