//! Rules for the metadata of a client, which registers it or has it in a document.

/// Maximum length of a client's name in bytes. The consent page shows it.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// True if the client's `grant_types` and `response_types` contain those of the authorization code grant. An absent list
/// contains them, and so does an empty one, because some clients send it for "any".
pub(super) fn uses_code_grant<T: PartialEq<str>>(
    grant_types: Option<&[T]>,
    response_types: Option<&[T]>,
) -> bool {
    let lists = |list: Option<&[T]>, name: &str| {
        list.is_none_or(|list| list.is_empty() || list.iter().any(|entry| entry == name))
    };
    lists(grant_types, "authorization_code") && lists(response_types, "code")
}
