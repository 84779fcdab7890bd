//! A plan for people: tables, for the terminal and for the page alike, and the sentences below them.

use std::fmt::Write as _;

use crate::load::report::Table;
use crate::plan::text::{bytes, counted, grouped};
use crate::plan::{Decimal, Plan, Resource};

/// The whole plan as text.
pub(super) fn text(plan: &Plan) -> String {
    let mut whole = Table::default();
    for (heading, table) in tables(plan) {
        whole.heading(heading);
        table.rows().iter().for_each(|(what, value)| whole.row(what, value));
    }
    let mut text = whole.render();
    // Writing to a String cannot fail.
    if let Some(heading) = changes_heading(plan) {
        let _ = writeln!(text, "\n{heading}");
        for change in &plan.changes {
            let _ = writeln!(text, "  {:>6} with {}", grouped(change.nodes), change.how);
        }
    }
    if !plan.notes.is_empty() {
        text.push('\n');
    }
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// The question that the changes answer, if there are any.
pub(super) fn changes_heading(plan: &Plan) -> Option<String> {
    let now = plan.nodes.as_ref().and_then(|nodes| nodes.with_redundancy)?;
    (!plan.changes.is_empty()).then(|| format!("To need fewer than {}:", counted(now, "node")))
}

/// The tables with their headings; those without a row are left out.
pub(super) fn tables(plan: &Plan) -> Vec<(&'static str, Table)> {
    let all = [
        ("the load", load(plan)),
        ("what one node takes", node(plan)),
        ("nodes", nodes(plan)),
        ("what each node carries", share(plan)),
        ("between the nodes", bus(plan)),
    ];
    all.into_iter().filter(|(_, table)| !table.rows().is_empty()).collect()
}

fn load(plan: &Plan) -> Table {
    let (load, demand) = (&plan.inputs.load, &plan.demand);
    let mut table = Table::default();
    let sessions = match load.sessions_per_user {
        Decimal::ONE => String::new(),
        sessions => {
            format!(" ({} users × {sessions})", grouped(u128::from(load.users.unwrap_or(0))))
        }
    };
    row(&mut table, &format!("connections{sessions}"), demand.connections);
    let mean =
        if load.rooms.len() > 1 { "members of a publish's room, on average" } else { "members of a room" };
    row_decimal(&mut table, mean, demand.mean_room_size);
    let of = if load.excludes_sender { "members but the sender" } else { "members" };
    let active =
        if load.active == Decimal::ONE { String::new() } else { format!(" × {} active", load.active) };
    row_decimal(&mut table, &format!("writes per publish ({of}{active})"), demand.writes_per_publish);
    row_decimal(&mut table, "publishes per second", load.publishes_per_second);
    row(&mut table, "writes per second", demand.writes_per_second);
    if let Some(wire_bytes) = demand.wire_bytes_per_write {
        row(&mut table, "bytes on the wire per write", Some(wire_bytes));
        row_gbit(&mut table, "egress (Gbit/s)", demand.egress_bytes_per_second);
    }
    table
}

/// How a resource comes to its limit.
fn name(plan: &Plan, resource: Resource) -> String {
    let node = &plan.inputs.node;
    let of = match resource {
        Resource::Memory => {
            let memory_bytes = bytes(u128::from(node.memory_bytes.unwrap_or(0)));
            format!(" ({memory_bytes} / {})", bytes(u128::from(node.bytes_per_connection)))
        }
        Resource::Egress => {
            let gbit = node.egress_gbit_per_second.unwrap_or(Decimal::ZERO);
            format!(" ({gbit} Gbit/s)")
        }
        Resource::Descriptors | Resource::Deliveries => String::new(),
    };
    format!("{resource}{of}: {}", resource.unit())
}

fn node(plan: &Plan) -> Table {
    let mut table = Table::default();
    if plan.inputs.fleet.headroom > Decimal::ZERO && !plan.limits.is_empty() {
        table.row("headroom, already taken off below", plan.inputs.fleet.headroom.to_string());
    }
    for limit in &plan.limits {
        row(&mut table, &name(plan, limit.resource), Some(limit.per_node));
    }
    for of_writes in [false, true] {
        let several =
            plan.limits.iter().filter(|limit| limit.resource.is_of_writes() == of_writes).count() > 1;
        if let Some(limit) = plan.node_limit(of_writes).filter(|_| several) {
            let what = format!("so a node takes ({}): {}", limit.resource.binds(), limit.resource.unit());
            row(&mut table, &what, Some(limit.per_node));
        }
    }
    table
}

fn nodes(plan: &Plan) -> Table {
    let mut table = Table::default();
    for limit in &plan.limits {
        let binds = if plan.binding == Some(limit.resource) { " (binds)" } else { "" };
        row(&mut table, &format!("by {}{binds}", limit.resource), limit.nodes);
    }
    let Some(nodes) = &plan.nodes else { return table };
    let fleet = &plan.inputs.fleet;
    row(&mut table, "needed", nodes.needed);
    let mut why = Vec::new();
    if fleet.redundancy > Decimal::ONE {
        why.push(format!("× {}", fleet.redundancy));
    }
    if fleet.survive > 0 {
        why.push(format!("{} may fail", grouped(u128::from(fleet.survive))));
    }
    if !why.is_empty() {
        row(&mut table, &format!("with redundancy ({})", why.join(", ")), nodes.with_redundancy);
    }
    if let Some(given) = nodes.given {
        let judged = match nodes.is_enough {
            Some(true) => "given, which are enough",
            Some(false) => "given, which are NOT enough",
            None => "given",
        };
        row(&mut table, judged, Some(u128::from(given)));
    }
    table
}

fn share(plan: &Plan) -> Table {
    let mut table = Table::default();
    let Some(share) = &plan.per_node else { return table };
    row(&mut table, "connections", share.connections);
    row(&mut table, "writes per second", share.writes_per_second);
    row_gbit(&mut table, "egress (Gbit/s)", share.egress_bytes_per_second);
    let survive = plan.inputs.fleet.survive;
    let failed = format!("with {} failed", counted(u128::from(survive), "node"));
    row(&mut table, &format!("connections {failed}"), share.connections_after_failures);
    row(&mut table, &format!("writes per second {failed}"), share.writes_per_second_after_failures);
    table
}

fn bus(plan: &Plan) -> Table {
    let mut table = Table::default();
    let Some(bus) = &plan.bus else { return table };
    row(&mut table, "bus publishes per publish", Some(1));
    row_decimal(&mut table, "bus deliveries per publish, at most", Some(bus.deliveries_per_publish));
    row_decimal(&mut table, "bus publishes per second", bus.publishes_per_second);
    row(&mut table, "bus deliveries per second, at most", bus.deliveries_per_second);
    table
}

fn row(table: &mut Table, what: &str, amount: Option<u128>) {
    if let Some(amount) = amount {
        table.row(what, grouped(amount));
    }
}

fn row_decimal(table: &mut Table, what: &str, amount: Option<Decimal>) {
    if let Some(amount) = amount {
        table.row(what, amount.to_string());
    }
}

/// `bytes_per_second` in Gbit/s, rounded up to the third decimal.
fn row_gbit(table: &mut Table, what: &str, bytes_per_second: Option<u128>) {
    let gbit =
        bytes_per_second.map(|bytes| Decimal::from_millionths((bytes * 8).div_ceil(1_000_000) * 1_000));
    row_decimal(table, what, gbit);
}
