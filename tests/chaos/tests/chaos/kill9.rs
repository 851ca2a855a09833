//! Kill -9 under load, over and over on one directory.

use ropewalk_chaos::{ChaosError, Load, LoadPlan, Options, Recorder, Rng, create_topics};
use tokio::time::sleep;

use crate::judge::{builder, read_and_judge, temporary, with_log};

const ROUNDS: u32 = 50;
/// The longest time, in milliseconds, from the start of a load to the kill.
const LOAD_MILLIS: u64 = 450;

pub(crate) async fn run(options: Options) -> Result<String, ChaosError> {
    let directory = temporary()?;
    let mut broker = builder(&directory.path().join("data")).start().await?;
    let recorder = Recorder::default();
    create_topics(broker.address(), &recorder).await?;
    read_and_judge("at first", broker.address(), &recorder).await?;
    let (mut acked, mut records) = (0, 0);
    for round in options.rounds(ROUNDS) {
        let mut rng = Rng::part(options.seed ^ 9, u64::from(round));
        let plan = LoadPlan::of_round(options.seed ^ 9, round);
        let load = Load::start(broker.address(), &recorder, plan);
        sleep(rng.up_to_millis(LOAD_MILLIS)).await;
        broker.kill9().await?;
        load.stop().await?;
        acked += recorder.acked();
        broker.restart().await?;
        let what = format!("round {round}");
        let read = read_and_judge(&what, broker.address(), &recorder).await;
        records = with_log(&broker, read)?.records;
    }
    Ok(format!("{acked} records acked over all rounds, {records} kept at the end"))
}
