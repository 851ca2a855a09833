//! Members that come and go at random: every record reaches somebody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropewalk_proto::v1;
use tokio::time::Instant;

use crate::Stubs;
use crate::member::{Member, connect, joining};
use crate::support::Three;

const MEMBERS: u64 = 13;
const PARTITIONS: i32 = 8;
const RECORDS: usize = 50_000;
const IN_A_BATCH: usize = 250;
const FOR_SO_LONG: Duration = Duration::from_secs(20);

/// How often each value of each partition was delivered.
type Seen = Arc<Mutex<BTreeMap<(i32, i64), u32>>>;

/// A cheap sequence of numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One of them: it joins, reads and commits for a while, and goes, again and again.
async fn come_and_go(address: String, seed: u64, seen: Seen, until: Instant) {
    let mut dice = Dice(seed);
    while Instant::now() < until {
        let Ok(mut member) = Member::try_join(&address, joining("g", &["t"])).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let leaves = Instant::now() + Duration::from_millis(500 + dice.below(4_000));
        while Instant::now() < leaves.min(until) {
            let turn = Instant::now() + Duration::from_millis(20 + dice.below(80));
            while let Ok(result) = tokio::time::timeout_at(turn, member.step()).await {
                result.unwrap();
            }
            keep(&mut member, &seen).await;
        }
        // What it has read and not committed comes again to somebody else.
        if dice.below(2) == 0 {
            keep(&mut member, &seen).await;
        } else {
            note(&mut member, &seen);
        }
    }
}

async fn keep(member: &mut Member, seen: &Seen) {
    note(member, seen);
    // One that has lost something meanwhile is refused, and hears of it in a moment.
    let _ = member.commit().await;
}

fn note(member: &mut Member, seen: &Seen) {
    let mut seen = seen.lock().unwrap();
    for ((_, partition), offset, _) in member.read.drain(..) {
        *seen.entry((partition, offset)).or_default() += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thirteen_members_come_and_go_and_every_record_is_delivered() {
    let three = Three::start().await;
    let partitions = PARTITIONS.to_string();
    three.cli(&["topic", "create", "t", "--partitions", &partitions]);
    let seen = Seen::default();
    let until = Instant::now() + FOR_SO_LONG;
    let members = (0..MEMBERS).map(|seed| {
        let address = three.address(1 + seed as usize % 3).to_owned();
        tokio::spawn(come_and_go(address, seed, Arc::clone(&seen), until))
    });
    let members: Vec<_> = members.collect();
    let stubs = Stubs(connect(three.address(1)).await);
    let values = vec!["v"; IN_A_BATCH];
    for batch in 0..RECORDS / IN_A_BATCH {
        stubs.append("t", batch as i32 % PARTITIONS, &values).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    for member in members {
        member.await.unwrap();
    }
    // Whoever comes last gets what nobody has committed.
    let mut last = Member::join(three.address(2), joining("g", &["t"])).await;
    let ends: BTreeMap<_, _> = {
        let offsets = stubs.describe("g").await.unwrap().offsets;
        offsets.iter().map(|at| (at.partition, at.high_watermark.unwrap())).collect()
    };
    last.until("everything", |m| {
        m.owned.len() == PARTITIONS as usize
            && m.owned.iter().all(|((_, partition), next)| *next == ends[partition])
    })
    .await;
    last.commit().await.unwrap();
    note(&mut last, &seen);
    let (delivered, again) = {
        let seen = seen.lock().unwrap();
        (seen.len(), seen.values().filter(|times| **times > 1).count())
    };
    assert_eq!(delivered, RECORDS, "a record was never delivered");
    println!("{RECORDS} records, {again} of them more than once");
    let group = stubs.group("g").await;
    assert_eq!((group.state(), group.members.len()), (v1::ConsumerGroupState::Stable, 1));
}
