//! The note in an empty list.

use crate::azure_devops::Call;

/// Returns the note of an empty list of `what`. Azure DevOps does not tell whether a filter, a missing right or a
/// foreign tenant is the cause. The tenant of the organization can be asked for.
pub(super) async fn explain(call: &Call, what: &str) -> String {
    let client = call.client();
    if client.is_foreign_tenant().await {
        return format!(
            "No {what} are visible, and the organization {:?} belongs to another tenant than the signed-in \
             account: sign in with an account of that tenant.",
            client.organization()
        );
    }
    format!("No {what} match, or none is visible to the signed-in user.")
}
