//! 13 members of a consumer group come and go at random, and commit all that they got before they
//! give it back: each of 50,000 records is delivered once.

use std::collections::BTreeMap;
use std::time::Duration;

use ropewalk_chaos::{
    Answer, Call, ChaosError, Client, Cluster, History, MemberEvent, Options, Outcome, Place,
    Recorder, Rng, Stubs, Swarm, ValueId, append_once, read_back_through, reason_of,
};
use ropewalk_proto::v1;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::COPIES;
use crate::judge::{judge, needs_network, settings, temporary};

const TOPIC: &str = "fifty-thousand";
const GROUP: &str = "thirteen";
const MEMBERS: usize = 13;
/// More than members: some have more than others.
const PARTITIONS: i32 = 16;
const RECORDS: u64 = 50_000;
const BATCH: u64 = 50;
const PAYLOAD: usize = 100;
const PRODUCERS: u32 = 4;
/// The clients of the members have smaller numbers.
const FIRST_PRODUCER: Client = 1_000_000;
/// The longest pause between two batches of a producer, in milliseconds: members come and go
/// meanwhile.
const PAUSE_MILLIS: u64 = 160;
/// How long the members may need for what is left.
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    needs_network()?;
    let mut cluster = Cluster::make(3, temporary()?, settings)?;
    cluster.start().await?;
    let recorder = Recorder::of(History::timed());
    recorder.lock().exactly_once.insert(GROUP.into());
    let address = cluster.addresses()[0].1.clone();
    create(&address, &recorder).await?;
    let addresses = cluster.addresses();
    let seed = options.seed;
    let swarm = Swarm::start_members(addresses, &recorder, seed, GROUP, TOPIC, MEMBERS);
    let mut producers = JoinSet::new();
    for number in 0..PRODUCERS {
        let recorder = recorder.clone();
        producers.spawn(produce(address.clone(), recorder, number, Rng::part(seed, number.into())));
    }
    while let Some(ended) = producers.join_next().await {
        ended.map_err(|error| ChaosError::broken(format!("a producer ended: {error}")))??;
    }
    all_is_committed(&recorder).await?;
    swarm.calm(&[GROUP]).await;
    swarm.stop().await?;
    read_back_through(1, &address, &recorder, &[TOPIC]).await?;
    judge("thirteen_members", &recorder)?;
    Ok(sum_up(&recorder.lock()))
}

async fn create(address: &str, recorder: &Recorder) -> Result<(), ChaosError> {
    let stubs = Stubs::connect(address).await?;
    let request = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        partition_count: PARTITIONS,
        replication_factor: COPIES,
        ..Default::default()
    };
    let id = recorder.invoke(0, Call::CreateTopic { topic: TOPIC.into(), retained: false });
    let created = stubs.admin().create_topic(request).await;
    created.map_err(ChaosError::refused(format!("creating {TOPIC}")))?;
    recorder.end(id, Outcome::Ok(Answer::Done));
    Ok(())
}

/// Its part of the records, in batches to any partitions.
async fn produce(
    address: String,
    recorder: Recorder,
    number: u32,
    mut rng: Rng,
) -> Result<(), ChaosError> {
    let stubs = Stubs::connect(&address).await?;
    let client = FIRST_PRODUCER + number;
    let count = RECORDS / u64::from(PRODUCERS);
    for first in (0..count).step_by(usize::try_from(BATCH).unwrap_or(1)) {
        let partition = i32::try_from(rng.within(0..u64::from(PARTITIONS.unsigned_abs())));
        let place = Place::new(TOPIC, partition.unwrap_or(0));
        append(&stubs, &recorder, &place, client, first).await?;
        sleep(rng.up_to_millis(PAUSE_MILLIS)).await;
    }
    Ok(())
}

/// Appends a batch. On a busy machine a partition is without a leader at times: what was refused
/// for that is surely not in the log, so it goes again, as other values: the checker knows these.
async fn append(
    stubs: &Stubs,
    recorder: &Recorder,
    place: &Place,
    client: Client,
    first: u64,
) -> Result<(), ChaosError> {
    let until = Instant::now() + WITHIN;
    for attempt in 0.. {
        let first = first + attempt * RECORDS;
        let ids: Vec<_> =
            (first..first + BATCH).map(|counter| ValueId { client, counter }).collect();
        match append_once(stubs, recorder, place, &ids, PAYLOAD).await {
            Err(status) if reason_of(&status) == "NO_LEADER" && Instant::now() < until => {
                sleep(Duration::from_millis(100)).await;
            }
            ended => {
                let refused = ChaosError::refused(format!("appending to {place}"));
                return ended.map(drop).map_err(refused);
            }
        }
    }
    Ok(())
}

/// Waits until the group has committed the end of every partition: then, as the checker looks at
/// what is below a commit, each record was delivered.
async fn all_is_committed(recorder: &Recorder) -> Result<(), ChaosError> {
    let until = Instant::now() + WITHIN;
    loop {
        let left = {
            let history = recorder.lock();
            let committed = committed(&history);
            let ends = ends(&history);
            ends.into_iter().find(|(place, end)| committed.get(place) != Some(end))
        };
        match left {
            None => return Ok(()),
            Some((place, end)) if Instant::now() > until => {
                let what = format!("{place} is not committed up to {end} after {WITHIN:?}");
                judge("thirteen_members", recorder)?;
                return Err(ChaosError::broken(what));
            }
            Some(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The end of each partition, by what was acked.
fn ends(history: &History) -> BTreeMap<Place, i64> {
    let mut ends = BTreeMap::new();
    for operation in &history.operations {
        if let (Call::Append { place, values }, Some((_, Answer::Appended(base)))) =
            (&operation.call, operation.ok())
        {
            let end = base + i64::try_from(values.len()).unwrap_or(i64::MAX);
            let known = ends.entry(place.clone()).or_insert(end);
            *known = end.max(*known);
        }
    }
    ends
}

/// What was committed last of each partition.
fn committed(history: &History) -> BTreeMap<Place, i64> {
    let mut committed = BTreeMap::new();
    for operation in &history.operations {
        if let (Call::Commit { place, offset, .. }, Some(_)) = (&operation.call, operation.ok()) {
            committed.insert(place.clone(), *offset);
        }
    }
    committed
}

fn sum_up(history: &History) -> String {
    let count = |is_it: fn(&MemberEvent) -> bool| {
        history.members.iter().filter(|told| is_it(&told.event)).count()
    };
    format!(
        "{RECORDS} records delivered once, by members that joined {} times and got {} partitions",
        count(|event| matches!(event, MemberEvent::Joined { .. })),
        count(|event| matches!(event, MemberEvent::Assigned { .. })),
    )
}
