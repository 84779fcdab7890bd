//! What is kept for how long, and that the disk gets smaller when it no longer is.

use super::*;

fn sweep_all(store: &mut Embedded, now_ms: u64) -> usize {
    let mut calls = 1;
    while store.sweep(now_ms).unwrap() {
        calls += 1;
    }
    calls
}

#[test]
fn a_room_that_nobody_uses_is_forgotten_with_everything_of_it() {
    let scratch = Scratch::new("forgotten");
    let mut store = open(scratch.path());
    let before = append(&mut store, "room", "one").unwrap();
    store.commit().unwrap();
    sweep_all(&mut store, NOW_MS + FSYNC.meta_ttl_ms - 1);
    assert_eq!(store.peek("room", &FSYNC, NOW_MS + FSYNC.meta_ttl_ms - 1).unwrap(), Some(before));
    let later_ms = NOW_MS + FSYNC.meta_ttl_ms * 2;
    sweep_all(&mut store, later_ms);
    let engine = store.engine.as_ref().unwrap();
    // The count of dropped entries.
    assert_eq!(engine.rooms.len().unwrap(), 1);
    assert!(engine.due.is_empty().unwrap());
    let after = store.position("room", &FSYNC, later_ms).unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.offset, 0);
}

#[test]
fn a_room_has_one_entry_that_is_due_whatever_happens_to_it() {
    let scratch = Scratch::new("one-entry");
    let mut store = open(scratch.path());
    let mut now_ms = NOW_MS;
    for step in 0..200 {
        now_ms += 37_000 * (step % 7);
        match step % 5 {
            0 => drop(store.position("room", &FSYNC, now_ms).unwrap()),
            1 | 2 => drop(store.append("room", &FSYNC, now_ms, &Bytes::from("body"), None).unwrap()),
            3 => store.clear("room", &FSYNC, now_ms).unwrap(),
            _ => drop(store.sweep(now_ms).unwrap()),
        }
        if step % 3 == 0 {
            store.commit().unwrap();
            assert!(store.engine.as_ref().unwrap().due.len().unwrap() <= 1, "step {step}");
        }
    }
}

#[test]
fn a_busy_room_is_looked_at_once_per_ttl_and_never_loses_what_is_young() {
    let scratch = Scratch::new("busy");
    let mut store = open(scratch.path());
    for step in 0..1_000 {
        let now_ms = NOW_MS + step * 1_000;
        store.append("room", &FSYNC, now_ms, &Bytes::from("body"), None).unwrap();
        store.commit().unwrap();
        store.sweep(now_ms).unwrap();
    }
    let now_ms = NOW_MS + 999_000;
    assert_eq!(store.read("room", &FSYNC, now_ms, ALL).unwrap().len(), 100);
    // 1,000 publishes, 900 / 100 records for the window, 1,000,000 / 100,000 looks.
    assert!(count(&store.stats().commits) < 1_030, "{}", count(&store.stats().commits));
}

#[test]
fn one_call_of_sweep_does_a_bounded_part() {
    let scratch = Scratch::new("bounded-sweep");
    let mut store = open(scratch.path());
    for room in 0..1_000 {
        append(&mut store, &format!("room-{room}"), "body").unwrap();
    }
    store.commit().unwrap();
    assert_eq!(sweep_all(&mut store, NOW_MS + FSYNC.ttl_ms), 4);
    assert_eq!(sweep_all(&mut store, NOW_MS + FSYNC.ttl_ms), 1);
    assert_eq!(store.read("room-500", &FSYNC, NOW_MS, ALL).unwrap(), []);
    assert_eq!(store.position("room-500", &FSYNC, NOW_MS).unwrap().offset, 1);
}

#[test]
fn a_sweep_leaves_alone_what_is_staged() {
    let scratch = Scratch::new("sweep-staged");
    let mut store = open(scratch.path());
    append(&mut store, "room", "old").unwrap();
    append(&mut store, "other", "old").unwrap();
    store.commit().unwrap();
    let now_ms = NOW_MS + FSYNC.ttl_ms;
    store.append("room", &FSYNC, now_ms, &Bytes::from("new"), None).unwrap();
    store.sweep(now_ms).unwrap();
    store.commit().unwrap();
    sweep_all(&mut store, now_ms);
    drop(store);
    let mut store = open(scratch.path());
    let room = store.read("room", &FSYNC, now_ms, ALL).unwrap();
    assert_eq!((room.len(), room[0].offset), (1, 2));
    assert_eq!(store.read("other", &FSYNC, NOW_MS, ALL).unwrap(), []);
}

#[test]
fn the_top_of_a_room_survives_all_its_messages() {
    let scratch = Scratch::new("top");
    let mut store = open(scratch.path());
    for _ in 0..30 {
        append(&mut store, "room", "body").unwrap();
    }
    store.commit().unwrap();
    let before = store.position("room", &FSYNC, NOW_MS).unwrap();
    sweep_all(&mut store, NOW_MS + FSYNC.ttl_ms);
    assert!(store.engine.as_ref().unwrap().flush());
    store.engine.as_ref().unwrap().messages.major_compact().unwrap();
    assert!(store.engine.as_ref().unwrap().messages.is_empty().unwrap());
    drop(store);
    let mut store = open(scratch.path());
    assert_eq!(store.position("room", &FSYNC, NOW_MS + FSYNC.ttl_ms).unwrap(), before);
}

#[test]
fn files_get_smaller_when_messages_are_no_longer_kept() {
    let scratch = Scratch::new("smaller");
    let mut store = open(scratch.path());
    let body = "z".repeat(1_000);
    for _ in 0..300 {
        for room in 0..100 {
            append(&mut store, &format!("room-{room}"), &body).unwrap();
        }
        store.commit().unwrap();
    }
    assert!(store.engine().unwrap().flush(), "what is in memory becomes tables");
    let full = store.tables_bytes();
    let written = 300 * 100 * 1_000;
    assert!(full > written / 3, "most of {written} has become tables: {full}");
    let now_ms = NOW_MS + FSYNC.ttl_ms;
    let mut calls = 0;
    while store.tables_bytes() > full / 20 {
        store.sweep(now_ms).unwrap();
        store.reclaim.wait();
        calls += 1;
        assert!(calls < 50, "still {} of {full} bytes", store.tables_bytes());
    }
}
