//! A login on its way: the client's request, the user's approval, the detour through Entra.

mod approved;
pub(crate) mod cookies;
pub(crate) mod csrf;
pub(crate) mod parameters;
mod request;
mod sealed;

pub(crate) use approved::{ApprovedRequest, FLOW_COOKIE_LIFETIME, FLOW_LIFETIME, Found, flow_cookies};
pub(crate) use request::{AuthorizationRequest, PageError, RedirectError, Refused};
pub(crate) use sealed::{OfferedRequest, REQUEST_LIFETIME};
