//! UTF-8 validation of text that arrives in pieces, failing at the earliest bad byte.
//!
//! The bulk is checked by simdutf8. Between two pieces only the bytes of a character that the
//! split cut in two are kept (at most 3), so the text itself need not be kept for its check.
//!
//! Invariant: after `push` returned `Ok`, what was pushed so far can still become valid text.
//! `[0xF4, 0x90]` is refused without its third byte, because no third byte could save it.

use super::ProtocolError;

/// Longest character in bytes. Source: RFC 3629 §3.
const CHARACTER_BYTES_MAX: usize = 4;

/// Validates one text of which the pieces are pushed in order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Utf8Stream {
    /// The first bytes of a character whose rest has not arrived.
    tail: [u8; CHARACTER_BYTES_MAX - 1],
    tail_bytes: u8,
}

// Part of a partial message: the state is the cut character and nothing else.
const _: () = assert!(size_of::<Utf8Stream>() <= 8);

impl Utf8Stream {
    /// Checks the next piece of the text. A piece may be empty and may end inside a character.
    ///
    /// # Errors
    ///
    /// `InvalidUtf8`: no continuation can make the text valid.
    #[inline]
    pub fn push(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        let rest = if self.tail_bytes == 0 { piece } else { self.complete_tail(piece)? };
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                self.keep(&rest[error.valid_up_to()..]);
                Ok(())
            }
            Err(_) => Err(ProtocolError::InvalidUtf8),
        }
    }

    /// Checks that the text does not end inside a character.
    ///
    /// # Errors
    ///
    /// `InvalidUtf8`: the last character is cut off.
    #[inline]
    pub fn finish(self) -> Result<(), ProtocolError> {
        if self.tail_bytes == 0 { Ok(()) } else { Err(ProtocolError::InvalidUtf8) }
    }

    /// Continues the cut character with the front of `piece` and returns what comes after it.
    fn complete_tail<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], ProtocolError> {
        let kept = usize::from(self.tail_bytes);
        let wanted = character_bytes(self.tail[0]) - kept;
        let (front, rest) = piece.split_at(wanted.min(piece.len()));
        let mut character = [0; CHARACTER_BYTES_MAX];
        character[..kept].copy_from_slice(&self.tail[..kept]);
        character[kept..kept + front.len()].copy_from_slice(front);
        let character = &character[..kept + front.len()];
        match std::str::from_utf8(character) {
            Ok(_) => self.tail_bytes = 0,
            Err(error) if error.error_len().is_none() => self.keep(character),
            Err(_) => return Err(ProtocolError::InvalidUtf8),
        }
        Ok(rest)
    }

    /// Remembers the bytes of a cut character.
    fn keep(&mut self, cut: &[u8]) {
        self.tail[..cut.len()].copy_from_slice(cut);
        self.tail_bytes = cut.len() as u8;
    }
}

/// Bytes of the character that begins with `first`, which is known to be a legal lead byte.
fn character_bytes(first: u8) -> usize {
    match first {
        0x00..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Second, third and fourth bytes that tell all ranges of RFC 3629 §4 apart.
    const CONTINUATIONS: [u8; 6] = [0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf];

    /// Whether some way to go on, of at most three bytes, makes `prefix` valid text. Brute force.
    fn can_become_valid(prefix: &[u8]) -> bool {
        let mut text = [0; 8];
        text[..prefix.len()].copy_from_slice(prefix);
        (0..=3).any(|more| {
            (0..CONTINUATIONS.len().pow(more)).any(|mut choice| {
                let end = prefix.len() + more as usize;
                for byte in &mut text[prefix.len()..end] {
                    *byte = CONTINUATIONS[choice % CONTINUATIONS.len()];
                    choice /= CONTINUATIONS.len();
                }
                std::str::from_utf8(&text[..end]).is_ok()
            })
        })
    }

    /// Pushes `bytes` one by one and returns how many were taken before the refusal, if any.
    fn refused_at(bytes: &[u8]) -> Option<usize> {
        let mut stream = Utf8Stream::default();
        bytes.iter().position(|byte| stream.push(&[*byte]).is_err())
    }

    #[test]
    fn a_prefix_is_refused_exactly_when_nothing_can_save_it() {
        for first in 0..=0xff_u8 {
            let is_first_hopeless = !can_become_valid(&[first]);
            for second in 0..=0xff_u8 {
                let bytes = [first, second];
                let expected = match is_first_hopeless {
                    true => Some(0),
                    false => (!can_become_valid(&bytes)).then_some(1),
                };
                assert_eq!(refused_at(&bytes), expected, "{bytes:02x?}");
                let mut whole = Utf8Stream::default();
                assert_eq!(whole.push(&bytes).is_err(), expected.is_some(), "{bytes:02x?} in one piece");
            }
        }
    }

    #[test]
    fn third_and_fourth_bytes_are_refused_at_once() {
        for prefix in [&[0xe0, 0xa0][..], &[0xed, 0x9f], &[0xf0, 0x90], &[0xf4, 0x8f], &[0xf4, 0x8f, 0xbf]] {
            for next in 0..=0xff_u8 {
                let bytes = [prefix, &[next]].concat();
                let expected = (!can_become_valid(&bytes)).then_some(prefix.len());
                assert_eq!(refused_at(&bytes), expected, "{bytes:02x?}");
            }
        }
    }

    #[test]
    fn the_known_hopeless_prefixes_are_refused() {
        assert_eq!(refused_at(&[0xf4, 0x90]), Some(1));
        assert_eq!(refused_at(&[0xed, 0xa0]), Some(1));
        assert_eq!(refused_at(&[0xc0]), Some(0));
        assert_eq!(refused_at(&[0xf5]), Some(0));
    }

    #[test]
    fn text_that_ends_inside_a_character_is_refused_at_its_end() {
        let mut stream = Utf8Stream::default();
        assert!(stream.push("κόσμε".as_bytes()).is_ok());
        assert!(stream.finish().is_ok());
        assert!(stream.push(&[0xce]).is_ok());
        assert!(stream.push(&[]).is_ok());
        assert_eq!(stream.finish(), Err(ProtocolError::InvalidUtf8));
    }
}
