//! Server-sent events, out of the bytes of an answer: WHATWG HTML, section 9.2.
//!
//! Only what an event's `data` lines say is kept; names, ids and comments are skipped.
//!
//! Invariant: no event is kept that is longer than `EVENT_BYTES_MAX`.

/// Longest event: a snapshot of 1,024 shards has some 200 KiB.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was read of an event that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The line that is not whole yet.
    line: Vec<u8>,
    /// The data of the event so far, each line with its end.
    data: Vec<u8>,
    /// The last byte ended a line as CR does, so an LF that follows belongs to it.
    after_cr: bool,
}

impl Events {
    /// Takes in the next `bytes` and gives `each` the data of every event that they complete.
    ///
    /// # Errors
    ///
    /// An event is longer than any that a server sends.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), String> {
        for byte in bytes {
            let follows_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => self.end_line(&mut each),
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
                return Err(format!("an event is longer than {EVENT_BYTES_MAX} bytes"));
            }
        }
        Ok(())
    }

    fn end_line(&mut self, each: &mut impl FnMut(&[u8])) {
        if self.line.is_empty() {
            if let Some((_, data)) = self.data.split_last() {
                each(data);
            }
            self.data.clear();
            return;
        }
        if let Some(value) = self.line.strip_prefix(b"data:") {
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.data.push(b'\n');
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events in `stream`, which comes in parts of `part` bytes.
    fn events(stream: &str, part: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut events = Events::default();
        for bytes in stream.as_bytes().chunks(part) {
            events.push(bytes, |data| found.push(String::from_utf8(data.to_vec()).unwrap())).unwrap();
        }
        found
    }

    #[test]
    fn an_event_is_the_same_however_its_bytes_come() {
        let stream = ": hello\n\ndata: {\"a\":1}\n\nevent: x\ndata:two\ndata: lines\nid: 7\n\n\ndata: cut";
        for part in 1..=stream.len() {
            assert_eq!(events(stream, part), ["{\"a\":1}", "two\nlines"], "in parts of {part}");
        }
    }

    #[test]
    fn lines_end_in_any_of_three_ways() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = ["data: a", "", "data: b", "", ""].join(end);
            assert_eq!(events(&stream, 1), ["a", "b"], "{end:?}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_ever() {
        let mut events = Events::default();
        let part = [b'x'; 64 * 1024];
        let mut results = (0..).map(|_| events.push(&part, |_| {}));
        assert!(results.any(|result| result.is_err()), "the 65th is one too many");
    }
}
