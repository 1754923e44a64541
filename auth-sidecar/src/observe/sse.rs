//! Reads the data of each event in a `text/event-stream` (WHATWG HTML, section 9.2). MCP uses no other fields.

/// Collects bytes into events. The caller limits the number of bytes.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    after_carriage_return: bool,
}

impl EventReader {
    /// Reads the next bytes. Returns the data of each event that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in bytes {
            let second_half = std::mem::replace(&mut self.after_carriage_return, byte == b'\r');
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        events
    }

    /// Number of bytes of the event that is not complete.
    pub(super) fn size(&self) -> usize {
        self.line.len() + self.data.len()
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            // An event without data is not dispatched: rmcp opens streams with one.
            let complete = std::mem::take(&mut self.has_data);
            return complete.then(|| std::mem::take(&mut self.data));
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push('\n');
            }
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_events_with_every_line_ending_and_at_every_cut() {
        let expected = vec!["{\"a\":1}".to_owned(), "x\ny".to_owned()];
        for text in [
            "id: 1\ndata: {\"a\":1}\n\n: keep-alive\n\nevent: message\ndata:x\ndata: y\n\n",
            "id: 1\r\ndata: {\"a\":1}\r\n\r\nevent: message\r\ndata:x\r\ndata: y\r\n\r\n",
            "data: {\"a\":1}\r\rdata: x\rdata: y\r\r",
        ] {
            assert_eq!(EventReader::default().push(text.as_bytes()), expected, "{text:?}");
            let mut reader = EventReader::default();
            let cut: Vec<String> = text
                .as_bytes()
                .iter()
                .flat_map(|byte| reader.push(&[*byte]))
                .collect();
            assert_eq!(cut, expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn an_incomplete_event_is_not_returned() {
        assert!(EventReader::default().push(b"data: half\n").is_empty());
        assert!(EventReader::default().push(b"id: 0\nretry: 3000\n\n").is_empty());
    }
}
