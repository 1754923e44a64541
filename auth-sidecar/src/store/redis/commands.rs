//! The commands, their answers, and the names of keys.
//!
//! An entry is a hash with the fields `revision` and `value`, and an expiry. Each operation is atomic, and names keys of
//! one slot only, so that it works in a cluster. Each may be sent twice.

use ::redis::{FromRedisValue as _, Pipeline, RedisError, Value, pipe};
use behalf_contract::ObjectIdentity;
use jiff::Timestamp;

use super::error::{foreign, unreachable};
use crate::session_id::SessionId;
use crate::store::{Entry, MAX_VALUE_BYTES, StoreError, StoreKey, Written};

/// Reads an entry. KEYS: the entry, further ones to remove with it. ARGV: maximum length of its value, `1` to remove.
/// Returns revision, value and expiry. A longer value is returned as an empty one: nobody of this project wrote it, and it
/// must not fill the memory of the sidecar. An entry that this project wrote has a revision of at most 20 digits.
const READ: &str = "\
local entry = {false, '', redis.call('PEXPIRETIME', KEYS[1])}
if redis.call('HSTRLEN', KEYS[1], 'revision') <= 20 then
  entry[1] = redis.call('HGET', KEYS[1], 'revision')
end
if redis.call('HSTRLEN', KEYS[1], 'value') <= tonumber(ARGV[1]) then
  entry[2] = redis.call('HGET', KEYS[1], 'value')
end
if ARGV[2] == '1' then redis.call('DEL', unpack(KEYS)) end
return entry";

/// Compare-and-swap. KEYS: the entry, and the record that must exist, if any. ARGV: expected revision, next revision,
/// value, expiry in milliseconds since 1970. Returns 1 if the entry has the value, also when this command arrives a second
/// time. `PEXPIRETIME` is -2 for a key that does not exist.
const PUT: &str = "\
local kept = redis.call('HGET', KEYS[1], 'revision') or '0'
if kept == ARGV[2] and redis.call('HGET', KEYS[1], 'value') == ARGV[3] then return 1 end
if kept ~= ARGV[1] then return 0 end
if KEYS[2] and redis.call('PEXPIRETIME', KEYS[2]) == -2 then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'value', ARGV[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
return 1";

/// The policy under which Redis never deletes an entry before its expiry.
const NO_EVICTION: &str = "noeviction";

/// Names the keys of one `McpServer`.
pub(super) struct KeyNames {
    prefix: String,
}

impl KeyNames {
    pub(super) fn new(object: &ObjectIdentity) -> Self {
        Self {
            prefix: format!("behalf:{}:", object.qualified_name()),
        }
    }

    /// The name of an entry. The part in braces decides its slot in a cluster.
    pub(super) fn of(&self, key: &StoreKey) -> String {
        let Self { prefix } = self;
        let (id, kind) = key.parts();
        format!("{prefix}{{{id}}}:{kind}")
    }

    /// The names of an entry and of another one of the same session.
    pub(super) fn of_both(&self, key: &StoreKey, other: Option<&StoreKey>) -> Vec<String> {
        let keys = std::iter::once(key).chain(other);
        keys.map(|key| self.of(key)).collect()
    }

    /// The pattern of the names of all sessions. None of its parts has a character that patterns give a meaning, but for
    /// the star.
    pub(super) fn all_sessions(&self) -> String {
        let Self { prefix } = self;
        format!("{prefix}{{*}}:session")
    }

    /// The session whose entry has this name.
    pub(super) fn session_of(&self, name: &str) -> Option<SessionId> {
        let id = name.strip_prefix(&self.prefix)?.strip_prefix('{')?;
        SessionId::parse(id.strip_suffix("}:session")?)
    }

    /// The channel of the object's replicas.
    pub(super) fn channel(&self) -> String {
        format!("{}announcements", self.prefix)
    }
}

/// Reads an entry.
pub(super) fn get(name: &str) -> Pipeline {
    let mut commands = script(READ, &[name.to_owned()]);
    commands.arg(MAX_VALUE_BYTES).arg(0);
    commands
}

/// Reads the first entry, and removes all.
pub(super) fn remove(names: &[String]) -> Pipeline {
    let mut commands = script(READ, names);
    commands.arg(MAX_VALUE_BYTES).arg(1);
    commands
}

/// Writes the first entry. The second, if there is one, must exist.
pub(super) fn put(names: &[String], expected: u64, value: &[u8], expires_at: Timestamp) -> Pipeline {
    let mut commands = script(PUT, names);
    commands
        .arg(expected)
        .arg(expected.saturating_add(1))
        .arg(value)
        .arg(expires_at.as_millisecond());
    commands
}

fn script(source: &str, names: &[String]) -> Pipeline {
    let mut commands = pipe();
    commands.cmd("EVAL").arg(source).arg(names.len()).arg(names);
    commands
}

pub(super) fn touch(name: &str, expires_at: Timestamp) -> Pipeline {
    let mut commands = pipe();
    commands
        .cmd("PEXPIREAT")
        .arg(name)
        .arg(expires_at.as_millisecond());
    commands
}

/// Reads the answers of [`get`] and [`remove`].
pub(super) fn read_entry(answers: Vec<Value>) -> Result<Option<Entry>, StoreError> {
    type Answer = ((Option<u64>, Option<Vec<u8>>, i64),);
    let ((revision, value, expires_at),) =
        Answer::from_redis_value(Value::Array(answers)).map_err(|error| foreign(error.into()))?;
    let (Some(revision), Some(value)) = (revision, value) else {
        return Ok(None);
    };
    let Ok(expires_at) = Timestamp::from_millisecond(expires_at) else {
        return Err(foreign(unexpected("PEXPIRETIME is out of range")));
    };
    Ok(Some(Entry {
        revision,
        value,
        expires_at,
    }))
}

/// Reads the answer of [`put`].
pub(super) fn read_written(answers: &[Value]) -> Result<Written, StoreError> {
    match answers.first() {
        Some(Value::Int(1)) => Ok(Written::Stored),
        Some(Value::Int(0)) => Ok(Written::Conflict),
        _ => Err(unreachable(unexpected("EVAL returned neither 0 nor 1"))),
    }
}

/// The first policy in `INFO memory` that is not [`NO_EVICTION`], else [`NO_EVICTION`]; `None` if there is no policy.
/// Nodes of a cluster may have different ones.
pub(super) fn eviction_policy(information: &Value) -> Option<String> {
    let mut policies = Vec::new();
    collect_policies(information, &mut policies);
    let evicting = policies.iter().find(|policy| *policy != NO_EVICTION);
    evicting.or(policies.first()).cloned()
}

fn collect_policies(value: &Value, policies: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_policies(value, policies)),
        Value::Map(pairs) => pairs
            .iter()
            .for_each(|(_, value)| collect_policies(value, policies)),
        Value::BulkString(bytes) => collect_lines(&String::from_utf8_lossy(bytes), policies),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => collect_lines(text, policies),
        _ => {}
    }
}

