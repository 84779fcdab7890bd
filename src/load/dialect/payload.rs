//! The payload of a publish, `{"seq":"0000000042xxx…"}`: JSON of any length that carries a number.

/// The shortest payload that can carry a sequence number: `{"seq":"0000000000"}`.
pub const PAYLOAD_BYTES_MIN: usize = SEQUENCE_PREFIX.len() + SEQUENCE_DIGITS + 2;

const SEQUENCE_PREFIX: &[u8] = br#"{"seq":""#;
const SEQUENCE_DIGITS: usize = 10;

/// Appends the payload with number `sequence`, `payload_bytes` long, at least [`PAYLOAD_BYTES_MIN`].
pub fn write_payload(out: &mut Vec<u8>, sequence: u64, payload_bytes: usize) {
    let end = out.len() + payload_bytes.max(PAYLOAD_BYTES_MIN) - 2;
    out.extend_from_slice(SEQUENCE_PREFIX);
    out.extend_from_slice(format!("{sequence:0width$}", width = SEQUENCE_DIGITS).as_bytes());
    out.resize(end, b'x');
    out.extend_from_slice(br#""}"#);
}

/// The sequence number inside a message, wherever its payload stands.
pub fn sequence(message: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(message, SEQUENCE_PREFIX)? + SEQUENCE_PREFIX.len();
    std::str::from_utf8(message.get(at..at + SEQUENCE_DIGITS)?).ok()?.parse().ok()
}
