//! Directories that are not as they were left.

use std::io::Write;

use super::super::engine::{Op, Space};
use super::super::record;
use super::super::session::Session;
use super::*;

#[test]
fn a_journal_cut_off_anywhere_in_its_last_batch_opens_with_everything_before() {
    let mut first_bytes = 0;
    let scratch = prepared("torn", |store| {
        append(store, "room", "acknowledged").unwrap();
        store.commit().unwrap();
        first_bytes = written_bytes(&store.dir);
        append(store, "room", "not finished").unwrap();
        store.commit().unwrap();
    });
    let whole = fs::read(journal(scratch.path())).unwrap();
    assert!(first_bytes + 50 < whole.len());
    let torn = Scratch::new("torn-copy");
    for bytes in first_bytes..whole.len() {
        drop(fs::remove_dir_all(torn.path()));
        copy(scratch.path(), torn.path());
        fs::write(journal(torn.path()), &whole[..bytes]).unwrap();
        let mut store = open(torn.path());
        assert_eq!(kept(&mut store, "room").1, [(1, "acknowledged".into())], "cut at {bytes}");
        assert_eq!(append(&mut store, "room", "next").unwrap().offset, 2);
        store.commit().unwrap();
        drop(store);
        let mut store = open(torn.path());
        assert_eq!(kept(&mut store, "room").1, [(1, "acknowledged".into()), (2, "next".into())]);
    }
}

