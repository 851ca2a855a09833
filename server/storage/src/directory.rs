//! The data directory: one process at a time, one broker for ever.
//!
//! The file `lock` is held by the process that uses the directory, the file `identity` says which
//! broker of which cluster its data belongs to. What else lies in it is not known here.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ropewalk_core::NodeId;
use thiserror::Error;
use uuid::Uuid;

use crate::engine::{Result, StorageError};
use crate::files::{self, io_error};

/// The format of the identity file that this code writes and reads.
const FORMAT: &str = "2";

/// The id of a cluster, a UUID, made when the cluster is formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl ClusterId {
    /// An id that no other cluster has.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

/// A text that is no cluster id.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a UUID")]
pub struct InvalidClusterId;

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for ClusterId {
    type Err = InvalidClusterId;

    fn from_str(text: &str) -> std::result::Result<Self, InvalidClusterId> {
        let id = Uuid::parse_str(text).map_err(|_| InvalidClusterId)?;
        Ok(Self(id.into_bytes()))
    }
}

/// The id of a data directory, a UUID, made when it is first used: a broker that lost its disk is
/// known by it.
pub type DirectoryId = [u8; 16];

/// A cluster, and the brokers that formed it with the directories that they had then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Those who formed it, by id.
    pub founders: Vec<(NodeId, DirectoryId)>,
}

/// Whose data a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The broker.
    pub node_id: NodeId,
    /// The directory.
    pub directory_id: DirectoryId,
    /// Its cluster; `None` until the broker forms or joins one.
    pub cluster: Option<Membership>,
}

impl Identity {
    /// That of a broker whose data is in memory, and in no cluster yet.
    #[must_use]
    pub fn random(node_id: NodeId) -> Self {
        Self { node_id, directory_id: Uuid::new_v4().into_bytes(), cluster: None }
    }
}

/// A data directory that this process alone uses, as long as the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl DataDirectory {
    /// Takes the directory for a broker; creates it, durably and for its owner only, when there is
    /// none.
    ///
    /// # Errors
    /// `Refused` when another process uses it, when it belongs to another broker, and when its
    /// identity has another format or is damaged; `Io` when the system does not let us.
    pub fn open(path: &Path, node_id: NodeId) -> Result<(Self, Identity)> {
        create(path)?;
        let directory = Self { path: path.to_owned(), _lock: lock(path)? };
        let file = directory.identity_path();
        let identity = match fs::read(&file) {
            Ok(text) => parse(&file, &text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                directory.refuse_data_without_identity()?;
                let identity = Identity::random(node_id);
                directory.write(&identity)?;
                identity
            }
            Err(error) => return Err(io_error("read", &file, error)),
        };
        if identity.node_id == node_id {
            return Ok((directory, identity));
        }
        Err(StorageError::Refused(format!(
            "the data directory {} belongs to node {}, and this broker is configured as node \
             {node_id}: correct the node id or the directory",
            path.display(),
            identity.node_id
        )))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes that the filesystem has left for this process.
    ///
    /// # Errors
    /// `Io` when the filesystem does not say.
    #[cfg(unix)]
    pub fn free_bytes(&self) -> Result<u64> {
        files::free_bytes(&self.path)
    }

    /// Records, durably, the cluster that the broker forms or joins; it can never join another.
    ///
    /// # Errors
    /// `Refused` when the directory belongs to another cluster, `Io` when the file cannot be
    /// written.
    pub fn join(&self, cluster: &Membership) -> Result<Identity> {
        let file = self.identity_path();
        let text = fs::read(&file).map_err(|error| io_error("read", &file, error))?;
        let identity = parse(&file, &text)?;
        match &identity.cluster {
            Some(own) if own.cluster_id == cluster.cluster_id => Ok(identity),
            Some(own) => Err(StorageError::Refused(format!(
                "the data directory {} belongs to cluster {}, and this broker was to join \
                 cluster {}: correct the addresses of the other brokers, or start it with an \
                 empty data directory",
                self.path.display(),
                own.cluster_id,
                cluster.cluster_id,
            ))),
            None => {
                let identity = Identity { cluster: Some(cluster.clone()), ..identity };
                self.write(&identity)?;
                Ok(identity)
            }
        }
    }

    fn identity_path(&self) -> PathBuf {
        identity_path(&self.path)
    }

    /// Data that nobody vouches for is not taken over in silence.
    fn refuse_data_without_identity(&self) -> Result<()> {
        let index = self.path.join("index");
        if !index.exists() {
            return Ok(());
        }
        Err(StorageError::Refused(format!(
            "{} holds data, and the file {} that says whose it is is missing: restore that file, \
             or start this broker with an empty data directory",
            index.display(),
            self.identity_path().display()
        )))
    }

    /// Replaces the identity as a whole: there is always the old file or the new one.
    fn write(&self, identity: &Identity) -> Result<()> {
        let (file, new) = (self.identity_path(), self.path.join("identity.new"));
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(format(identity).as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| io_error("write", &new, error))?;
        fs::rename(&new, &file).map_err(|error| io_error("rename", &new, error))?;
        files::sync(&self.path)
    }
}

