//! Arbitrary bytes as a message of the client protocol: nothing panics, and whatever a command
//! brings into a reply or a push comes out as one line of valid JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use throng::limits::CHANNEL_BYTES_MAX;
use throng::protocol::{self, ChannelName, ClientId, ClientInfo, ErrorCode, Method, push, reply};

fn assert_one_json_line(text: &[u8]) {
    assert!(!text.contains(&b'\n'), "a newline ends a reply");
    serde_json::from_slice::<&RawValue>(text).expect("a reply is JSON");
}

fuzz_target!(|message: &[u8]| {
    for line in protocol::lines(message) {
        let Ok(command) = protocol::parse_bytes(line) else { continue };
        assert!(command.id > 0 || matches!(command.method, Method::Send(_) | Method::Pong));
        let mut out = Vec::new();
        reply::error(&mut out, command.id, ErrorCode::BadRequest);
        assert_one_json_line(&out);
        let Some(channel) = command.method.channel() else { continue };
        assert!(!channel.is_empty());
        if let Ok(name) = ChannelName::parse(channel, CHANNEL_BYTES_MAX) {
            assert!(name.full().len() <= CHANNEL_BYTES_MAX);
            name.allows_user("17");
            name.is_valid(None);
        }
        if let Method::Publish(request) = &command.method
            && let Some(data) = request.data
        {
            let user = channel;
            let info = ClientInfo { user, client: ClientId::new([7; 16]), conn_info: None, chan_info: None };
            out.clear();
            push::publication(&mut out, &protocol::quote(channel), data.get(), Some(&info), None);
            assert_one_json_line(&out);
        }
    }
});
