//! Random inputs, crashes included, against a model: what was answered is there, once, where it was
//! said to be; and the same inputs lead to the same outputs.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Produce { group: u64, records: u32, durability: Durability },
    Trim { group: u64, back: u64 },
    Persist,
    Settle,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let durability =
        prop_oneof![Just(Durability::None), Just(Durability::Leader), Just(Durability::Quorum)];
    prop_oneof![
        8 => (0..3u64, 1..5u32, durability)
            .prop_map(|(group, records, durability)| Step::Produce { group, records, durability }),
        1 => (0..3u64, 0..4u64).prop_map(|(group, back)| Step::Trim { group, back }),
        6 => Just(Step::Persist),
        1 => Just(Step::Settle),
        1 => Just(Step::Crash),
    ]
}

fn group(number: u64) -> GroupId {
    GroupId(GroupId::FIRST_PARTITION.0 + number)
}

fn open_all(bench: &mut Bench) {
    for number in 0..3 {
        bench.open(group(number), None);
    }
    bench.settle();
}

/// What must hold of the ends of a run.
#[derive(Default)]
struct Model {
    /// For each group, what was promised to be at an offset: the id of its batch.
    promised: BTreeMap<(GroupId, u64), u32>,
    groups: BTreeMap<u32, GroupId>,
    starts: BTreeMap<GroupId, u64>,
}

impl Model {
    fn take(&mut self, ends: &[(u32, End)]) {
        for (id, end) in ends {
            let group = self.groups[id];
            match end {
                End::Appended { base, achieved, .. } if *achieved > Durability::None => {
                    let other = self.promised.insert((group, *base), *id);
                    assert_eq!(other, None, "an offset was given twice");
                }
                End::Trimmed(start) => {
                    let known = self.starts.entry(group).or_default();
                    *known = (*known).max(*start);
                }
                _ => {}
            }
        }
    }

    fn check(&self, bench: &Bench) {
        for number in 0..3 {
            let group = group(number);
            let log: BTreeMap<u64, u32> = bench.log(group).into_iter().collect();
            let start = bench.reader(group).bounds().start.0;
            assert!(start >= self.starts.get(&group).copied().unwrap_or(0), "a trim was undone");
            for ((_, base), id) in self.promised.range((group, start)..=(group, u64::MAX)) {
                assert_eq!(log.get(base), Some(id), "batch {id} is not at {base} of {group}");
            }
        }
    }
}

/// Runs the steps, and returns everything that was observed.
fn run(steps: &[Step]) -> Vec<(u32, End)> {
    let mut bench = Bench::new();
    let mut model = Model::default();
    let mut trace = Vec::new();
    open_all(&mut bench);
    for (id, step) in (0..).zip(steps) {
        match step {
            Step::Produce { group: number, records, durability } => {
                model.groups.insert(id, group(*number));
                bench.produce(group(*number), id, *records, *durability);
            }
            Step::Trim { group: number, back } => {
                let group = group(*number);
                model.groups.insert(id, group);
                let end = bench.reader(group).bounds().high_watermark.0;
                let before = Some(Offset(end.saturating_sub(*back)));
                bench.propose(group, id, ProposalKind::Trim { before });
            }
            Step::Persist => {
                bench.persist_one();
            }
            Step::Settle => bench.step(Input::Settle),
            Step::Crash => {
                let ends = std::mem::take(&mut bench.ends);
                model.take(&ends);
                trace.extend(ends);
                bench = bench.crash();
                open_all(&mut bench);
                model.check(&bench);
            }
        }
    }
    bench.settle();
    model.take(&bench.ends);
    model.check(&bench);
    trace.extend(bench.ends);
    trace
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_answered_is_there_and_runs_repeat(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        prop_assert_eq!(run(&steps), run(&steps));
    }
}
