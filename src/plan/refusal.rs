//! Why there is no plan: whose option it is, what it said and what would be accepted.

use std::error::Error;
use std::fmt::{self, Display};

use super::capacity::Resource;
use super::decimal::Decimal;
use super::text::{counted, grouped};

/// Why inputs were refused. All of it is the caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is neither a load nor a limit.
    Nothing,
    /// A number is not in its range.
    Range {
        /// The option.
        option: &'static str,
        /// What it was.
        given: Decimal,
        /// What it may be.
        accepted: String,
    },
    /// An option needs another one.
    Lacks {
        /// The option.
        option: &'static str,
        /// The one that is missing.
        lacking: &'static str,
    },
    /// The shares of the publishes do not sum up to 1.
    Shares {
        /// What they sum up to.
        sum: Decimal,
    },
    /// A room has more connected members than there are connections.
    Crowd {
        /// Members of the room.
        members: u64,
        /// Fraction of them that is connected.
        active: Decimal,
        /// Connections that there are.
        connections: u128,
    },
    /// Every node that there is may fail.
    AllFail {
        /// Nodes that there are.
        nodes: u64,
        /// Nodes that may fail.
        survive: u64,
    },
    /// A node does not take one connection, or one write per second.
    NotOne {
        /// By which resource.
        resource: Resource,
        /// What is left of it after headroom, and what one takes.
        why: String,
    },
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(
                "there is nothing to plan: give a load (--users, or --publishes-per-second with --room-sizes), \
                 a node's limits (--memory, --descriptors, --deliveries-per-second, --egress-gbit), or both, \
                 such as --users 10M --descriptors 1M",
            ),
            Self::Range { option, given, accepted } => {
                write!(f, "{option}: {given} was given; accepted: {accepted}")
            }
            Self::Lacks { option, lacking } => write!(f, "{option} says nothing without {lacking}"),
            Self::Shares { sum } => {
                write!(f, "--room-sizes: the shares sum up to {sum}, and all publishes are 1")
            }
            Self::Crowd { members, active, connections } => write!(
                f,
                "--room-sizes: {} members of which a fraction of {active} (--active) is connected are more than \
                 the {} of all users (--users × --sessions-per-user)",
                grouped(u128::from(*members)),
                counted(*connections, "connection"),
            ),
            Self::AllFail { nodes, survive } => {
                write!(
                    f,
                    "--survive {survive}: of {} (--nodes) none would be left",
                    counted(u128::from(*nodes), "node")
                )
            }
            Self::NotOne { resource, why } => {
                let what = if resource.is_of_writes() { "one write per second" } else { "one connection" };
                write!(f, "{}: a node does not take even {what}: {why}", resource.option())
            }
        }
    }
}

impl Error for Refusal {}
