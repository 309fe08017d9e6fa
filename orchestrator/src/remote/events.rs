//! Server-sent events out of a response's bytes, in bounded memory. It keeps only what `data`
//! lines say and never waits for more than one line.

/// The longest line, in bytes: room for twenty alternatives to each of many tokens.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The server sends no events, or one without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {MAX_LINE_BYTES} bytes came")]
pub(super) struct TooLong;

/// What has come and is not yet read.
#[derive(Debug, Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
    /// How far the buffer was searched for a line's end.
    searched: usize,
}

impl Events {
    /// Adds what the network brought.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next event, once its line is complete.
    ///
    /// # Errors
    /// [`TooLong`]; the stream is then of no use.
    pub(super) fn next(&mut self) -> Result<Option<String>, TooLong> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = found.map(|end| self.searched + end) else {
                self.searched = self.buffer.len();
                let too_long = self.buffer.len() > MAX_LINE_BYTES;
                return if too_long { Err(TooLong) } else { Ok(None) };
            };
            if end > MAX_LINE_BYTES {
                return Err(TooLong);
            }
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.searched = 0;
            // Comments, blank lines and other fields say nothing to us.
            if let Some(data) = line.strip_prefix(b"data:") {
                return Ok(Some(String::from_utf8_lossy(data).trim().to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(events: &mut Events) -> Vec<String> {
        std::iter::from_fn(|| events.next().unwrap()).collect()
    }

    #[test]
    fn only_complete_data_lines_are_events() {
        let mut events = Events::default();
        events.push(b": ping\r\n\r\ndata: {\"a\":1}\r\nevent: x\nid: 7\ndata:[DO");
        assert_eq!(read_all(&mut events), ["{\"a\":1}"]);
        events.push(b"NE]\n");
        assert_eq!(read_all(&mut events), ["[DONE]"]);
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut events = Events::default();
        for _ in 0..16 {
            events.push(&[b'x'; 64 * 1024]);
            assert_eq!(events.next(), Ok(None));
        }
        events.push(b"x");
        assert_eq!(events.next(), Err(TooLong));
    }

    proptest! {
        #[test]
        fn the_cuts_of_the_network_do_not_matter(
            lines in prop::collection::vec("[a-z é]{0,12}", 0..12),
            size in 1usize..9,
        ) {
            let text: String = lines.iter().map(|line| format!("data: {line}\n\n")).collect();
            let mut events = Events::default();
            let mut read = vec![];
            for part in text.as_bytes().chunks(size) {
                events.push(part);
                read.extend(read_all(&mut events));
            }
            let expected: Vec<_> = lines.iter().map(|line| line.trim().to_owned()).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn garbage_is_no_panic(parts in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..200), 0..20,
        )) {
            let mut events = Events::default();
            for part in parts {
                events.push(&part);
                while let Ok(Some(_)) = events.next() {}
            }
        }
    }
}
