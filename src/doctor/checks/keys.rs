//! Keys of sysctl that are judged by nothing but what their shipped file says of them.

use crate::doctor::case::Case;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::sysctl::{Judgement, Setting, of_check};
use crate::host::tree::Why;

/// A finding for each key that the shipped files give to `check`. Where the clients are on the box
/// too, as for twice the connections: by the rule of `--print-sysctl`.
pub fn findings(check: &'static str, case: &Case<'_>) -> Vec<Finding> {
    let connections = case.goal().saturating_mul(case.ends());
    of_check(check).map(|setting| finding(check, setting, case, connections)).collect()
}

/// What `check` says of one key, for a box with `connections`.
pub fn finding(check: &'static str, setting: &Setting, case: &Case<'_>, connections: u64) -> Finding {
    let key = &setting.key;
    let facts = case.facts(connections);
    let told = |finding: Finding| Finding {
        unit: Some(setting.unit.clone()),
        default: Some(setting.default.clone()),
        cost: Some(setting.cost.clone()),
        source: Some(setting.source.clone()),
        ..finding
    };
    let text = match case.sysctl(key) {
        Ok(text) => text,
        Err(error) if setting.is_optional && error.why == Why::Missing && case.place.shows_all() => {
            return Finding::new(check, Status::Pass, format!("{key} is not in use"))
                .why(setting.why.clone());
        }
        Err(error) => return told(case.cannot_tell(check, &error)),
    };
    let found = format!("{key} = {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
    let needed = match setting.value.len() {
        1 => setting.explained(&facts),
        _ => setting.wanted_text(&facts),
    };
    match setting.judge(&text, &facts) {
        Judgement::Met => {
            told(Finding::new(check, Status::Pass, found).needed(needed).why(setting.why.clone()))
        }
        Judgement::Short { wanted } => told(
            Finding::new(check, Status::Warn, found)
                .needed(needed)
                .why(setting.why.clone())
                .fix(remedy(setting, case, &wanted)),
        ),
        Judgement::Unparsable => told(Finding::cannot_tell(
            check,
            found,
            format!("{key} holds something else than {} ({})", setting.unit, setting.title),
        )),
    }
}

/// What brings `setting` to `wanted`.
pub fn remedy(setting: &Setting, case: &Case<'_>, wanted: &str) -> String {
    match &setting.instead {
        // A command names where the number goes; what is no command is told the number behind it.
        Some(other) if other.contains('…') => other.replace('…', wanted),
        Some(other) => format!("{other} ({wanted})"),
        None => case.place.set(&setting.key, wanted),
    }
}
