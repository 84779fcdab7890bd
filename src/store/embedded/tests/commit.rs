//! Commits that fail, and what is there afterwards.

use proptest::prelude::*;

use super::*;

#[test]
fn nothing_of_a_commit_that_failed_is_seen_and_its_numbers_are_given_again() {
    let scratch = Scratch::new("failed-commit");
    let mut store = open(scratch.path());
    append(&mut store, "room", "one").unwrap();
    store.commit().unwrap();
    let before = kept(&mut store, "room");

    append(&mut store, "room", "refused").unwrap();
    append(&mut store, "other", "refused").unwrap();
    store.set_cursor("7", "room", Position { offset: 2, ..before.0.unwrap() }).unwrap();
    store.fail_after = Some(0);
    store.commit().unwrap_err();
    assert_eq!(kept(&mut store, "room"), before);
    assert_eq!(kept(&mut store, "other"), (None, Vec::new()));
    assert_eq!(store.cursor("7", "room").unwrap(), None);
    assert_eq!(count(&store.stats().reopened), 1);

    let again = append(&mut store, "room", "two").unwrap();
    assert_eq!(again, Position { offset: 2, ..before.0.unwrap() });
    store.commit().unwrap();
    drop(store);
    let mut store = open(scratch.path());
    assert_eq!(kept(&mut store, "room").1, [(1, "one".into()), (2, "two".into())]);
}

#[test]
fn a_batch_that_failed_is_gone_even_if_the_process_ends_at_once() {
    let scratch = Scratch::new("failed-then-killed");
    let mut store = open(scratch.path());
    append(&mut store, "room", "one").unwrap();
    store.commit().unwrap();
    append(&mut store, "room", "refused").unwrap();
    store.fail_after = Some(0);
    store.commit().unwrap_err();
    assert!(store.engine.is_none(), "the engine is closed, as a process that ends would leave it");
    drop(store);
    assert_eq!(kept(&mut open(scratch.path()), "room").1, [(1, "one".into())]);
}

#[test]
fn after_a_failure_what_was_acknowledged_moves_to_other_files() {
    let scratch = Scratch::new("new-journal");
    let mut store = open(scratch.path());
    append(&mut store, "room", "one").unwrap();
    store.commit().unwrap();
    let old = journal(scratch.path());
    append(&mut store, "room", "refused").unwrap();
    store.fail_after = Some(0);
    store.commit().unwrap_err();
    append(&mut store, "room", "two").unwrap();
    store.commit().unwrap();
    assert_ne!(journal(scratch.path()), old);
    drop(store);
    assert_eq!(kept(&mut open(scratch.path()), "room").1, [(1, "one".into()), (2, "two".into())]);
}

#[test]
fn a_journal_that_lost_what_was_on_the_disk_is_not_gone_on_with() {
    let scratch = Scratch::new("lost-journal");
    let mut store = open(scratch.path());
    for body in ["one", "two"] {
        append(&mut store, "room", body).unwrap();
        store.commit().unwrap();
    }
    // As if the pages of the second batch had been dropped.
    let path = journal(scratch.path());
    let written = fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(written as u64 - 5).unwrap();
    drop(file);
    append(&mut store, "room", "refused").unwrap();
    store.fail_after = Some(0);
    store.commit().unwrap_err();
    for _ in 0..2 {
        let error = store.position("room", &FSYNC, NOW_MS).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        assert!(error.to_string().contains("cannot go on in "), "{error}");
    }
}

#[test]
fn a_full_disk_refuses_commits_before_anything_is_written_and_goes_on_when_there_is_space() {
    let scratch = Scratch::new("full");
    let mut store = open(scratch.path());
    append(&mut store, "room", "one").unwrap();
    store.commit().unwrap();
    let before = kept(&mut store, "room");
    store.options.disk_free_bytes_min = u64::MAX;
    append(&mut store, "room", "refused").unwrap();
    let error = store.commit().unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(error.to_string().contains("disk_free_bytes_min"), "{error}");
    assert_eq!(kept(&mut store, "room"), before);
    store.options.disk_free_bytes_min = 0;
    assert_eq!(append(&mut store, "room", "two").unwrap().offset, 2);
    store.commit().unwrap();
    assert_eq!(count(&store.stats().reopened), 0);
}

/// A small file system in memory; none if this process may not mount one.
fn small_disk(scratch: &Scratch, bytes: u64) -> Option<impl Drop> {
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
        }
    }
    fs::create_dir_all(scratch.path()).unwrap();
    let mut mount = std::process::Command::new("mount");
    mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={bytes}")).arg("tmpfs").arg(scratch.path());
    let mounted = mount.output().is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: this process may not mount a file system");
    }
    mounted.then(|| Mounted(scratch.path().to_owned()))
}

#[test]
fn a_disk_that_fills_up_in_the_middle_of_a_write_loses_nothing_and_comes_back() {
    let scratch = Scratch::new("fills-up");
    let Some(_mounted) = small_disk(&scratch, 4 << 20) else { return };
    let dir = scratch.path().join("rooms");
    let mut store = open(&dir);
    let body = "x".repeat(100_000);
    let mut acknowledged = 0;
    let error = loop {
        append(&mut store, "room", &body).unwrap();
        match store.commit() {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 60, "the disk is smaller than this");
    };
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    // While it is full, every call says so or answers what was acknowledged, and the process goes on.
    for _ in 0..5 {
        let staged = append(&mut store, "room", &body);
        match staged.and_then(|_| store.commit()) {
            // What was cut off had taken some space.
            Ok(()) => acknowledged += 1,
            Err(error) => assert!(!matches!(error, StoreError::Corrupt(_)), "{error}"),
        }
    }
    // Files on such a disk can be made larger while it is in use.
    let mut remount = std::process::Command::new("mount");
    remount.args(["-o", "remount,size=64m"]).arg(scratch.path());
    assert!(remount.status().unwrap().success());
    assert_eq!(append(&mut store, "room", "after").unwrap().offset, acknowledged + 1);
    store.commit().unwrap();
    drop(store);
    let (_, publications) = kept(&mut open(&dir), "room");
    let offsets: Vec<_> = publications.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (1..=acknowledged + 1).collect::<Vec<_>>());
    assert!(publications.iter().all(|(offset, text)| *text == body || *offset == acknowledged + 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_and_nothing_else_whichever_commits_fail(
        rounds in prop::collection::vec((prop::collection::vec(0usize..3, 0..6), any::<bool>(), any::<bool>()), 1..20),
    ) {
        let scratch = Scratch::new("acknowledged");
        let mut store = open(scratch.path());
        let rooms = ["a", "b", "c"];
        let mut acknowledged = vec![Vec::new(); rooms.len()];
        for (number, (publishes, fails, reopens)) in rounds.into_iter().enumerate() {
            let mut staged = acknowledged.clone();
            for room in publishes {
                let body = format!("{number}-{}", staged[room].len());
                let offset = append(&mut store, rooms[room], &body).unwrap().offset;
                staged[room].push((offset, body));
                prop_assert_eq!(offset, staged[room].len() as u64);
            }
            store.fail_after = fails.then_some(0);
            if store.commit().is_ok() {
                acknowledged = staged;
            }
            store.fail_after = None;
            if reopens {
                drop(store);
                store = open(scratch.path());
            }
            for (room, expected) in rooms.iter().zip(&acknowledged) {
                prop_assert_eq!(&kept(&mut store, room).1, expected);
            }
        }
    }
}
