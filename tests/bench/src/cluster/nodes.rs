//! The brokers that are measured: some that form a cluster, or one alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::try_join_all;
use ropewalk::{Client, NewTopic, Partition};
use ropewalk_harness::{Broker, cluster};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::goals::run::settled;
use crate::machine::Io;
use crate::target::{Usage, temporary_in, watch};
use crate::wire::Failure;

/// The topic, of which there is one at a time under load.
const TOPIC: &str = "bench";
/// How often it is looked whether something has come about.
const LOOK: Duration = Duration::from_millis(50);
/// How long that may take: leaders, replicas that are in sync, leaders where they are to be.
const WITHIN: Duration = Duration::from_secs(120);
/// A call that makes thousands of partitions is given this long.
const CALL_WITHIN: Duration = Duration::from_secs(120);

/// Brokers, and a client of them. They are ended, and their files removed, with this.
#[derive(Debug)]
pub(crate) struct Nodes {
    // Before the directory: they must have ended when their files go.
    brokers: Vec<Broker>,
    dir: TempDir,
    client: Client,
    /// The place of the broker that is to lead nothing.
    drained: Option<usize>,
}

/// A topic, and where its partitions are led.
#[derive(Clone, Debug)]
pub(crate) struct Led {
    pub(crate) name: String,
    /// The place of the broker that leads each partition.
    pub(crate) leaders: Vec<usize>,
}

impl Nodes {
    /// Starts so many brokers whose data lie below a directory. One has no cluster.
    pub(crate) async fn start(dir: &Path, count: u16) -> Result<Self, Failure> {
        let dir = temporary_in(dir)?;
        let place = dir.path().to_owned();
        let brokers = match count {
            1 => vec![Broker::builder().data_dir(data_of(&place, 1)).start().await?],
            _ => {
                cluster::several(count, |id, builder| builder.data_dir(data_of(&place, id))).await?
            }
        };
        let addresses: Vec<_> = brokers.iter().map(Broker::address).collect();
        let client = Client::builder().address(&addresses.join(",")).request_timeout(CALL_WITHIN);
        let client = client.connect().await?;
        Ok(Self { brokers, dir, client, drained: None })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The brokers by their places, from 0; the ids are from 1.
    pub(crate) fn brokers(&mut self) -> &mut [Broker] {
        &mut self.brokers
    }

    pub(crate) fn broker(&self, place: usize) -> &Broker {
        &self.brokers[place]
    }

    /// Keeps a broker from leading, so that what happens to it is no reason for elections.
    pub(crate) async fn drain(&mut self, place: usize) -> Result<(), Failure> {
        let id = u64::try_from(place)? + 1;
        self.client.admin().set_draining(id, true).await?;
        self.drained = Some(place);
        Ok(())
    }

    pub(crate) fn address(&self, place: usize) -> &str {
        self.brokers[place].address()
    }

    pub(crate) fn data_dir(&self, place: usize) -> &Path {
        self.brokers[place].data_dir()
    }

    /// Where else something may be written meanwhile.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes the topic under load, on all brokers, and waits until the leaders are where they are
    /// to be.
    pub(crate) async fn topic(&self, partitions: u32) -> Result<Led, Failure> {
        let topic = NewTopic::named(TOPIC);
        self.make(topic, partitions).await
    }

    /// The same with settings and a name of the caller's.
    pub(crate) async fn make(&self, topic: NewTopic, partitions: u32) -> Result<Led, Failure> {
        let replicas = i32::try_from(self.brokers.len())?;
        let topic = topic.partitions(i32::try_from(partitions)?).replication_factor(replicas);
        let made = self.client.admin().create_topic(topic).await?;
        self.led(&made.name).await
    }

    /// Waits until every partition of a topic is led by one that is to, and every replica is in
    /// sync.
    pub(crate) async fn led(&self, name: &str) -> Result<Led, Failure> {
        let started = Instant::now();
        loop {
            let described = self.client.admin().topic(name).await;
            let leaders = described.as_ref().ok();
            let leaders =
                leaders.and_then(|topic| settled_leaders(&topic.partitions, self.drained));
            if let Some(leaders) = leaders {
                return Ok(Led { name: name.to_owned(), leaders });
            }
            if started.elapsed() > WITHIN {
                described?;
                return Err(format!(
                    "the replicas of {name} did not get in sync, led as they are to be, within \
                     {WITHIN:?}"
                )
                .into());
            }
            sleep(LOOK).await;
        }
    }

    /// What all brokers together have written.
    pub(crate) fn io(&self) -> Result<Io, Failure> {
        let mut all = Io { handed: 0, to_disk: 0 };
        for broker in &self.brokers {
            let io = Io::of(broker.pid().ok_or("a broker does not run")?)?;
            all.handed += io.handed;
            all.to_disk += io.to_disk;
        }
        Ok(all)
    }

    /// Waits until the brokers write no more.
    pub(crate) async fn settled(&self) -> Result<(), Failure> {
        settled(|| self.io()).await.map(drop)
    }

    /// Watches what the brokers, all together, and this process use until something is done.
    pub(crate) async fn watch(&self, done: impl Future<Output = ()>) -> Result<Usage, Failure> {
        watch(&self.brokers, done).await
    }

    /// Watches each broker by itself.
    pub(crate) async fn watch_each(&self, span: Duration) -> Result<Vec<Usage>, Failure> {
        let each = self.brokers.iter().map(std::slice::from_ref);
        try_join_all(each.map(|broker| watch(broker, sleep(span)))).await
    }

    /// Ends the brokers and removes their files.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        for broker in &mut self.brokers {
            if broker.is_running() {
                // What it would still write is thrown away anyhow.
                broker.kill9().await?;
            }
        }
        Ok(())
    }
}

