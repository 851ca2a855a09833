//! A disk with hardly any room left: writes go on as long as checkpoints do, and whoever waits is
//! woken, or fails when the broker stops.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::*;
use crate::conformance::{GROUP, append, creation, deletion, entries, hard_state, rows, synced};
use crate::disk::Disk;
use crate::disk::sim::{ROOT, SimDisk};
use crate::disk_engine::index::MemoryStores;
use crate::engine::GroupWrite;

const KIB: u64 = 1024;
const WITHIN: Duration = Duration::from_secs(20);

fn engine(disk: &SimDisk, background: bool) -> Arc<DiskEngine> {
    let options = Options {
        background,
        free_floor: 1024 * KIB,
        checkpoint_room: 64 * KIB,
        first_file_bytes: 16 * KIB,
        ..small()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let engine =
        DiskEngine::open_on(&disk, Path::new(ROOT), options, &MemoryStores::default(), 7).unwrap();
    engine.write(&synced(vec![creation(GROUP)])).unwrap();
    Arc::new(engine)
}

/// What a disk without a limit holds.
fn used(disk: &SimDisk) -> u64 {
    (1 << 40) - disk.free_bytes(Path::new(ROOT)).unwrap()
}

fn in_thread(
    engine: &Arc<DiskEngine>,
    act: impl FnOnce(&DiskEngine) + Send + 'static,
) -> Receiver<()> {
    let (tell, told) = sync_channel(1);
    let engine = Arc::clone(engine);
    std::thread::spawn(move || {
        act(&engine);
        let _ = tell.send(());
    });
    told
}

/// Writes entries of a size, one after the other, in a thread; tells how each went.
fn writes(engine: &Arc<DiskEngine>, count: u64, bytes: usize) -> Receiver<Result<()>> {
    let (tell, told) = sync_channel(1_024);
    let engine = Arc::clone(engine);
    std::thread::spawn(move || {
        for index in 6..6 + count {
            let hard_state = Some(hard_state(5, 1, index));
            let start = None;
            let append = append(GROUP, entries(index..index + 1, 5, bytes));
            let write = GroupWrite { hard_state, start, ..append };
            let done = engine.write(&synced(vec![write]));
            let failed = done.is_err();
            if tell.send(done).is_err() || failed {
                return;
            }
        }
    });
    told
}

#[test]
fn where_the_disk_has_room_commands_are_taken_whatever_the_threads_do() {
    let disk = SimDisk::new(1);
    // Without them: they may sleep until something is needed.
    let engine = engine(&disk, false);
    for index in 6..200 {
        engine.write(&synced(vec![append(GROUP, entries(index..index + 1, 5, 100))])).unwrap();
        assert!(engine.has_room_for_commands(), "{index}");
    }
}

#[test]
fn below_the_floor_writes_go_on_whatever_their_size() {
    for bytes in [100, 10_000, 40_000] {
        let disk = SimDisk::new(1);
        let engine = engine(&disk, true);
        // Nothing above the floor, and room enough for checkpoints.
        disk.fill(used(&disk) + 1000 * KIB);
        engine.core.look_for_room().unwrap();
        assert!(!engine.has_room() && engine.has_room_for_commands());
        let told = writes(&engine, 6, bytes);
        for _ in 0..6 {
            told.recv_timeout(WITHIN)
                .unwrap_or_else(|_| panic!("{bytes} bytes: no write waits for ever"))
                .unwrap();
        }
    }
}

/// Two copies of a stretch stand on the disk for a while: what is free above the floor must hold
/// the second one. Where others take it meanwhile, the first one stays.
#[test]
fn what_is_written_anew_leaves_the_floor() {
    // An entry is a chunk, which takes whole blocks; a segment has four.
    const ENTRY: u64 = 4_200;
    let disk = SimDisk::new(1);
    let engine = engine(&disk, false);
    let log = entries(6..20, 5, ENTRY as usize);
    let hard_state = Some(hard_state(5, 1, 19));
    engine.write(&synced(vec![GroupWrite { hard_state, ..append(GROUP, log.clone()) }])).unwrap();
    assert!(engine.core.checkpoint(&mut engine.core.checkpoints()).unwrap());
    let leave = |above_floor: u64| {
        disk.fill(1 << 40);
        disk.fill(used(&disk) + 1024 * KIB + above_floor);
    };
    let anew = |entry: &LogEntry| {
        let mut entry = entry.clone();
        entry.meta.segment.base_index = 8;
        entry
    };
    let new: Vec<_> = log[2..10].iter().map(anew).collect();
    let begin = || engine.rewrite(GROUP, 8..16, 8 * ENTRY).unwrap();
    leave(8 * ENTRY - 1);
    assert!(begin().is_none());

    leave(20 * ENTRY);
    let mut rewrite = begin().expect("there is room");
    assert!(rewrite.push(new[..4].to_vec()).unwrap());
    leave(ENTRY);
    assert!(!rewrite.push(new[4..].to_vec()).unwrap());
    drop(rewrite);
    engine.core.look_for_room().unwrap();
    assert!(engine.has_room());
    assert_eq!(engine.entries(GROUP, 6..20, u64::MAX).unwrap(), log);

    leave(20 * ENTRY);
    let mut rewrite = begin().expect("there is room again");
    assert!(rewrite.push(new.clone()).unwrap() && rewrite.finish().unwrap());
    assert_eq!(engine.entries(GROUP, 8..16, u64::MAX).unwrap(), new);
}

#[test]
fn a_deletion_makes_room_when_the_journal_is_used_up() {
    let disk = SimDisk::new(1);
    let engine = engine(&disk, true);
    let large = GroupId(0x200);
    let append = append(large, entries(6..106, 5, 10_000));
    engine.write(&synced(vec![creation(large)])).unwrap();
    let hard_state = Some(hard_state(5, 1, 105));
    engine.write(&synced(vec![GroupWrite { hard_state, ..append }])).unwrap();
    // Now they stand in a segment.
    assert!(engine.core.checkpoint(&mut engine.core.checkpoints()).unwrap());
    // As the threads do within moments of a start.
    engine.core.journal.prepare().unwrap();
    disk.fill(used(&disk));
    engine.core.look_for_room().unwrap();
    let command = || synced(vec![rows(GROUP, &[("a", Some("1"))])]);
    while engine.has_room_for_commands() {
        engine.write(&command()).unwrap();
    }
    // Some were on their way when that was seen, and then somebody deletes.
    let told = in_thread(&engine, move |engine| {
        (0..3).for_each(|_| engine.write(&command()).unwrap());
        engine.write(&synced(vec![deletion(large)])).unwrap();
    });
    told.recv_timeout(WITHIN).expect("the spare file has room for it");
    assert!(engine.core.checkpoint(&mut engine.core.checkpoints()).unwrap());
    assert!(engine.has_room_for_commands());
}

#[test]
fn a_write_that_waits_for_room_gets_it_or_fails_when_the_broker_stops() {
    for stops in [false, true] {
        let disk = SimDisk::new(1);
        let engine = engine(&disk, true);
        disk.fill(used(&disk));
        engine.core.look_for_room().unwrap();
        let told = writes(&engine, 400, 100);
        let taken = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(2)).ok());
        let taken = taken.inspect(|done| assert!(done.is_ok(), "{done:?}")).count();
        assert!(taken < 400, "the journal is used up");
        assert!(!engine.has_room_for_commands());
        if stops {
            engine.lose_patience();
            let error = told.recv_timeout(WITHIN).expect("the stop ends the wait").unwrap_err();
            assert!(error.is_no_space(), "{error}");
        } else {
            disk.fill(1 << 40);
            let rest = std::iter::from_fn(|| told.recv_timeout(WITHIN).ok());
            assert_eq!(taken + rest.inspect(|done| assert!(done.is_ok())).count(), 400);
        }
    }
}