fn written_bytes(dir: &Path) -> usize {
    fs::read(journal(dir)).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn a_journal_with_any_byte_flipped_is_refused_with_what_to_do() {
    let scratch = prepared("flipped", |store| {
        for body in ["one", "two"] {
            append(store, "room", body).unwrap();
            store.commit().unwrap();
        }
    });
    let whole = fs::read(journal(scratch.path())).unwrap();
    let damaged = Scratch::new("flipped-copy");
    // The last batch without its last bytes is what a torn write looks like.
    for at in 0..whole.len() - 4 {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        drop(fs::remove_dir_all(damaged.path()));
        copy(scratch.path(), damaged.path());
        let path = journal(damaged.path());
        fs::write(&path, &flipped).unwrap();
        // A batch's number is covered by no checksum, but has no meaning on its own either.
        let Err(error) = Embedded::open(damaged.path(), OPTIONS) else { continue };
        let text = error.to_string();
        assert!(text.contains("is damaged at byte ") && text.contains("truncate -s "), "{at}: {text}");
        assert_eq!(fs::read(&path).unwrap(), flipped, "what is refused is left as it was");
    }
    assert_eq!(kept(&mut open(scratch.path()), "room").1.len(), 2);
}

/// Makes the session look like that of a machine that failed.
fn lose_power(dir: &Path) {
    fs::write(dir.join("session"), "open 0 another-boot\n").unwrap();
}

#[test]
fn after_the_machine_failed_a_torn_journal_is_cut_and_put_aside() {
    let scratch = prepared("power", |store| {
        for body in ["one", "two"] {
            append(store, "room", body).unwrap();
            store.commit().unwrap();
        }
    });
    let path = journal(scratch.path());
    let mut torn = fs::read(&path).unwrap();
    let at = torn.len() - 30;
    torn[at] ^= 1;
    fs::write(&path, &torn).unwrap();
    refused(scratch.path());
    lose_power(scratch.path());
    // The first start after it may be killed before it has mended anything.
    Session::open(scratch.path()).unwrap().0.forget_lengths().unwrap();
    assert_eq!(kept(&mut open(scratch.path()), "room").1, [(1, "one".into())]);
    let aside = files(scratch.path(), ".torn");
    assert_eq!(aside.len(), 1);
    assert!(torn.ends_with(&fs::read(&aside[0]).unwrap()));
}

#[test]
fn rooms_of_os_durability_begin_a_new_epoch_after_the_machine_failed_and_others_do_not() {
    let body = Bytes::from_static(b"one");
    let scratch = prepared("doubt", |store| {
        store.append("os", &OS, NOW_MS, &body, None).unwrap();
        append(store, "fsync", "one").unwrap();
        store.commit().unwrap();
    });
    let before = {
        let mut store = open(scratch.path());
        (store.peek("os", &OS, NOW_MS).unwrap().unwrap(), kept(&mut store, "fsync"))
    };
    // The end of the process alone changes nothing.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(scratch.path().join("session"), format!("open 0 {boot}")).unwrap();
    assert_eq!(open(scratch.path()).peek("os", &OS, NOW_MS).unwrap(), Some(before.0));

    lose_power(scratch.path());
    let mut store = open(scratch.path());
    assert_eq!(kept(&mut store, "fsync"), before.1);
    assert_eq!(store.peek("os", &OS, NOW_MS).unwrap(), None);
    assert_eq!(store.read("os", &OS, NOW_MS, ALL).unwrap(), []);
    let after = store.append("os", &OS, NOW_MS, &body, None).unwrap().unwrap();
    assert_ne!(after.epoch, before.0.epoch);
    assert_eq!(after.offset, 1);
    store.commit().unwrap();
    drop(store);
    // The loss was counted once.
    assert_eq!(open(scratch.path()).peek("os", &OS, NOW_MS).unwrap(), Some(after));
    assert_eq!(Session::open(scratch.path()).unwrap().0.losses(), 1);
}

#[test]
fn a_damaged_block_makes_its_room_answer_errors_and_no_other() {
    let long = "y".repeat(3_000);
    let scratch = prepared("block", |store| {
        for room in 0..20 {
            for _ in 0..10 {
                append(store, &format!("room-{room:02}"), &long).unwrap();
            }
        }
        store.commit().unwrap();
        assert!(store.engine.as_ref().unwrap().flush());
    });
    let tables = files(&scratch.path().join("db/keyspaces/2/tables"), "");
    let table = tables.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(table, &bytes).unwrap();
    let mut store = open(scratch.path());
    let mut damaged = 0;
    for room in 0..20 {
        let name = format!("room-{room:02}");
        match store.read(&name, &FSYNC, NOW_MS, ALL) {
            Ok(publications) => assert_eq!(publications.len(), 10),
            Err(error) => {
                damaged += 1;
                assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
                let text = error.to_string();
                assert!(text.contains(&name) && text.contains("put back a copy"), "{text}");
            }
        }
        append(&mut store, "another", "goes on").unwrap();
        store.commit().unwrap();
    }
    assert!((1..=2).contains(&damaged), "{damaged} rooms");
}

#[test]
fn a_table_with_any_byte_flipped_opens_or_is_refused_and_never_answers_wrongly() {
    let scratch = prepared("table", |store| {
        append(store, "room", "one").unwrap();
        store.commit().unwrap();
        assert!(store.engine.as_ref().unwrap().flush());
    });
    let table = files(&scratch.path().join("db/keyspaces/2/tables"), "").pop().unwrap();
    let whole = fs::read(&table).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        fs::write(&table, &flipped).unwrap();
        match Embedded::open(scratch.path(), OPTIONS) {
            Ok(mut store) => match store.read("room", &FSYNC, NOW_MS, ALL) {
                Ok(found) => assert_eq!((found.len(), &*found[0].body), (1, &b"one"[..]), "{at}"),
                Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{at}: {error}"),
            },
            Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{at}: {error}"),
        }
    }
}

#[test]
fn another_format_is_refused_with_both_named() {
    let scratch = prepared("format", |_| {});
    fs::write(scratch.path().join("format"), "throng rooms 9\n").unwrap();
    let text = refused(scratch.path());
    assert!(text.contains("\"throng rooms 9\"") && text.contains("\"throng rooms 1\""), "{text}");
}

#[test]
fn a_session_that_cannot_be_read_is_refused() {
    let scratch = prepared("session", |_| {});
    fs::write(scratch.path().join("session"), "half a li").unwrap();
    assert!(refused(scratch.path()).contains("half a li"));
}

