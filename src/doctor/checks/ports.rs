//! Source ports: what bounds clients that are few machines, such as load generators and proxies.
//!
//! A connection is named by two addresses and two ports. Clients of their own address each never run
//! out; a proxy or a load generator has one port less for each connection to the same listener.

use crate::doctor::case::Case;
use crate::doctor::checks::keys;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::words::{count, several};
use crate::host::tree::{sysctl_path, unexpected};

const RANGE: &str = "port-range";
const TUPLES: &str = "tuples";
const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";

/// The range that the kernel chooses source ports from: it matters if clients or a proxy are here.
pub fn range(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = keys::findings(RANGE, case);
    if !case.setup.with_clients {
        for finding in findings.iter_mut().filter(|finding| finding.status == Status::Warn) {
            finding.status = Status::Pass;
            finding.why =
                format!("only for a proxy or load generator on this box (--with-clients): {}", finding.why);
            finding.fix = None;
        }
    }
    findings
}

/// Combinations of addresses and ports for one source address, and the addresses that the goal needs.
pub fn tuples(case: &Case<'_>) -> Vec<Finding> {
    let ports = match ports_per_source(case) {
        Ok(ports) => ports,
        Err(finding) => return vec![*finding],
    };
    let listeners = case.setup.addresses.max(1);
    let of_source = ports.saturating_mul(listeners);
    let sources = case.goal().div_ceil(of_source.max(1));
    let found = format!("{} connections from one source address", count(of_source));
    let why = "a source address has each of its ports once for every address and port of the server; then \
               connect(2) fails with EADDRNOTAVAIL";
    let status = if case.setup.with_clients && sources > 1 { Status::Warn } else { Status::Pass };
    vec![
        Finding::new(TUPLES, status, found)
            .needed(format!("{} for {}", several(sources, "source address"), count(case.goal())))
            .why(why)
            .fix(format!(
                "{} source addresses (`throng bench … --source-ips {}`, a proxy's own option), or more listeners",
                count(sources),
                sources
            )),
    ]
}

/// Ports that the kernel chooses from for one source address.
fn ports_per_source(case: &Case<'_>) -> Result<u64, Box<Finding>> {
    let text = case.sysctl(PORT_RANGE).map_err(|error| Box::new(case.cannot_tell(TUPLES, &error)))?;
    parse_range(&text)
        .ok_or_else(|| Box::new(case.cannot_tell(TUPLES, &unexpected(&sysctl_path(PORT_RANGE), &text))))
}

/// Ports in a range such as `32768 60999`, both ends included.
pub fn parse_range(text: &str) -> Option<u64> {
    let mut ends = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    (high < 1 << 16).then(|| (high + 1).saturating_sub(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_range_counts_both_ends() {
        assert_eq!(parse_range("32768\t60999\n"), Some(28_232));
        assert_eq!(parse_range("9 8"), Some(0));
        for garbage in ["x", "1", "1 99999", ""] {
            assert_eq!(parse_range(garbage), None, "{garbage}");
        }
    }
}
