//! A wall clock that jumps while this broker coordinates consumer groups: nobody is expelled for
//! it, and nobody stays for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ropewalk_core::{Clock, MemberId, Offset, SystemClock, Timestamp};
use ropewalk_groups::{Committer, ConsumerGroup, Patience, Selection};
use ropewalk_storage::memory::MemoryEngine;
use tokio::time::{Instant, timeout};

use crate::Broker;
use crate::cluster_tests::PATIENCE;
use crate::membership::{JoinRequest, Membership};
use crate::support::{partition, start_at};

const HOUR: i64 = 3_600_000_000_000;
/// How long the group waits for a member that is lost.
const GRACE: Duration = Duration::from_secs(2);

/// A wall clock that a test sets.
#[derive(Default)]
struct Jumping {
    time: SystemClock,
    ahead: AtomicI64,
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        Timestamp(self.time.now().0 + self.ahead.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }
}

async fn join(broker: &Arc<Broker>) -> Membership {
    let drain = Duration::from_secs(600);
    let request = JoinRequest {
        group: "g".to_owned(),
        member: None,
        instance: None,
        client_id: String::new(),
        host: String::new(),
        selections: vec![Selection::Name("t".to_owned())],
        strategy: None,
        patience: Patience { grace: GRACE, drain },
    };
    timeout(PATIENCE, Membership::open(broker, request)).await.unwrap().unwrap()
}

/// Waits until the group is so.
async fn until(broker: &Arc<Broker>, is_so: impl Fn(&ConsumerGroup) -> bool) {
    let mut sights = broker.watch_group("g");
    let wait = async {
        while !sights.last().group.as_deref().is_some_and(&is_so) {
            sights.changed().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("nobody stays for ever");
}

fn is_lost(group: &ConsumerGroup, member: MemberId) -> bool {
    group.standing(member).is_some_and(|standing| standing.is_lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_go_when_their_time_is_over_however_the_wall_clock_jumps() {
    let clock = Arc::new(Jumping::default());
    let engine = Arc::new(MemoryEngine::new());
    let (broker, tasks) = start_at(Arc::<Jumping>::clone(&clock), engine, 0).await;
    let only = partition(&broker, "t").await;
    let mut stays = join(&broker).await;
    let generation = timeout(PATIENCE, stays.next()).await.unwrap().unwrap().generation;
    let member = stays.member();
    let first = stays.has(only.topic_id, only.id);
    assert!(first.is_some());
    let jumps = async {
        for hours in [1, -2] {
            let mut goes = join(&broker).await;
            let gone = goes.member();
            goes.cut_off();
            drop(goes);
            until(&broker, |group| is_lost(group, gone)).await;
            let lost = Instant::now();
            clock.ahead.fetch_add(hours * HOUR, Ordering::Relaxed);
            until(&broker, |group| group.standing(gone).is_none()).await;
            let waited = lost.elapsed();
            assert!(waited > GRACE / 2, "it was waited for {waited:?} after a jump of {hours} h");

            // Whoever is there is there, and commits.
            until(&broker, |group| !is_lost(group, member)).await;
            let seen = timeout(PATIENCE, broker.group_now("g")).await.unwrap().unwrap();
            let group = seen.group.unwrap();
            assert_eq!(group.member_count(), 1);
            assert_eq!(group.holding(only.topic_id, only.id), first);
            let committer = Committer { member, generation };
            let offsets = vec![(only.topic_id, only.id, Offset(0), String::new())];
            broker.commit_of_member("g", committer, offsets, Vec::new()).await.unwrap();
        }
    };
    // Somebody serves its stream all the while: a coordinator that takes up its groups only now has
    // every member come back.
    tokio::select! {
        () = jumps => {}
        () = async { while stays.next().await.is_ok() {} } => panic!("it is a member no more"),
    }
    drop((stays, only, broker));
    tasks.stop().await.unwrap();
}
