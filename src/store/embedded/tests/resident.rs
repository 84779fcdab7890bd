//! What is in memory, and what is read from the disk.

use super::*;

fn fill(store: &mut Embedded, rooms: usize, per_room: usize) {
    for room in 0..rooms {
        for number in 0..per_room {
            append(store, &format!("room-{room}"), &format!("body {number}")).unwrap();
        }
        if room % 1_000 == 999 {
            store.commit().unwrap();
        }
    }
    store.commit().unwrap();
}

#[test]
fn readers_of_the_same_publications_read_the_disk_once() {
    let scratch = prepared("once", |store| fill(store, 1, 50));
    let mut store = open(scratch.path());
    let ten = Range { since: Some(40), limit: 300, bytes_max: usize::MAX, reverse: false };
    store.position("room-0", &FSYNC, NOW_MS).unwrap();
    let first = store.read("room-0", &FSYNC, NOW_MS, ten).unwrap();
    assert_eq!(first.len(), 10);
    let stats = store.stats();
    let reads = count(&stats.reads);
    assert!(count(&stats.read_bytes) < 2_000, "only what was asked: {}", count(&stats.read_bytes));
    for _ in 0..1_000 {
        store.position("room-0", &FSYNC, NOW_MS).unwrap();
        assert_eq!(store.read("room-0", &FSYNC, NOW_MS, ten).unwrap(), first);
    }
    assert_eq!(count(&stats.reads), reads);
}

#[test]
fn what_was_just_published_is_read_from_memory() {
    let scratch = Scratch::new("recent");
    let mut store = open(scratch.path());
    fill(&mut store, 1, 50);
    let stats = store.stats();
    let reads = count(&stats.reads);
    assert_eq!(kept(&mut store, "room-0").1.len(), 50);
    assert_eq!(count(&stats.reads), reads);
}

#[test]
fn rooms_in_memory_are_bounded_in_bytes_whatever_is_on_the_disk() {
    let scratch = Scratch::new("bounded");
    let mut store = open(scratch.path());
    fill(&mut store, 20_000, 1);
    let stats = store.stats();
    assert!(count(&stats.resident_bytes) <= OPTIONS.cache_bytes_max as u64);
    assert!((500..5_000).contains(&count(&stats.rooms_resident)), "{}", count(&stats.rooms_resident));
    for room in [0, 1, 10_000, 19_999] {
        assert_eq!(kept(&mut store, &format!("room-{room}")).1, [(1, "body 0".into())]);
    }
}

#[test]
fn rooms_with_something_staged_stay_until_the_commit() {
    let scratch = Scratch::new("staged");
    let options = EmbeddedOptions { cache_bytes_max: 0, ..OPTIONS };
    let mut store = Embedded::open(scratch.path(), options).unwrap();
    for room in 0..300 {
        append(&mut store, &format!("room-{room}"), "staged").unwrap();
    }
    let stats = store.stats();
    assert_eq!(count(&stats.rooms_resident), 300);
    for room in 0..300 {
        assert_eq!(kept(&mut store, &format!("room-{room}")).1, [(1, "staged".into())]);
    }
    store.commit().unwrap();
    assert_eq!(count(&stats.rooms_resident), 1);
}

#[test]
fn a_store_of_many_rooms_opens_without_reading_them() {
    let scratch = Scratch::new("many");
    let mut store = open(scratch.path());
    fill(&mut store, 200_000, 1);
    let written = count(&store.stats().written_bytes);
    drop(store);
    let mut store = open(scratch.path());
    let stats = store.stats();
    assert_eq!((count(&stats.reads), count(&stats.rooms_resident)), (0, 0));
    assert_eq!(kept(&mut store, "room-123456").1, [(1, "body 0".into())]);
    assert!(count(&stats.reads) <= 3);
    // What is replayed is bounded, and the rest of what was written is in tables.
    let journals: u64 =
        files(scratch.path(), ".jnl").iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(journals <= 256 << 20, "{journals} of {written}");
}

#[test]
fn an_ordinary_publish_is_one_insert() {
    let scratch = Scratch::new("one-insert");
    let mut store = open(scratch.path());
    append(&mut store, "room", "first").unwrap();
    store.commit().unwrap();
    let stats = store.stats();
    let before = count(&stats.written_bytes);
    append(&mut store, "room", "second").unwrap();
    store.commit().unwrap();
    let key = 2 + "room".len() + 8 + 8;
    assert_eq!(count(&stats.written_bytes) - before, (key + 8 + "second".len()) as u64);
}

#[test]
fn rooms_that_are_published_to_in_turn_stay_in_memory_with_fewer_publications_each() {
    let scratch = Scratch::new("in-turn");
    let mut store = open(scratch.path());
    let body = "x".repeat(200);
    let mut publish_to_all = |times: usize| {
        for _ in 0..times {
            for room in 0..500 {
                append(&mut store, &format!("room-{room}"), &body).unwrap();
            }
            store.commit().unwrap();
        }
        count(&store.stats().reads)
    };
    let reads = publish_to_all(1);
    assert_eq!(publish_to_all(30), reads, "no room had to be read again");
    assert_eq!(count(&store.stats().rooms_resident), 500);
    assert!(count(&store.stats().resident_bytes) <= OPTIONS.cache_bytes_max as u64);
    assert_eq!(kept(&mut store, "room-7").1.len(), 31);
}

#[test]
fn readers_that_get_only_as_many_bytes_as_they_may_read_the_disk_once_too() {
    // The last ones alone take what one room may have in memory.
    let long = "x".repeat(10_000);
    let scratch = prepared("bytes", |store| {
        for _ in 0..50 {
            append(store, "room", &long).unwrap();
        }
        store.commit().unwrap();
    });
    let mut store = open(scratch.path());
    let all = Range { bytes_max: 125_000, reverse: true, ..ALL };
    store.read("room", &FSYNC, NOW_MS, all).unwrap();
    for reverse in [false, true] {
        let range = Range { since: None, limit: 300, bytes_max: 55_000, reverse };
        let first = store.read("room", &FSYNC, NOW_MS, range).unwrap();
        assert_eq!(first.len(), 5);
        let stats = store.stats();
        let reads = count(&stats.reads);
        for _ in 0..100 {
            assert_eq!(store.read("room", &FSYNC, NOW_MS, range).unwrap(), first);
        }
        assert_eq!(count(&stats.reads), reads);
    }
}
