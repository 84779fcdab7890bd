//! Network cards: queues against processors, interrupts spread over them.
//!
//! A card is what has a device behind it and is up. The loopback interface and virtual ones have no
//! queues of hardware: they are not judged.

use crate::doctor::case::Case;
use crate::doctor::checks::steering;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::words::{count, number_list, several};
use crate::host::tree::Unreadable;

const QUEUES: &str = "nic-queues";
const INTERRUPTS: &str = "interrupts";

/// Where the kernel shows them.
pub const INTERFACES: &str = "/sys/class/net";

/// A network card that is up.
#[derive(Debug)]
pub struct Card {
    /// Its interface, such as `eth0`.
    pub name: String,
    /// Queues of received packets, such as `rx-0`.
    pub receive: Vec<String>,
    /// Queues of packets to send, such as `tx-0`.
    pub send: Vec<String>,
}

/// The cards, or the finding of `check` that says why none is judged.
fn cards(check: &'static str, case: &Case<'_>) -> Result<Vec<Card>, Box<Finding>> {
    let names = case.tree.entries(INTERFACES).map_err(|error| Box::new(case.cannot_tell(check, &error)))?;
    let is_up = |name: &String| {
        let state = case.tree.text(&format!("{INTERFACES}/{name}/operstate"));
        name != "lo" && state.is_ok_and(|state| state == "up" || state == "unknown")
    };
    let (real, virtual_only): (Vec<_>, Vec<_>) = names
        .into_iter()
        .filter(is_up)
        .partition(|name| case.tree.exists(&format!("{INTERFACES}/{name}/device")));
    if real.is_empty() && virtual_only.is_empty() {
        return Err(Box::new(
            Finding::new(check, Status::Pass, "no network card is up")
                .why("loopback has no queues and no interrupts"),
        ));
    }
    if real.is_empty() {
        let why = "a virtual interface's packets arrive by queues of the host's card; ask there (`throng doctor` on the host)";
        return Err(Box::new(Finding::cannot_tell(
            check,
            format!("only virtual interfaces ({})", virtual_only.join(", ")),
            why,
        )));
    }
    let queues = |name: &str| -> Result<Card, Unreadable> {
        let queues = case.tree.entries(&format!("{INTERFACES}/{name}/queues"))?;
        let (receive, send) = queues.into_iter().partition(|queue| queue.starts_with("rx-"));
        Ok(Card { name: name.to_owned(), receive, send })
    };
    let cards: Result<Vec<_>, _> = real.iter().map(|name| queues(name)).collect();
    cards.map_err(|error| Box::new(case.cannot_tell(check, &error)))
}

/// One finding of `check` for each card, by `judge`, which gets the processors too.
pub fn each(
    check: &'static str,
    case: &Case<'_>,
    judge: impl Fn(&Card, u64) -> Result<Finding, Unreadable>,
) -> Vec<Finding> {
    let processors = match &case.processors {
        Ok(processors) => *processors,
        Err(error) => return vec![case.cannot_tell(check, error)],
    };
    match cards(check, case) {
        Err(finding) => vec![*finding],
        Ok(cards) => {
            let judged = cards.iter().map(|card| judge(card, processors));
            judged.map(|finding| finding.unwrap_or_else(|error| case.cannot_tell(check, &error))).collect()
        }
    }
}

/// Queues of each card against the processors.
pub fn queues(case: &Case<'_>) -> Vec<Finding> {
    each(QUEUES, case, |card, processors| {
        let (receive, send) = (card.receive.len() as u64, card.send.len() as u64);
        let is_enough = receive >= processors;
        let is_steered = steering::is_on(case, card)?;
        let status = if is_enough || is_steered { Status::Pass } else { Status::Warn };
        let name = &card.name;
        let found =
            format!("{name}: {receive} to receive, {send} to send, {}", several(processors, "processor"));
        Ok(Finding::new(QUEUES, status, found)
            .needed(format!("{} to receive, or packet steering", count(processors)))
            .why(
                "packets of one queue are handled by one processor, which is then busy with the network alone while \
                 others wait",
            )
            .fix(format!("`ethtool -L {name} combined {processors}` where the card has as many; else packet steering")))
    })
}

/// Interrupts of each card: over how many processors they are spread.
pub fn interrupts(case: &Case<'_>) -> Vec<Finding> {
    each(INTERRUPTS, case, |card, processors| {
        let name = &card.name;
        let busy = busy_interrupts(case, card)?;
        let mut targets = Vec::new();
        for number in &busy {
            let place = format!("/proc/irq/{number}");
            let list = case
                .tree
                .text(&format!("{place}/effective_affinity_list"))
                .or_else(|_| case.tree.text(&format!("{place}/smp_affinity_list")))?;
            targets.extend(number_list(&list).unwrap_or_default());
        }
        targets.sort_unstable();
        targets.dedup();
        let possible = processors.min(busy.len() as u64);
        if busy.is_empty() {
            let why = "the card's interrupts are not told by /sys, or it had none yet";
            return Ok(Finding::cannot_tell(INTERRUPTS, format!("{name}: no interrupt found"), why));
        }
        let spread = targets.len() as u64;
        let status = if spread >= possible { Status::Pass } else { Status::Warn };
        let found = format!(
            "{name}: {} on {}",
            several(busy.len() as u64, "busy interrupt"),
            several(spread, "processor")
        );
        Ok(Finding::new(INTERRUPTS, status, found)
            .needed(format!("{} or more", several(possible, "processor")))
            .why("a processor that takes the interrupts of all queues is the first that is full")
            .fix(
                "`irqbalance`, or `echo CPU > /proc/irq/NUMBER/smp_affinity_list` for each queue's interrupt",
            ))
    })
}

/// Interrupts of a card's queues that came at least once.
fn busy_interrupts(case: &Case<'_>, card: &Card) -> Result<Vec<u64>, Unreadable> {
    let device = format!("{INTERFACES}/{}/device", card.name);
    // A virtio device has its interrupts at the bus device that it sits on.
    let listed = case.tree.entries(&format!("{device}/msi_irqs"));
    let own = listed.or_else(|_| case.tree.entries(&format!("{device}/../msi_irqs"))).unwrap_or_default();
    let table = case.tree.text("/proc/interrupts")?;
    let busy = table.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().split_once(':')?;
        let came =
            rest.split_ascii_whitespace().map_while(|word| word.parse::<u64>().ok()).any(|times| times > 0);
        let belongs = own.iter().any(|own| own == number) || rest.contains(&format!("{}-", card.name));
        (came && belongs).then(|| number.parse().ok()).flatten()
    });
    Ok(busy.collect())
}