fn collect_lines(text: &str, policies: &mut Vec<String>) {
    let found = text
        .lines()
        .filter_map(|line| line.strip_prefix("maxmemory_policy:"));
    policies.extend(found.map(|policy| policy.trim().to_owned()));
}

fn unexpected(message: &'static str) -> RedisError {
    RedisError::from((::redis::ErrorKind::UnexpectedReturnType, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_object_and_their_slot() {
        let names = KeyNames::new(&ObjectIdentity {
            namespace: "mcp".to_owned(),
            name: "azure-devops".to_owned(),
        });
        let name = names.of(&StoreKey::User([0; 32]));
        assert_eq!(
            name,
            "behalf:mcp/azure-devops:{AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}:user"
        );
    }

    #[test]
    fn one_node_that_evicts_decides_the_policy_of_a_cluster() {
        let node = |policy: &str| {
            let text = format!("# Memory\r\nused_memory:1\r\nmaxmemory_policy:{policy}\r\n");
            Value::BulkString(text.into_bytes())
        };
        assert_eq!(
            eviction_policy(&node("noeviction")).as_deref(),
            Some("noeviction")
        );
        let cluster = Value::Map(vec![
            (Value::SimpleString("a".to_owned()), node("noeviction")),
            (Value::SimpleString("b".to_owned()), node("allkeys-lru")),
        ]);
        assert_eq!(eviction_policy(&cluster).as_deref(), Some("allkeys-lru"));
        assert_eq!(
            eviction_policy(&Value::BulkString(b"used_memory:1\r\n".to_vec())),
            None
        );
    }
}
