//! What both disks do, and what only the simulated one does: lose power.

use super::*;
use crate::disk::real::RealDisk;

fn direct(file: &dyn DiskFile, fill: u8, blocks: usize, at: u64) -> Result<()> {
    let bytes = vec![fill; (blocks + 1) * BLOCK];
    let start = bytes.as_ptr().align_offset(BLOCK);
    file.write_at(&bytes[start..start + blocks * BLOCK], at)
}

fn read(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Mode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap() + 10];
    let read = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(read);
    bytes
}

fn conforms(disk: &dyn Disk, root: &Path) {
    let (dir, one, two) = (root.join("d"), root.join("d/one"), root.join("d/two"));
    assert!(!disk.exists(&dir));
    assert_eq!(disk.list(&dir).unwrap(), Vec::<String>::new());
    assert!(disk.open(&one, Mode::Create).is_err(), "there is no directory yet");
    disk.create_dir(&dir).unwrap();
    disk.create_dir(&dir).unwrap();
    assert!(disk.open(&one, Mode::Read).is_err());
    assert!(disk.open(&one, Mode::Write).is_err());

    let file = disk.open(&one, Mode::Create).unwrap();
    file.write_at(b"abc", 2).unwrap();
    assert_eq!(read(disk, &one), b"\0\0abc");
    file.set_len(4).unwrap();
    file.set_len(6).unwrap();
    assert_eq!((file.len().unwrap(), read(disk, &one)), (6, b"\0\0ab\0\0".to_vec()));
    let mut part = [9; 4];
    assert_eq!(file.read_at(&mut part, 3).unwrap(), 3);
    assert_eq!(part, [b'b', 0, 0, 9]);
    assert_eq!(file.read_at(&mut part, 100).unwrap(), 0);
    file.sync().unwrap();
    let reader = disk.open(&one, Mode::Read).unwrap();
    assert!(reader.write_at(b"x", 0).is_err());

    let file = disk.open(&two, Mode::Direct).unwrap();
    direct(file.as_ref(), 7, 2, 0).unwrap();
    direct(file.as_ref(), 8, 1, BLOCK as u64).unwrap();
    assert_eq!(read(disk, &two), [vec![7; BLOCK], vec![8; BLOCK]].concat());
    assert_eq!(disk.list(&dir).unwrap(), ["one", "two"]);
    disk.sync_all(&dir).unwrap();

    disk.rename(&two, &one).unwrap();
    assert_eq!(disk.list(&dir).unwrap(), ["one"]);
    assert_eq!(reader.len().unwrap(), 6, "a file that lost its name stays for its readers");
    assert_eq!(reader.read_at(&mut part, 0).unwrap(), 4);
    assert_eq!(read(disk, &one).len(), 2 * BLOCK);
    assert!(disk.rename(&two, &one).is_err());
    disk.sync_dir(&dir).unwrap();
    disk.remove(&one).unwrap();
    disk.remove(&one).unwrap();
    assert!(!disk.exists(&one));
    disk.open(&one, Mode::Create).unwrap();
    disk.remove_dir(&dir).unwrap();
    disk.remove_dir(&dir).unwrap();
    assert!(!disk.exists(&dir) && disk.free_bytes(root).unwrap() > 0);
}

#[test]
fn both_disks_do_the_same() {
    conforms(&SimDisk::new(1), Path::new(ROOT));
    let dir = tempfile::tempdir().unwrap();
    conforms(&RealDisk::default(), dir.path());
}

#[test]
fn what_is_synced_stays_and_the_rest_may_be_torn() {
    let mut seen = [0; 3];
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let path = Path::new(ROOT).join("f");
        let file = disk.open(&path, Mode::Create).unwrap();
        file.write_at(&[1; 2048], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new(ROOT)).unwrap();
        file.write_at(&[2; 2048], 1024).unwrap();
        let after = disk.crash();
        assert!(file.read_at(&mut [0], 0).is_err(), "the disk of before is dead");
        let bytes = after.bytes(&path).unwrap();
        assert!(bytes.len() == 2048 || bytes.len() == 3072);
        assert!(bytes[..1024].iter().all(|byte| *byte == 1));
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "sectors are whole");
        }
        seen[usize::from(bytes[1024])] += 1;
        seen[0] += u32::from(bytes.len() == 2048);
    }
    assert!(seen.iter().all(|times| *times > 20), "{seen:?}");
}

#[test]
fn a_name_counts_when_its_directory_is_synced() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let root = Path::new(ROOT);
        disk.open(&root.join("old"), Mode::Create).unwrap();
        disk.sync_dir(root).unwrap();
        let file = disk.open(&root.join("new"), Mode::Create).unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync().unwrap();
        disk.rename(&root.join("new"), &root.join("old")).unwrap();
        let after = disk.crash();
        match after.bytes(&root.join("old")).unwrap().as_slice() {
            b"x" => {
                kept += 1;
                assert!(!after.exists(&root.join("new")), "names change in order");
            }
            other => {
                lost += 1;
                assert_eq!(other, b"");
            }
        }
    }
    assert!(lost > 20 && kept > 20, "{lost} {kept}");
}

#[test]
fn a_direct_write_is_durable_and_torn_only_when_the_power_goes_meanwhile() {
    let mut torn = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let path = Path::new(ROOT).join("f");
        let file = disk.open(&path, Mode::Direct).unwrap();
        disk.sync_dir(Path::new(ROOT)).unwrap();
        direct(file.as_ref(), 1, 2, 0).unwrap();
        assert!(file.write_at(&[0; 100], 0).is_err(), "it must be aligned");
        disk.arm(2);
        direct(file.as_ref(), 2, 1, 0).unwrap();
        let cut = direct(file.as_ref(), 3, 1, BLOCK as u64).unwrap_err();
        assert!(cut.to_string().contains("power cut"), "{cut}");
        assert!(file.len().is_err() && disk.open(&path, Mode::Read).is_err());
        let bytes = disk.crash().bytes(&path).unwrap();
        assert!(bytes[..BLOCK].iter().all(|byte| *byte == 2));
        assert!(bytes[BLOCK..].iter().all(|byte| *byte == 1 || *byte == 3));
        torn += u32::from(bytes.contains(&3) && bytes.contains(&1));
    }
    assert!(torn > 10, "{torn}");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = SimDisk::new(1);
    let path = Path::new(ROOT).join("f");
    let file = disk.open(&path, Mode::Create).unwrap();
    disk.fill(10_000);
    file.write_at(&[1; 4096], 0).unwrap();
    assert_eq!(disk.free_bytes(Path::new(ROOT)).unwrap(), 5_904);
    let error = file.write_at(&[2; 8192], 4096).unwrap_err();
    assert!(matches!(&error, StorageError::Io { source, .. } if source.raw_os_error() == Some(28)));
    assert_eq!(file.len().unwrap(), 8192);
    file.write_at(&[3; 8192], 0).unwrap();
    disk.remove(&path).unwrap();
    assert_eq!(disk.free_bytes(Path::new(ROOT)).unwrap(), 10_000);
}

#[test]
fn a_seed_does_the_same_twice() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        let path = Path::new(ROOT).join("f");
        let file = disk.open(&path, Mode::Create).unwrap();
        file.write_at(&[1; 5000], 0).unwrap();
        disk.sync_dir(Path::new(ROOT)).unwrap();
        let after = disk.crash();
        (disk.trace(), disk.calls(), after.bytes(&path))
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}