#[test]
fn what_a_start_finds_in_the_journal_keeps_no_write_waiting() {
    let disk = SimDisk::new(1);
    let reopened = |memory_bytes: u64| {
        let options = Options { memory_bytes, ..small() };
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        DiskEngine::open_on(&disk, Path::new(ROOT), options, &MemoryStores::default(), 7).unwrap()
    };
    let write = |engine: &DiskEngine, index: u64| {
        let hard_state = Some(hard_state(5, 1, index));
        let append = append(GROUP, entries(index..index + 1, 5, 10_000));
        engine.write(&synced(vec![GroupWrite { hard_state, ..append }])).unwrap();
    };
    let engine = reopened(1024 * KIB);
    engine.write(&synced(vec![creation(GROUP)])).unwrap();
    (6..36).for_each(|index| write(&engine, index));
    // The process dies with ten times as much in the journal as the next one may have in memory.
    drop(engine);
    let engine = reopened(32 * KIB);
    let held = || engine.core.state().held_bytes;
    let found = held();
    assert!(found > 300_000);
    write(&engine, 36);
    assert!(held() > found, "it was taken before anything was written out");
    engine.reclaim().unwrap();
    assert!(held() <= 32 * KIB);
    (37..50).for_each(|index| write(&engine, index));
    assert!(held() <= 64 * KIB, "and from then on the bound holds");
}
