//! Lists the sessions with `SCAN`; in a cluster, one primary after the other.

use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Value, cmd};

use super::client::RedisConnection;

/// How many keys Redis looks at in one step. A step takes about a millisecond.
const COUNT: u32 = 1000;

/// A position in the listing: the primary, and its cursor. A standalone server has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ScanPosition {
    node: String,
    cursor: u64,
}

impl ScanPosition {
    /// Reads the text of [`ScanPosition::to_text`]. Any other text begins the listing again.
    pub(super) fn parse(text: &str) -> Self {
        let parsed = text.rsplit_once('#').and_then(|(node, cursor)| {
            let (node, cursor) = (node.to_owned(), cursor.parse().ok()?);
            Some(Self { node, cursor })
        });
        parsed.unwrap_or_default()
    }

    pub(super) fn to_text(&self) -> String {
        format!("{}#{}", self.node, self.cursor)
    }
}

/// Returns the names of some keys that match `pattern`, and the position to continue at.
pub(super) async fn step(
    connection: &mut RedisConnection,
    pattern: &str,
    position: ScanPosition,
) -> Result<(Vec<String>, Option<ScanPosition>), RedisError> {
    let primaries = match connection {
        RedisConnection::Standalone(_) => vec![String::new()],
        RedisConnection::Cluster(_) => primaries(connection).await?,
    };
    let index = index_of(&primaries, &position).ok_or(RedisError::from((
        ErrorKind::Client,
        "a primary was replaced during the listing; list again",
    )))?;
    let node = &primaries[index];
    let begin = if *node == position.node {
        position.cursor
    } else {
        0
    };
    let mut scan = cmd("SCAN");
    scan.arg(begin).arg("MATCH").arg(pattern).arg("COUNT").arg(COUNT);
    let answer = connection.ask_node(scan, node).await?;
    let (cursor, names) = <(u64, Vec<String>)>::from_redis_value(answer)?;
    let next = if cursor != 0 {
        let node = node.clone();
        Some(ScanPosition { node, cursor })
    } else {
        let next = primaries.into_iter().nth(index + 1);
        next.map(|node| ScanPosition { node, cursor: 0 })
    };
    Ok((names, next))
}

/// The index of the primary at which the listing continues. `None` if it is no primary any more: the sessions that it had
/// are now elsewhere in the list, so that some would be missed.
fn index_of(primaries: &[String], position: &ScanPosition) -> Option<usize> {
    if position.node.is_empty() {
        return Some(0).filter(|_| !primaries.is_empty());
    }
    primaries.iter().position(|node| *node == position.node)
}

/// The addresses of the primaries of a cluster, sorted.
async fn primaries(connection: &mut RedisConnection) -> Result<Vec<String>, RedisError> {
    let answer = connection.ask_any_node(slots()).await?;
    let ranges = Vec::<Vec<Value>>::from_redis_value(answer)?;
    let mut primaries = Vec::new();
    for range in ranges {
        let Some(primary) = range.into_iter().nth(2) else {
            continue;
        };
        let (host, port) = node(primary)?;
        primaries.push(format!("{host}:{port}"));
    }
    primaries.sort();
    primaries.dedup();
    Ok(primaries)
}

/// The command for the nodes of a cluster.
pub(super) fn slots() -> Cmd {
    let mut slots = cmd("CLUSTER");
    slots.arg("SLOTS");
    slots
}

/// The addresses of all nodes in an answer to [`slots`]. A node that announces nothing is left out.
pub(super) fn nodes(answer: Value) -> Result<Vec<(String, u16)>, RedisError> {
    let ranges = Vec::<Vec<Value>>::from_redis_value(answer)?;
    // The first two values are the first and the last slot.
    let all = ranges.into_iter().flat_map(|range| range.into_iter().skip(2));
    let announced = all.filter(|node| !announces_nothing(node));
    announced.map(node).collect()
}

fn announces_nothing(node: &Value) -> bool {
    matches!(node, Value::Array(parts) if matches!(parts.first(), None | Some(Value::Nil)))
}

/// A node is host, port and id; newer servers add more.
fn node(node: Value) -> Result<(String, u16), RedisError> {
    let first_two = match node {
        Value::Array(mut parts) => {
            parts.truncate(2);
            Value::Array(parts)
        }
        other => other,
    };
    Ok(FromRedisValue::from_redis_value(first_two)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_does_not_go_on_after_a_fail_over() {
        let primaries = ["10.0.0.2:6379", "10.0.0.7:6379"].map(str::to_owned);
        let at = |node: &str| ScanPosition {
            node: node.to_owned(),
            cursor: 3,
        };
        assert_eq!(index_of(&primaries, &ScanPosition::default()), Some(0));
        assert_eq!(index_of(&primaries, &at("10.0.0.7:6379")), Some(1));
        assert_eq!(index_of(&primaries, &at("10.0.0.5:6379")), None);
        assert_eq!(index_of(&[String::new()], &at("")), Some(0));
    }

    #[test]
    fn a_position_survives_its_text_form() {
        for (node, cursor) in [
            ("", 0),
            ("", 17),
            ("10.0.0.1:6379", 0),
            ("fd00::1:6379", u64::MAX),
        ] {
            let node = node.to_owned();
            let position = ScanPosition { node, cursor };
            assert_eq!(ScanPosition::parse(&position.to_text()), position);
        }
        for text in ["", "#", "x", "a#b"] {
            assert_eq!(ScanPosition::parse(text), ScanPosition::default(), "{text}");
        }
    }
}