fn identity_path(path: &Path) -> PathBuf {
    path.join("identity")
}

/// Whose data a directory holds, if it says so. Changes nothing.
pub(crate) fn identity(path: &Path) -> Result<Option<Identity>> {
    let file = identity_path(path);
    match fs::read(&file) {
        Ok(text) => parse(&file, &text).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", &file, error)),
    }
}

/// Keeps brokers out of a directory while somebody looks at it, for as long as the file lives.
/// Changes nothing: where there is no lock there was no broker.
pub(crate) fn lock_to_look(path: &Path) -> Result<Option<File>> {
    let file = path.join("lock");
    let lock = match File::open(&file) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", &file, error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(StorageError::Refused(format!(
            "the data directory {} is in use by a broker: stop it first, or look at a copy",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &file, error)),
    }
}

/// Creates the directory and those above it, each made durable in the one that holds it.
fn create(path: &Path) -> Result<()> {
    let mut missing: Vec<&Path> = Vec::new();
    for ancestor in path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        if ancestor.exists() {
            break;
        }
        missing.push(ancestor);
    }
    for new in missing.into_iter().rev() {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(new).map_err(|error| io_error("create", new, error))?;
        let parent = new.parent().filter(|parent| !parent.as_os_str().is_empty());
        files::sync(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File> {
    let file = path.join("lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&file);
    let lock = lock.map_err(|error| io_error("open", &file, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StorageError::Refused(format!(
            "the data directory {} is in use by another process: stop the other broker, or give \
             this one a directory of its own",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &file, error)),
    }
}

fn format(identity: &Identity) -> String {
    let none = || "none".to_owned();
    let cluster = identity.cluster.as_ref();
    let founder = |(node, directory): &(NodeId, DirectoryId)| {
        format!("{node}:{}", Uuid::from_bytes(*directory).hyphenated())
    };
    let founders =
        |cluster: &Membership| cluster.founders.iter().map(founder).collect::<Vec<_>>().join(" ");
    let text = format!(
        "# Whose data this directory holds. Written by ropewalk; do not edit, do not copy.\n\
         format = {FORMAT}\n\
         node_id = {}\n\
         directory_id = {}\n\
         cluster_id = {}\n\
         founders = {}\n",
        identity.node_id,
        Uuid::from_bytes(identity.directory_id).hyphenated(),
        cluster.map_or_else(none, |cluster| cluster.cluster_id.to_string()),
        cluster.map_or_else(none, founders),
    );
    format!("{text}crc32c = {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

fn read_uuid(text: &str) -> Option<[u8; 16]> {
    Uuid::from_str(text).ok().map(Uuid::into_bytes)
}

fn read_founders(text: &str) -> Option<Vec<(NodeId, DirectoryId)>> {
    let founder = |text: &str| {
        let (node, directory) = text.split_once(':')?;
        Some((NodeId(node.parse().ok()?), read_uuid(directory)?))
    };
    text.split(' ').map(founder).collect()
}

fn parse(file: &Path, bytes: &[u8]) -> Result<Identity> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let value = |name: &str| {
        let mut values =
            text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        values.next()
    };
    // First the format: all else may be different in another one.
    match value("format") {
        Some(FORMAT) => {}
        Some(other) if other.parse::<u32>().is_ok() => {
            return Err(StorageError::Refused(format!(
                "{} has format {other}, and this build reads format {FORMAT}: start the version of \
                 ropewalk that wrote it",
                file.display()
            )));
        }
        _ => return Err(damaged(file)),
    }
    let cluster = match (value("cluster_id"), value("founders")) {
        (Some("none"), Some("none")) => Some(None),
        (Some(id), Some(founders)) => id.parse().ok().and_then(|cluster_id| {
            Some(Some(Membership { cluster_id, founders: read_founders(founders)? }))
        }),
        _ => None,
    };
    let node_id = value("node_id").and_then(|id| id.parse().ok()).map(NodeId);
    let directory_id = value("directory_id").and_then(read_uuid);
    let (Some(node_id), Some(directory_id), Some(cluster)) = (node_id, directory_id, cluster)
    else {
        return Err(damaged(file));
    };
    let identity = Identity { node_id, directory_id, cluster };
    if format(&identity) == text { Ok(identity) } else { Err(damaged(file)) }
}

fn damaged(file: &Path) -> StorageError {
    StorageError::Refused(format!(
        "{} is damaged: restore it, or start this broker with an empty data directory",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/identity-v2.txt"));

    fn cluster() -> Membership {
        let founders = vec![(NodeId(1), [0x11; 16]), (NodeId(3), [0x13; 16])];
        Membership { cluster_id: ClusterId([0x2a; 16]), founders }
    }

    fn refusal(path: &Path, node: u64) -> String {
        match DataDirectory::open(path, NodeId(node)) {
            Err(StorageError::Refused(why)) => why,
            other => panic!("{other:?} is no refusal"),
        }
    }

    #[test]
    fn a_new_directory_is_its_brokers_for_ever() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let (directory, identity) = DataDirectory::open(&path, NodeId(3)).unwrap();
        assert_eq!((identity.node_id, &identity.cluster), (NodeId(3), &None));
        assert_eq!(directory.path(), path);
        drop(directory);
        let (directory, same) = DataDirectory::open(&path, NodeId(3)).unwrap();
        assert_eq!(same, identity);
        drop(directory);
        let why = refusal(&path, 4);
        assert!(why.contains("node 3") && why.contains("node 4"), "{why}");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_directory_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        DataDirectory::open(&path, NodeId(1)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[cfg(unix)]
    #[test]
    fn the_free_space_is_known() {
        let root = tempfile::tempdir().unwrap();
        let (directory, _) = DataDirectory::open(root.path(), NodeId(1)).unwrap();
        assert!(directory.free_bytes().unwrap() > 0);
    }

    #[test]
    fn a_cluster_is_joined_once() {
        let root = tempfile::tempdir().unwrap();
        let (directory, identity) = DataDirectory::open(root.path(), NodeId(1)).unwrap();
        let joined = Identity { cluster: Some(cluster()), ..identity };
        assert_eq!(directory.join(&cluster()).unwrap(), joined);
        assert_eq!(directory.join(&cluster()).unwrap(), joined);
        let other = Membership { cluster_id: ClusterId([7; 16]), ..cluster() };
        let error = directory.join(&other).unwrap_err().to_string();
        assert!(error.contains(&cluster().cluster_id.to_string()), "{error}");
        drop(directory);
        assert_eq!(DataDirectory::open(root.path(), NodeId(1)).unwrap().1, joined);
    }

    #[test]
    fn a_directory_in_use_is_refused_until_it_is_free() {
        let root = tempfile::tempdir().unwrap();
        let (directory, _) = DataDirectory::open(root.path(), NodeId(1)).unwrap();
        let why = refusal(root.path(), 1);
        assert!(why.contains("another process") && why.contains("stop"), "{why}");
        drop(directory);
        DataDirectory::open(root.path(), NodeId(1)).unwrap();
    }

    #[test]
    fn a_changed_identity_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("identity");
        DataDirectory::open(root.path(), NodeId(1)).unwrap().0.join(&cluster()).unwrap();
        let sound = fs::read(&file).unwrap();
        for length in 0..sound.len() {
            fs::write(&file, &sound[..length]).unwrap();
            let why = refusal(root.path(), 1);
            assert!(why.contains(&file.display().to_string()), "{why}");
        }
        for at in 0..sound.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = sound.clone();
                changed[at] ^= flip;
                fs::write(&file, &changed).unwrap();
                let why = refusal(root.path(), 1);
                assert!(why.contains(&file.display().to_string()), "{why}");
            }
        }
    }

    #[test]
    fn an_identity_of_another_format_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("identity"), "format = 3\nowner = 1\n").unwrap();
        let why = refusal(root.path(), 1);
        assert!(why.contains("format 3") && why.contains("format 2"), "{why}");
    }

    #[test]
    fn data_without_an_identity_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("index")).unwrap();
        let why = refusal(root.path(), 1);
        assert!(why.contains("identity"), "{why}");
    }

    #[test]
    fn the_text_is_that_of_format_2() {
        let identity =
            Identity { node_id: NodeId(3), directory_id: [0x13; 16], cluster: Some(cluster()) };
        assert_eq!(format(&identity), GOLDEN);
        assert_eq!(parse(Path::new("identity"), GOLDEN.as_bytes()).unwrap(), identity);
    }
}
