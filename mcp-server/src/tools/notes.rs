//! Words about an answer.

use crate::azure_devops::Call;

/// An empty list has several causes, and the service does not tell which: nothing there, a filter, or an
/// account of another tenant.
pub(crate) async fn nothing_found(call: &Call, what: &str) -> String {
    let service = call.service();
    if service.is_foreign_tenant().await {
        return format!(
            "No {what} are visible, and the organization {:?} belongs to another tenant than the signed-in \
             account: sign in with an account of that tenant.",
            service.organization()
        );
    }
    format!("No {what} match, or none is visible to the signed-in user.")
}
