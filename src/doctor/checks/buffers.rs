//! Socket buffers: what the server asks for its connections, and what the kernel makes of it.

use crate::doctor::case::Case;
use crate::doctor::checks::keys;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::words::count;

const BUFFERS: &str = "socket-buffers";

/// The keys, and the sizes that the configuration asks for against the largest that may be asked.
pub fn buffers(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = keys::findings(BUFFERS, case);
    let asked = [
        ("SO_SNDBUF", "send_buffer_bytes", case.setup.send_buffer_bytes, "net.core.wmem_max"),
        ("SO_RCVBUF", "receive_buffer_bytes", case.setup.receive_buffer_bytes, "net.core.rmem_max"),
    ];
    for (option, name, bytes, key) in asked {
        // A key that cannot be read has said so above, and 0 asks for nothing.
        let Ok(largest) = case.sysctl_number::<u64>(key) else { continue };
        let finding = match bytes {
            0 => Finding::new(BUFFERS, Status::Pass, format!("{option} is left to the kernel"))
                .why("the kernel grows a buffer while it is used; an idle connection has none"),
            bytes => {
                let status = if bytes <= largest { Status::Pass } else { Status::Warn };
                Finding::new(BUFFERS, status, format!("{option} = {} (`{name}`)", count(bytes)))
                    .needed(format!("{key} of as much, which is {}", count(largest)))
                    .why("the kernel cuts what a socket asks for to this key, silently")
                    .fix(case.place.set(key, &bytes.to_string()))
            }
        };
        findings.push(finding);
    }
    findings
}
