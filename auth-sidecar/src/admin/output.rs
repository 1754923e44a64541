//! Writes answers for people (tables) and programs (JSON).

use std::io::{self, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use super::messages::{DrainMessage, IntrospectionMessage, RevokedMessage, SessionMessage};

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Table,

    /// For programs.
    Json,
}

const COLUMNS: [&str; 7] = [
    "SESSION",
    "USER",
    "CLIENT",
    "LOGIN",
    "LAST USED",
    "EXPIRES",
    "CLIENT ID",
];

pub(super) fn sessions(out: &mut impl Write, output: Output, sessions: &[SessionMessage]) -> io::Result<()> {
    if output == Output::Json {
        return json(out, &sessions);
    }
    if sessions.is_empty() {
        return writeln!(out, "No sessions.");
    }
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(sessions.iter().map(|session| {
        [
            session.id.clone(),
            session.user.clone(),
            session.client_name.clone(),
            minute(session.signed_in_at),
            session.last_used_at.map_or_else(|| "never".to_owned(), minute),
            minute(session.expires_at),
            session.client_id.clone().unwrap_or_default(),
        ]
    }));
    table(out, &rows)
}

pub(super) fn revoked(out: &mut impl Write, output: Output, message: RevokedMessage) -> io::Result<()> {
    match output {
        Output::Json => json(out, &message),
        Output::Table if message.revoked == 1 => writeln!(out, "Revoked 1 session."),
        Output::Table => writeln!(out, "Revoked {} sessions.", message.revoked),
    }
}

pub(super) fn introspection(
    out: &mut impl Write,
    output: Output,
    answer: &IntrospectionMessage,
) -> io::Result<()> {
    if output == Output::Json {
        return json(out, answer);
    }
    let Some(token) = &answer.token else {
        return writeln!(out, "The token is not valid.");
    };
    let time = |second| Timestamp::from_second(second).map_or_else(|_| String::new(), minute);
    let rows = [
        ["TOKEN", &token.token_use],
        ["SESSION", &token.sid],
        ["USER", &token.sub],
        ["CLIENT", &token.client_id],
        ["SCOPE", &token.scope],
        ["LOGIN", &time(token.auth_time)],
        ["ISSUED", &time(token.iat)],
        ["EXPIRES", &time(token.exp)],
    ]
    .map(|row| row.map(str::to_owned));
    table(out, &rows)
}

pub(super) fn draining(out: &mut impl Write, output: Output, answer: DrainMessage) -> io::Result<()> {
    match output {
        Output::Json => json(out, &answer),
        Output::Table => writeln!(out, "Clients are asked to open connections to other Pods."),
    }
}

fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

fn table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or_default()
    });
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("   ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_its_columns() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let session = |id: &str, name: &str, client_id: Option<&str>, last_used_at| SessionMessage {
            id: id.to_owned(),
            user: "u".to_owned(),
            client_id: client_id.map(str::to_owned),
            client_name: name.to_owned(),
            signed_in_at: at(0),
            last_used_at,
            expires_at: at(120),
            ends_at: at(240),
        };
        let mut text = Vec::new();
        let rows = [
            session("a", "Editor", Some("ci"), Some(at(60))),
            session("bcdefghij", "X", None, None),
        ];
        sessions(&mut text, Output::Table, &rows).unwrap();
        let expected = "\
SESSION     USER   CLIENT   LOGIN               LAST USED           EXPIRES             CLIENT ID
a           u      Editor   1970-01-01T00:00Z   1970-01-01T00:01Z   1970-01-01T00:02Z   ci
bcdefghij   u      X        1970-01-01T00:00Z   never               1970-01-01T00:02Z
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
