//! Entry points of the fuzz targets in `tests/fuzz`. Each panics when a property does not hold. This module exists only in
//! builds with `--cfg fuzzing`, and in tests, so that it follows every change.

pub use crate::clients::fuzzing::{client_document, redirect_uri};
pub use crate::keys::fuzzing::{envelope, sealed_text};
pub use crate::oauth::fuzzing::{cookies, form};
pub use crate::proxy::fuzzing::message;
pub use crate::sessions::fuzzing::{grant, json_content, record, value};
pub use crate::store::fuzzing::scan_position;

/// The content of a store before it is decrypted: values of sessions, sealed records, and positions in the listing.
pub fn store_value(data: &[u8]) {
    value(data);
    envelope(data);
    scan_position(data);
}

/// Parses the input as each kind of decrypted content: records, tokens of Entra, tokens and codes of clients, and the other
/// entries of a store.
pub fn opened(data: &[u8]) {
    record(data);
    grant(data);
    json_content(data);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;

    use super::*;

    /// Maximum length of a seed whose bytes are changed one by one.
    const SHORT: usize = 512;

    /// The first mutations of a fuzzer: it cuts the seeds, and changes single bytes.
    #[rstest]
    #[case("messages", message)]
    #[case("redirect-uris", redirect_uri)]
    #[case("client-documents", client_document)]
    #[case("cookies", cookies)]
    #[case("forms", form)]
    #[case("records", opened)]
    #[case("records", store_value)]
    #[case("store-values", store_value)]
    #[case("store-values", sealed_text)]
    fn the_seeds_and_their_neighbours_keep_the_properties(#[case] folder: &str, #[case] target: fn(&[u8])) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds");
        let mut count = 0;
        for seed in std::fs::read_dir(seeds.join(folder)).unwrap() {
            let seed = std::fs::read(seed.unwrap().path()).unwrap();
            target(&seed);
            count += 1;
            for place in 0..seed.len().min(SHORT) {
                target(&seed[..place]);
                for bit in 0..8 {
                    let mut changed = seed.clone();
                    changed[place] ^= 1 << bit;
                    target(&changed);
                }
            }
        }
        assert!(count > 0, "{folder} has no seed");
    }
}
