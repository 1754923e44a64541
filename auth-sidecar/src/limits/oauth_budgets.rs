//! How often an address may use the OAuth endpoints: registrations, pages, callbacks, codes and tokens.

use jiff::Timestamp;

use super::address_budget::AddressBudgets;
use super::token_bucket::Rate;

/// The registrations of one address. A company behind one gateway starts its clients within minutes, and some
/// clients register at every start.
const REGISTRATIONS_OF_ONE: Rate = Rate {
    burst: 300.0,
    per_second: 5.0,
};

/// The registrations of all addresses together. A registration stores nothing and costs one HKDF and one AES-GCM
/// sealing of at most 1 KiB, well below a tenth of a millisecond. This many registrations use less than a fifth of
/// one core.
const REGISTRATIONS: Rate = Rate {
    burst: 10_000.0,
    per_second: 2000.0,
};

/// The callbacks of one address whose code Entra does not accept. Everybody can approve a request and send a
/// made-up code, and each asks Entra in the name of the application, which Entra then throttles for all users. The
/// sign-ins of a company behind one gateway cost nothing, because their codes are accepted.
const CALLBACKS_OF_ONE: Rate = Rate {
    burst: 300.0,
    per_second: 5.0,
};

/// The callbacks of all addresses together whose code Entra does not accept. Microsoft does not publish the rate at
/// which Entra throttles an application.
const CALLBACKS: Rate = Rate {
    burst: 2000.0,
    per_second: 50.0,
};

/// The pages of one address: `/authorize` and `/consent`. A login opens both, so that a company behind one gateway can begin
/// 1,500 logins at once, and then 50 a second.
const PAGES_OF_ONE: Rate = Rate {
    burst: 3000.0,
    per_second: 100.0,
};

/// The pages of all addresses together: 500 logins a second, which is more than one core finishes.
const PAGES: Rate = Rate {
    burst: 10_000.0,
    per_second: 1000.0,
};

/// The requests of one address to `/token` and `/revoke`. A client refreshes about once an hour: 10,000 users with three
/// clients each send nine requests a second. After a revocation of everyone each of the 30,000 clients is refused once, and
/// sends a code.
const GRANTS_OF_ONE: Rate = Rate {
    burst: 3000.0,
    per_second: 200.0,
};

/// The requests of all addresses together to `/token` and `/revoke`. One core redeems about this many refresh tokens.
const GRANTS: Rate = Rate {
    burst: 20_000.0,
    per_second: 3000.0,
};

/// Returns the budgets of registrations.
pub(crate) fn registration_budgets(now: Timestamp) -> AddressBudgets {
    AddressBudgets::new(REGISTRATIONS_OF_ONE, REGISTRATIONS, now)
}

/// Returns the budgets of callbacks whose code Entra does not accept.
pub(crate) fn callback_budgets(now: Timestamp) -> AddressBudgets {
    AddressBudgets::new(CALLBACKS_OF_ONE, CALLBACKS, now)
}

/// Returns the budgets of the pages that begin a login.
pub(crate) fn page_budgets(now: Timestamp) -> AddressBudgets {
    AddressBudgets::new(PAGES_OF_ONE, PAGES, now)
}

/// Returns the budgets of requests with a code or token.
pub(crate) fn grant_budgets(now: Timestamp) -> AddressBudgets {
    AddressBudgets::new(GRANTS_OF_ONE, GRANTS, now)
}
