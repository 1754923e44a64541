//! Many values searched for in much text, in one pass.

use std::collections::{BTreeSet, HashMap};

use crate::ensure;
use crate::world::TestResult;

/// Shorter values would be found by chance.
pub(crate) const SHORTEST: usize = 16;

/// A place where a secret must not be.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A secret value, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Value {
    pub(crate) fn new(kind: impl Into<String>, text: impl Into<String>) -> Self {
        let (kind, text) = (kind.into(), text.into());
        Self { kind, text }
    }
}

/// The values by parts of their ends; their beginnings are alike, as those of all JWTs.
///
/// The text is looked at in steps of a part. An end is two parts long, so that one step falls into it whole,
/// somewhere in its first half: the parts from each place there are known.
pub(crate) struct Search<'v> {
    by_part: HashMap<&'v [u8], Vec<(usize, &'v Value)>>,
    /// With which two bytes a part begins at all: most text is passed over by them.
    beginnings: Vec<bool>,
}

/// Half of the shortest value.
const PART: usize = SHORTEST / 2;

impl<'v> Search<'v> {
    /// Fails when a value is too short, or would not be found where it is.
    pub(crate) fn of(values: impl IntoIterator<Item = &'v Value>) -> TestResult<Self> {
        let mut search = Self {
            by_part: HashMap::new(),
            beginnings: vec![false; 1 << 16],
        };
        let values: Vec<_> = values.into_iter().collect();
        for value in &values {
            let bytes = value.text.as_bytes();
            ensure!(
                bytes.len() >= SHORTEST,
                "a {} of {} bytes is too short to search for",
                value.kind,
                bytes.len()
            );
            let end = &bytes[bytes.len() - SHORTEST..];
            for offset in 0..PART {
                let part = &end[offset..offset + PART];
                search.by_part.entry(part).or_default().push((offset, value));
                search.beginnings[two(part)] = true;
            }
        }
        for value in values {
            for before in 0..PART {
                let text = format!("{:before$}{}.", "", value.text);
                ensure!(
                    search.kinds_in(&text).contains(value.kind.as_str()),
                    "a {} is not found where it is",
                    value.kind
                );
            }
        }
        Ok(search)
    }

    /// The kinds of values that are in the text.
    pub(crate) fn kinds_in(&self, text: &str) -> BTreeSet<&'v str> {
        let bytes = text.as_bytes();
        let mut found = BTreeSet::new();
        for (number, part) in bytes.chunks_exact(PART).enumerate() {
            if !self.beginnings[two(part)] {
                continue;
            }
            for (offset, value) in self.by_part.get(part).into_iter().flatten() {
                let end = number * PART + SHORTEST - offset;
                let until = bytes.get(..end);
                if until.is_some_and(|until| until.ends_with(value.text.as_bytes())) {
                    found.insert(value.kind.as_str());
                }
            }
        }
        found
    }

    /// One sentence for each value that was found, with its place.
    pub(crate) fn found_in<'p>(&self, places: impl IntoIterator<Item = &'p Place>) -> Vec<String> {
        let mut found = Vec::new();
        for place in places {
            let kinds = self.kinds_in(&place.text).into_iter();
            found.extend(kinds.map(|kind| format!("{kind} in {}", place.name)));
        }
        found
    }
}

/// The first two bytes as a number.
fn two(bytes: &[u8]) -> usize {
    match bytes {
        [one, two, ..] => usize::from(*one) << 8 | usize::from(*two),
        _ => 0,
    }
}