impl Led {
    /// The address of each partition's leader.
    pub(crate) fn direct(&self, nodes: &Nodes) -> Vec<String> {
        self.leaders.iter().map(|place| nodes.address(*place).to_owned()).collect()
    }

    /// For each partition the address of a broker that does not lead it.
    pub(crate) fn around(&self, nodes: &Nodes) -> Vec<String> {
        let count = nodes.brokers.len();
        self.leaders.iter().map(|place| nodes.address((place + 1) % count).to_owned()).collect()
    }
}

fn data_of(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("data-{id}"))
}

/// The places of the leaders, when all partitions are led as they are to be and all replicas are in
/// sync.
fn settled_leaders(partitions: &[Partition], drained: Option<usize>) -> Option<Vec<usize>> {
    let leaders = partitions.iter().map(|partition| {
        let leader = partition.leader?;
        let place = usize::try_from(leader).ok()?.checked_sub(1)?;
        let in_sync = partition.members.iter().filter(|m| m.voter && m.in_sync).count();
        let is_wanted = match drained {
            Some(drained) => place != drained,
            // The first of the replicas is the preferred leader.
            None => partition.replicas.first() == Some(&leader),
        };
        let is_settled = is_wanted
            && in_sync == partition.replicas.len()
            && partition.members.len() == partition.replicas.len();
        is_settled.then_some(place)
    });
    leaders.collect()
}

#[cfg(test)]
mod tests {
    use ropewalk::Replica;

    use super::*;

    /// A partition on the brokers 2, 3 and 1 with this leader, of which so many are in sync.
    fn partition(leader: Option<u64>, in_sync: usize) -> Partition {
        let replicas = vec![2, 3, 1];
        let member = |(at, broker): (usize, &u64)| Replica {
            broker: *broker,
            voter: true,
            in_sync: at < in_sync,
            lag: 0,
            matched_index: 1,
        };
        Partition {
            partition: 0,
            leader,
            leader_epoch: 1,
            log_start_offset: 0,
            high_watermark: 0,
            size_bytes: 0,
            members: replicas.iter().enumerate().map(member).collect(),
            replicas,
        }
    }

    #[test]
    fn leaders_are_settled_when_the_preferred_lead_and_all_are_in_sync() {
        let of = |leader, in_sync| settled_leaders(&[partition(leader, in_sync)], None);
        assert_eq!(of(Some(2), 3), Some(vec![1]));
        assert_eq!(of(Some(3), 3), None, "another one is to lead");
        assert_eq!(of(None, 3), None, "nobody leads");
        assert_eq!(of(Some(2), 2), None, "one is behind");
    }

    #[test]
    fn a_drained_broker_is_to_lead_nothing() {
        let of = |leader| settled_leaders(&[partition(Some(leader), 3)], Some(1));
        assert_eq!(of(2), None, "it still leads");
        assert_eq!((of(3), of(1)), (Some(vec![2]), Some(vec![0])));
    }
}
