//! `[admission]`: who is let in, how fast, and while there is memory.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// What a trusted balancer is named by, for errors.
const NEEDED: &str = "an IP address or a network, such as \"192.0.2.1\" or \"10.0.0.0/8\"";

/// `[admission]`: all is off unless it is set; 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Connections a second that the server accepts; more are left to the kernel's queue.
    pub accepts_per_second: u32,
    /// Upgrades a second that the server takes in; more are answered 503.
    pub connects_per_second: u32,
    /// Connections that one address may have, an IPv6 one with all of its /64; one more is answered 429.
    pub connections_per_address_max: u32,
    /// Connections a second that one such address may make; one more is answered 429.
    pub connects_per_second_per_address: u32,
    /// Part of the memory, of the box or of the server's control group, above which new connections are
    /// answered 503. At most 99.
    pub memory_max_percent: u32,
    /// Balancers that begin with a PROXY header.
    #[serde(deserialize_with = "networks")]
    pub proxy_protocol_from: Vec<IpNet>,
}

impl Admission {
    /// What of it is on, in words for `throng check-config`; none if nothing is.
    pub fn summary(&self) -> Option<String> {
        let balancers: Vec<_> = self.proxy_protocol_from.iter().map(ToString::to_string).collect();
        let parts = [
            (self.accepts_per_second, "accepts a second"),
            (self.connects_per_second, "connects a second"),
            (self.connections_per_address_max, "connections of one address"),
            (self.connects_per_second_per_address, "connects a second of one address"),
            (self.memory_max_percent, "% of the memory"),
        ];
        let limits = parts.into_iter().filter(|(limit, _)| *limit > 0);
        let limits = limits.map(|(limit, what)| match what.strip_prefix('%') {
            Some(what) => format!("{limit} %{what}"),
            None => format!("{limit} {what}"),
        });
        let proxy = (!balancers.is_empty()).then(|| format!("PROXY headers from {}", balancers.join(", ")));
        let told: Vec<_> = limits.chain(proxy).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks = Vec::<Network>::deserialize(deserializer)?;
    Ok(networks.into_iter().map(|network| network.0).collect())
}

struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Refused inside the visitor, toml knows the place of the array's element.
        deserializer.deserialize_str(NetworkVisitor)
    }
}

struct NetworkVisitor;

impl Visitor<'_> for NetworkVisitor {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NEEDED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Network, E> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| E::custom(format!("\"{text}\" is not {NEEDED}")))?,
        };
        // Who is trusted should not have to be worked out.
        if network != network.trunc() {
            let whole = network.trunc();
            return Err(E::custom(format!("\"{text}\" has bits behind its length; needed: \"{whole}\"")));
        }
        Ok(Network(network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::config::Config;

    fn parse(text: &str) -> Admission {
        Config::parse(&format!("[admission]\n{text}"), "t.toml").unwrap().admission
    }

    #[test]
    fn balancers_are_addresses_or_networks() {
        let admission = parse("proxy_protocol_from = ['10.0.0.0/8', '127.0.0.1', '2001:db8::/32', '::1']");
        let networks: Vec<_> = admission.proxy_protocol_from.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/8", "127.0.0.1/32", "2001:db8::/32", "::1/128"]);
    }

    #[test]
    fn what_is_no_network_is_refused_in_words() {
        for (found, said) in [
            ("'balancer'", "\"balancer\" is not an IP address or a network, such as"),
            ("'10.0.0.0/33'", "\"10.0.0.0/33\" is not an IP address or a network, such as"),
            ("'10.1.2.3/8'", "\"10.1.2.3/8\" has bits behind its length; needed: \"10.0.0.0/8\""),
            ("7", "`admission.proxy_protocol_from` is the integer `7`; needed: an IP address or a network"),
        ] {
            let text = format!("[admission]\nproxy_protocol_from = [{found}]");
            let error = Config::parse(&text, "t.toml").unwrap_err().to_string();
            assert!(error.starts_with("t.toml:2: ") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_is_on_is_told_in_words() {
        assert_eq!(Admission::default().summary(), None);
        let admission = parse(
            "accepts_per_second = 1\nconnects_per_second = 2\nconnections_per_address_max = 3\n\
             connects_per_second_per_address = 4\nmemory_max_percent = 95\nproxy_protocol_from = ['::1']",
        );
        assert_eq!(
            admission.summary().unwrap(),
            "1 accepts a second, 2 connects a second, 3 connections of one address, \
             4 connects a second of one address, 95 % of the memory, PROXY headers from ::1/128"
        );
    }
}
