//! The defaults that a serialized spec leaves out.

/// Returns whether a field has its default, so that it is left out of the stored object.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
