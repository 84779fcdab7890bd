//! Addresses as the file and the command line write them: an IP and a port.
//!
//! Host names are refused on purpose: one may stand for several addresses, or for others
//! tomorrow, and what a server listens on decides who may come in.

use std::fmt;
use std::net::SocketAddr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// What an address looks like, for errors.
const NEEDED: &str = "an IP address with a port, such as \"127.0.0.1:8000\" or \"[::1]:8000\"";

/// Reads an address.
///
/// # Errors
///
/// `text` is not one; the message says what one looks like.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not {NEEDED}"))
}

/// Reads one address of the file.
pub(super) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    Address::deserialize(deserializer).map(|address| address.0)
}

/// Reads an array of addresses of the file.
pub(super) fn several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let addresses = Vec::<Address>::deserialize(deserializer)?;
    Ok(addresses.into_iter().map(|address| address.0).collect())
}

struct Address(SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Refused inside the visitor, toml knows the place of the array's element.
        deserializer.deserialize_str(AddressVisitor)
    }
}

struct AddressVisitor;

impl Visitor<'_> for AddressVisitor {
    type Value = Address;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NEEDED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Address, E> {
        parse_address(text).map(Address).map_err(E::custom)
    }
}
