//! `ropewalk cluster drain`, `undrain`, `remove`, `reassign` and `transfer`.
//!
//! The broker answers at once and carries a change out by itself; these commands wait until it has,
//! and say what is missing when that takes too long.

use std::time::Duration;

use ropewalk::{Admin, Partition};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::args::{Common, Format, OneBroker, Reassign, Transfer, Undrain, Waiting};
use super::failure::Failure;
use super::output::{document, line};
use super::progress::Progress;
use super::run::connect;

/// How often it is looked how far a change has come.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// So many looks in a row must say that it is done: leaders move while they are asked.
const LOOKS: u32 = 2;
/// Partitions that are named where there are more.
const NAMED: usize = 5;

/// How far a change has come.
enum Look {
    Done,
    /// What is missing.
    Missing(String),
    /// What will be missing for ever, and what to do.
    Stuck(String),
}

/// Looks again and again until a change is carried out.
async fn wait_until(
    waiting: &Waiting,
    mut look: impl AsyncFnMut() -> Result<Look, Failure>,
) -> Result<(), Failure> {
    if waiting.no_wait {
        return Ok(());
    }
    let deadline = Instant::now() + waiting.within;
    let progress = Progress::of_waiting();
    let mut done = 0;
    loop {
        let missing = match look().await? {
            Look::Done => {
                done += 1;
                if done == LOOKS {
                    return Ok(());
                }
                String::new()
            }
            Look::Missing(missing) => {
                done = 0;
                missing
            }
            Look::Stuck(why) => return Err(Failure::Other(why)),
        };
        progress.tell(&missing);
        if Instant::now() >= deadline && !missing.is_empty() {
            let waited = waiting.within;
            return Err(Failure::Other(format!(
                "not done in {waited:?}: {missing}; the brokers go on with it, \
                 `ropewalk cluster status` shows how it stands"
            )));
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn done(common: &Common, text: &str, value: serde_json::Value) -> Result<(), Failure> {
    match common.format {
        Format::Json => document(&value),
        Format::Text => line(text),
    }
}

pub(super) async fn drain(args: &OneBroker) -> Result<(), Failure> {
    let admin = connect(&args.common).await?.admin();
    let id = args.broker;
    admin.set_draining(id, true).await?;
    wait_until(&args.waiting, async || look_at_leaders(&admin, id).await).await?;
    let text = match args.waiting.no_wait {
        true => format!("broker {id} is draining"),
        false => format!("broker {id} is drained: it leads nothing"),
    };
    done(&args.common, &text, json!({ "broker_id": id, "draining": true }))
}

async fn look_at_leaders(admin: &Admin, id: u64) -> Result<Look, Failure> {
    let cluster = admin.cluster().await?;
    let Some(broker) = cluster.brokers.into_iter().find(|broker| broker.id == id) else {
        return Ok(Look::Stuck(format!("broker {id} is not in the cluster any more")));
    };
    let (partitions, system) = (broker.leader_count, broker.system_leader_count);
    if partitions == 0 && system == 0 {
        return Ok(Look::Done);
    }
    let led = partitions_where(admin, |partition| partition.leader == Some(id)).await?;
    let alone = |(_, partition): &&(String, Partition)| partition.replicas == [id];
    let alone: Vec<_> = led.iter().filter(alone).cloned().collect();
    if system == 0 && !alone.is_empty() && alone.len() == led.len() {
        return Ok(Look::Stuck(format!(
            "broker {id} has the only replica of {}, and leads nothing else: reassign what it has \
             (`ropewalk cluster reassign`), or raise the replication factor of the topics",
            names(&alone)
        )));
    }
    let own = match system {
        0 => String::new(),
        count => format!(" and {count} groups of the cluster's own"),
    };
    Ok(Look::Missing(format!("broker {id} still leads {}{own}", names(&led))))
}

pub(super) async fn undrain(args: &Undrain) -> Result<(), Failure> {
    let admin = connect(&args.common).await?.admin();
    let id = args.broker;
    admin.set_draining(id, false).await?;
    let text = format!("broker {id} gets leaders and replicas again");
    done(&args.common, &text, json!({ "broker_id": id, "draining": false }))
}

pub(super) async fn remove(args: &OneBroker) -> Result<(), Failure> {
    let admin = connect(&args.common).await?.admin();
    let id = args.broker;
    // A removal that was begun before is waited for.
    let is_leaving = |broker: &ropewalk::Broker| broker.id == id && broker.removed;
    if !admin.cluster().await?.brokers.iter().any(is_leaving) {
        admin.remove_broker(id).await?;
    }
    wait_until(&args.waiting, async || look_at_replicas(&admin, id).await).await?;
    let text = match args.waiting.no_wait {
        true => {
            format!("broker {id} is being removed: keep it running until its replicas are gone")
        }
        false => {
            format!("broker {id} is removed: it can be stopped, and its data directory deleted")
        }
    };
    done(&args.common, &text, json!({ "broker_id": id, "removed": true }))
}

async fn look_at_replicas(admin: &Admin, id: u64) -> Result<Look, Failure> {
    let cluster = admin.cluster().await?;
    let broker = cluster.brokers.iter().find(|broker| broker.id == id);
    let Some(broker) = broker else {
        return Ok(match cluster.leaderless_partitions {
            0 => Look::Done,
            1 => Look::Missing("1 partition has no leader to ask".to_owned()),
            count => Look::Missing(format!("{count} partitions have no leader to ask")),
        });
    };
    let has = |partition: &Partition| partition.members.iter().any(|member| member.broker == id);
    let left = partitions_where(admin, has).await?;
    let own = match broker.system_replica_count {
        0 => String::new(),
        count => format!(" and of {count} groups of the cluster's own"),
    };
    Ok(Look::Missing(format!("broker {id} still has replicas of {}{own}", names(&left))))
}

pub(super) async fn reassign(args: &Reassign) -> Result<(), Failure> {
    let admin = connect(&args.common).await?.admin();
    let (topic, partition) = (&args.topic, args.partition);
    admin.reassign(topic, partition, &args.to).await?;
    let mut wanted = args.to.clone();
    wanted.sort_unstable();
    wait_until(&args.waiting, async || {
        let described = admin.topic(topic).await?;
        let found = usize::try_from(partition).ok().and_then(|at| described.partitions.get(at));
        let Some(found) = found else {
            return Ok(Look::Stuck(format!("{topic}/{partition} was deleted meanwhile")));
        };
        Ok(look_at_members(found, &wanted))
    })
    .await?;
    let on: Vec<_> = args.to.iter().map(u64::to_string).collect();
    let state = if args.waiting.no_wait { "moves to" } else { "is on" };
    let text = format!("{topic}/{partition} {state} {}", on.join(","));
    let value = json!({ "topic": topic, "partition": partition, "replicas": args.to });
    done(&args.common, &text, value)
}

/// How far a partition is from having these brokers, in order, as voters in sync and nobody else.
fn look_at_members(partition: &Partition, wanted: &[u64]) -> Look {
    if partition.members.is_empty() {
        return Look::Missing("no leader answers".to_owned());
    }
    let mut missing = Vec::new();
    for id in wanted {
        match partition.members.iter().find(|member| member.broker == *id) {
            None => missing.push(format!("broker {id} has no replica yet")),
            Some(member) if !member.voter || !member.in_sync => {
                missing.push(format!("broker {id} lacks {} entries", member.lag));
            }
            Some(_) => {}
        }
    }
    let extra = partition.members.iter().filter(|member| !wanted.contains(&member.broker));
    missing.extend(extra.map(|member| format!("broker {} has still to go", member.broker)));
    if missing.is_empty() { Look::Done } else { Look::Missing(missing.join(", ")) }
}

pub(super) async fn transfer(args: &Transfer) -> Result<(), Failure> {
    let admin = connect(&args.common).await?.admin();
    let (topic, partition) = (&args.topic, args.partition);
    let leader = admin.transfer_leadership(topic, partition, args.to).await?;
    let text = format!("{topic}/{partition} is led by broker {leader}");
    done(&args.common, &text, json!({ "topic": topic, "partition": partition, "leader": leader }))
}

/// The partitions of which something is true, with their topics.
pub(super) async fn partitions_where(
    admin: &Admin,
    is_so: impl Fn(&Partition) -> bool,
) -> Result<Vec<(String, Partition)>, Failure> {
    let mut found = Vec::new();
    for topic in admin.list_topics("").await? {
        match admin.topic(&topic.name).await {
            Ok(described) => {
                let such = described.partitions.into_iter().filter(|partition| is_so(partition));
                found.extend(such.map(|partition| (topic.name.clone(), partition)));
            }
            Err(error) if error.kind() == ropewalk::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// The number of partitions, and the first ones by name.
fn names(partitions: &[(String, Partition)]) -> String {
    let first = partitions.iter().take(NAMED);
    let first: Vec<_> =
        first.map(|(topic, partition)| format!("{topic}/{}", partition.partition)).collect();
    let more = if partitions.len() > NAMED { ", …" } else { "" };
    match partitions.len() {
        0 => "0 partitions".to_owned(),
        1 => format!("1 partition ({})", first.join(", ")),
        count => format!("{count} partitions ({}{more})", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use ropewalk::Replica;

    use super::*;

    fn partition(members: &[(u64, bool, bool, i64)]) -> Partition {
        let member = |(broker, voter, in_sync, lag): &(u64, bool, bool, i64)| Replica {
            broker: *broker,
            voter: *voter,
            in_sync: *in_sync,
            lag: *lag,
            matched_index: 0,
        };
        Partition {
            partition: 0,
            leader: Some(1),
            leader_epoch: 1,
            replicas: vec![1, 2],
            log_start_offset: 0,
            high_watermark: 0,
            size_bytes: 0,
            members: members.iter().map(member).collect(),
        }
    }

    #[test]
    fn a_move_is_done_when_the_wanted_vote_and_nobody_else_is_there() {
        let missing = |members: &[(u64, bool, bool, i64)]| match look_at_members(
            &partition(members),
            &[1, 2],
        ) {
            Look::Done => String::new(),
            Look::Missing(missing) | Look::Stuck(missing) => missing,
        };
        assert_eq!(missing(&[(1, true, true, 0), (2, true, true, 7)]), "");
        assert_eq!(missing(&[]), "no leader answers");
        assert_eq!(missing(&[(1, true, true, 0)]), "broker 2 has no replica yet");
        let moving = [(1, true, true, 0), (2, false, false, 900), (3, true, true, 0)];
        assert_eq!(missing(&moving), "broker 2 lacks 900 entries, broker 3 has still to go");
    }

    #[test]
    fn many_partitions_are_named_in_part() {
        let of = |count| vec![("t".to_owned(), partition(&[])); count];
        assert_eq!(names(&of(1)), "1 partition (t/0)");
        assert_eq!(names(&of(6)), "6 partitions (t/0, t/0, t/0, t/0, t/0, …)");
    }
}