#[test]
fn a_directory_that_is_a_file_or_on_a_read_only_disk_is_named() {
    let scratch = Scratch::new("file");
    fs::File::create(scratch.path()).unwrap().write_all(b"x").unwrap();
    let text = refused(&scratch.path().join("rooms"));
    assert!(text.contains("cannot create the directory in /"), "{text}");
    fs::remove_file(scratch.path()).unwrap();
    // Even root cannot write here.
    let text = refused(Path::new("/proc/throng"));
    assert!(text.contains("/proc/throng"), "{text}");
}

/// Does `damage` to a copy of `dir` and opens that; the text of the refusal.
fn refused_after(dir: &Path, damage: impl FnOnce(&Path)) -> String {
    let damaged = Scratch::new("damaged-copy");
    copy(dir, damaged.path());
    damage(damaged.path());
    refused(damaged.path())
}

fn truncate(file: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(bytes).unwrap();
}

#[test]
fn a_file_that_is_missing_or_emptied_is_refused_by_its_name_with_what_to_do() {
    let scratch = Scratch::new("missing");
    for killed in [true, false, true] {
        let mut store = open(scratch.path());
        append(&mut store, "room", "one").unwrap();
        store.commit().unwrap();
        if killed {
            store.kill();
        } else {
            drop(store);
        }
        let active = journal(scratch.path());
        let active = format!("db/{}", active.file_name().unwrap().to_str().unwrap());
        let mut names: Vec<String> = (0..=4).map(|number| format!("db/keyspaces/{number}/current")).collect();
        names.extend(["db/version".into(), active]);
        for name in &names {
            let text = refused_after(scratch.path(), |dir| fs::remove_file(dir.join(name)).unwrap());
            assert!(text.contains(name) && text.contains("is missing") && text.contains("rm -r "), "{text}");
            if killed || !name.ends_with(".jnl") {
                let text = refused_after(scratch.path(), |dir| truncate(&dir.join(name), 0));
                assert!(text.contains(name) && text.contains("put back a copy"), "{text}");
            }
        }
        let text = refused_after(scratch.path(), |dir| fs::remove_dir_all(dir.join("db")).unwrap());
        assert!(text.contains("db/version is missing"), "{text}");
        for name in ["format", "session"] {
            let text = refused_after(scratch.path(), |dir| fs::remove_file(dir.join(name)).unwrap());
            assert!(text.contains(name) && text.contains("echo '"), "{text}");
        }
    }
    assert_eq!(kept(&mut open(scratch.path()), "room").1.len(), 3);
}

#[test]
fn a_journal_of_another_length_than_at_the_clean_end_is_refused() {
    let scratch = Scratch::new("changed");
    drop(open(scratch.path()));
    let text = refused_after(scratch.path(), |dir| truncate(&journal(dir), 5));
    assert!(text.contains("has 5 bytes; needed: 0 bytes"), "{text}");
}

#[test]
fn a_creation_that_was_interrupted_is_begun_again() {
    let scratch = Scratch::new("half-made");
    drop(open(scratch.path()));
    fs::write(scratch.path().join("session"), "making 0\n").unwrap();
    fs::remove_file(scratch.path().join("db/keyspaces/2/current")).unwrap();
    let mut store = open(scratch.path());
    append(&mut store, "room", "one").unwrap();
    store.commit().unwrap();
}

#[test]
fn a_room_whose_last_message_is_gone_answers_an_error_and_gives_no_number_again() {
    let scratch = Scratch::new("bound");
    let mut store = open(scratch.path());
    let position = append(&mut store, "room", "one").unwrap();
    store.commit().unwrap();
    let key = record::message_key("room", position.epoch, 1);
    store.engine.as_ref().unwrap().write(vec![Op::Remove(Space::Messages, key)], true).unwrap();
    drop(store);
    let error = append(&mut open(scratch.path()), "room", "two").unwrap_err();
    assert!(
        matches!(error, StoreError::Corrupt(_)) && error.to_string().contains("no publication 1"),
        "{error}"
    );
}
