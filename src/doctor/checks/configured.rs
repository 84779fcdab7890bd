//! What the server's own configuration allows.

use crate::doctor::case::Case;
use crate::doctor::finding::{Finding, Strength, Wall};
use crate::doctor::words::count;

/// `limits.connections_max`. Nothing if it is not set.
pub fn connections_max(case: &Case<'_>) -> Vec<Finding> {
    let connections = case.setup.connections_max;
    if connections == 0 {
        return Vec::new();
    }
    let remedy = "set limits.connections_max higher, or 0 for what the box allows".to_owned();
    let finding = Finding::new(
        "connections-max",
        case.status(connections),
        format!("limits.connections_max = {}", count(connections)),
    )
    .needed(count(case.goal()))
    .why("the configuration bounds the connections of the server")
    .fix(remedy.clone())
    .wall(Wall {
        name: "limits.connections_max",
        connections,
        strength: Strength::Hard,
        beyond: "a shard takes no more, and suspends its listeners",
        remedy,
    });
    vec![finding]
}
