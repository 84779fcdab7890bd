//! Packet steering: which processors work on what a card's few queues receive, and by which queue each sends.
//!
//! Received packets (RPS) may be given to any processor that is online, whichever of them the server may
//! run on. Source: Linux Documentation/networking/scaling.rst.

use crate::doctor::case::Case;
use crate::doctor::checks::network::{Card, INTERFACES, each};
use crate::doctor::finding::{Finding, Status};
use crate::doctor::words::{count, number_list, several};
use crate::host::tree::Unreadable;

const RECEIVE: &str = "packet-steering";
const SEND: &str = "transmit-steering";

/// The processors that are online, as a list such as `0-3,8`.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Queues whose commands are all told.
const COMMANDS_TOLD: usize = 4;

/// RPS where a card has fewer queues than there are processors.
pub fn receive(case: &Case<'_>) -> Vec<Finding> {
    each(RECEIVE, case, |card, processors| {
        let name = &card.name;
        if card.receive.len() as u64 >= processors {
            let found = format!("{name}: not needed, it has a queue for each processor");
            return Ok(Finding::new(RECEIVE, Status::Pass, found));
        }
        let is_on = is_on(case, card)?;
        let status = if is_on { Status::Pass } else { Status::Warn };
        let found = format!("{name}: RPS is {}", if is_on { "on" } else { "off" });
        let masks = format!("{INTERFACES}/{name}/queues/rx-*/rps_cpus");
        Ok(Finding::new(RECEIVE, status, found)
            .needed("every receive queue steered to all processors")
            .why("with fewer queues than processors, receive packet steering spreads the work of TCP over the rest")
            .fix(match online(case) {
                Some(online) => format!("`echo {} | tee {masks}`", mask(&online)),
                None => format!("`echo MASK | tee {masks}`, where MASK has a bit for each processor of {ONLINE}"),
            }))
    })
}

/// XPS where a card has several queues to send and fewer than there are processors.
pub fn send(case: &Case<'_>) -> Vec<Finding> {
    each(SEND, case, |card, processors| {
        let name = &card.name;
        let queues = card.send.len() as u64;
        let found =
            format!("{name}: {} to send, {}", several(queues, "queue"), several(processors, "processor"));
        if queues == 0 {
            let why = "the card shows no queue to send, so what it is sent by is not known";
            return Ok(Finding::cannot_tell(SEND, found, why));
        }
        if queues == 1 || queues >= processors {
            let why =
                if queues == 1 { "every processor sends by the one queue" } else { "each may have its own" };
            return Ok(Finding::new(SEND, Status::Pass, found).why(why));
        }
        let is_mapped = is_mapped(case, card)?;
        let status = if is_mapped { Status::Pass } else { Status::Warn };
        let found = format!("{found}, XPS is {}", if is_mapped { "on" } else { "off" });
        Ok(Finding::new(SEND, status, found)
            .needed(format!("each of the {} queues mapped to some of the processors", count(queues)))
            .why(
                "without a map a connection's packets go to a queue by a hash of its addresses: processors wait for \
                 each other's locks, and packets that were sent are freed far from who sent them",
            )
            .fix(match online(case) {
                Some(online) => commands(card, &online),
                None => format!("`echo MASK > {INTERFACES}/{name}/queues/tx-N/xps_cpus` for each N, by {ONLINE}"),
            }))
    })
}

/// Whether each of a card's receive queues is steered to some processor.
pub fn is_on(case: &Case<'_>, card: &Card) -> Result<bool, Unreadable> {
    for queue in &card.receive {
        if is_empty(&case.tree.text(&format!("{INTERFACES}/{}/queues/{queue}/rps_cpus", card.name))?) {
            return Ok(false);
        }
    }
    Ok(!card.receive.is_empty())
}

/// Whether each of a card's queues to send belongs to some processor or, by the other map that there is, to
/// some queue to receive. Drivers with enough queues make the first themselves.
fn is_mapped(case: &Case<'_>, card: &Card) -> Result<bool, Unreadable> {
    for queue in &card.send {
        let place = format!("{INTERFACES}/{}/queues/{queue}", card.name);
        let of_processors = case.tree.text(&format!("{place}/xps_cpus"))?;
        let of_queues = case.tree.text(&format!("{place}/xps_rxqs")).unwrap_or_default();
        if is_empty(&of_processors) && is_empty(&of_queues) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a mask such as `0000,00000000` has no bit.
fn is_empty(mask: &str) -> bool {
    mask.chars().all(|digit| matches!(digit, '0' | ','))
}

/// What deals the processors `online` out to the queues of `card`; of many queues the first ones.
fn commands(card: &Card, online: &[u64]) -> String {
    let queues = card.send.len();
    let command = |queue: usize| {
        let own: Vec<_> = online.iter().copied().skip(queue).step_by(queues).collect();
        format!("`echo {} > {INTERFACES}/{}/queues/tx-{queue}/xps_cpus`", mask(&own), card.name)
    };
    let told: Vec<_> = (0..queues.min(COMMANDS_TOLD)).map(command).collect();
    let rest = if queues > COMMANDS_TOLD { ", and so on" } else { "" };
    format!("{}{rest}", told.join(", "))
}

/// The processors that are online; nothing if the box does not tell.
fn online(case: &Case<'_>) -> Option<Vec<u64>> {
    number_list(&case.tree.text(ONLINE).ok()?).filter(|numbers| !numbers.is_empty())
}

/// The mask of `processors`, as Linux reads it: groups of 32 bits, the highest first.
fn mask(processors: &[u64]) -> String {
    let mut groups = vec![0_u32];
    for processor in processors {
        let group = (processor / 32) as usize;
        groups.resize(groups.len().max(group + 1), 0);
        groups[group] |= 1 << (processor % 32);
    }
    let (highest, rest) = groups.split_last().expect("there is a group from the start on");
    let rest: String = rest.iter().rev().map(|group| format!(",{group:08x}")).collect();
    format!("{highest:x}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_a_bit_for_each_processor_in_groups_of_32() {
        let first = |processors: u64| mask(&(0..processors).collect::<Vec<_>>());
        assert_eq!((first(2), first(32), first(40)), ("3".into(), "ffffffff".into(), "ff,ffffffff".into()));
        assert_eq!(
            (mask(&[4, 5]), mask(&[64]), mask(&[])),
            ("30".into(), "1,00000000,00000000".into(), "0".into())
        );
    }
}
