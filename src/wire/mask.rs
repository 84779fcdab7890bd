//! Masking of client payloads (RFC 6455 §5.3), in place. The same call masks and unmasks.

/// Applies `mask` to `payload`, which is the part of a frame's payload that begins `offset_bytes`
/// after the payload's start.
///
/// A payload may arrive in pieces: pass how many of its bytes were handled before. Only
/// `offset_bytes % 4` matters.
#[inline]
pub fn apply(payload: &mut [u8], mask: [u8; 4], offset_bytes: usize) {
    let mut mask = mask;
    mask.rotate_left(offset_bytes % 4);
    // Native order on both sides: a word is only a carrier of 4 bytes. The compiler vectorizes and unrolls
    // this plain loop; with blocks of 16 bytes written out by hand it did not, and long payloads took 1.6
    // times as long (benches/results/2026-11-22-2core-xeon/micro-notes.md).
    let key = u32::from_ne_bytes(mask);
    let (words, tail) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_example_unmasks_to_hello() {
        // RFC 6455 §5.7: a single-frame masked text message.
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_length_and_offset_agrees_with_the_definition() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        for length in 0..70 {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
                let mut fast = plain.clone();
                apply(&mut fast, mask, offset);
                let slow: Vec<u8> =
                    plain.iter().enumerate().map(|(i, byte)| byte ^ mask[(i + offset) % 4]).collect();
                assert_eq!(fast, slow, "length {length}, offset {offset}");
            }
        }
    }
}
