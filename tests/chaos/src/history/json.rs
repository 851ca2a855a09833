//! A history as lines of JSON, one an event, in the order of their ticks: for people who look for
//! the cause of a violation.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{
    Answer, Call, GroupState, History, MemberEvent, Membership, Operation, Outcome, Place, Seen,
    Sight,
};
use crate::value::ValueId;

impl History {
    /// Writes every event since the last settling. `time` is a tick, of a timed history a
    /// microsecond.
    ///
    /// # Errors
    /// What the writer answers.
    pub fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        let mut events: Vec<(u64, Value)> = Vec::new();
        for (number, operation) in self.operations.iter().enumerate() {
            events.push((operation.invoked, invoked(number, operation)));
            if let Some((at, outcome)) = &operation.ended {
                events.push((*at, ended(number, *at, operation, outcome)));
            }
        }
        events.extend(self.seen.iter().map(|seen| (seen.at, sight(seen))));
        events.extend(self.members.iter().map(|told| (told.at, membership(told))));
        events.extend(self.calm.map(|at| (at, json!({"time": at, "event": "calm"}))));
        if let Some(healed) = &self.healed {
            let event = json!({"time": healed.at, "event": "healed", "within": healed.within});
            events.push((healed.at, event));
        }
        for fault in self.disturbances.iter().flatten() {
            for (at, event) in [(fault.from, "fault"), (fault.to, "fault over")] {
                events.push((at, json!({"time": at, "event": event, "nodes": fault.nodes})));
            }
        }
        events.sort_by_key(|(at, _)| *at);
        for (_, event) in events {
            writeln!(out, "{event}")?;
        }
        Ok(())
    }
}

/// Adds the fields of one object to another.
fn with(mut event: Value, more: Value) -> Value {
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    event
}

fn names(values: &[ValueId]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn invoked(number: usize, operation: &Operation) -> Value {
    let event = json!({
        "time": operation.invoked, "event": "invoke", "call": number,
        "client": operation.client, "node": operation.node,
    });
    let at = |place: &Place, operation: &str| {
        json!({
            "operation": operation, "topic": &*place.topic, "partition": place.partition,
        })
    };
    let call = match &operation.call {
        Call::Append { place, values } => {
            with(at(place, "append"), json!({"values": names(values)}))
        }
        Call::CreateTopic { topic, retained } => {
            json!({"operation": "create topic", "topic": &**topic, "retained": retained})
        }
        Call::DeleteTopic { topic } => json!({"operation": "delete topic", "topic": &**topic}),
        Call::Commit { group, place, offset, by } => {
            let commit = with(at(place, "commit"), json!({"group": &**group, "offset": offset}));
            let by = by.as_ref().map(|by| {
                json!({
                    "member": &*by.member, "generation": by.generation, "releases": by.releases,
                })
            });
            match by {
                Some(by) => with(commit, by),
                None => commit,
            }
        }
        Call::DeleteGroup { group } => json!({"operation": "delete group", "group": &**group}),
        Call::DescribeGroup { group } => json!({"operation": "describe group", "group": &**group}),
        Call::Trim { place, before } => with(at(place, "trim"), json!({"offset": before})),
        Call::Latest { place } => at(place, "latest"),
        Call::ReadLog { place } => at(place, "read log"),
        Call::Describe { topic } => json!({"operation": "describe", "topic": &**topic}),
        Call::ReadTopics => json!({"operation": "read topics"}),
        Call::ReadCommits { group } => json!({"operation": "read commits", "group": &**group}),
    };
    with(event, call)
}

fn ended(number: usize, at: u64, operation: &Operation, outcome: &Outcome) -> Value {
    let event = |word: &str| {
        json!({
            "time": at, "event": word, "call": number,
            "client": operation.client, "node": operation.node,
        })
    };
    let answer = match outcome {
        Outcome::Fail(reason) => return with(event("fail"), json!({"reason": reason})),
        Outcome::Unknown(status) => return with(event("unknown"), json!({"status": status})),
        Outcome::Ok(answer) => answer,
    };
    let answer = match answer {
        Answer::Appended(base) => json!({"offset": base, "epoch": operation.epoch}),
        Answer::Done => json!({}),
        Answer::Trimmed(start) => json!({"log_start": start}),
        Answer::Latest(end) => json!({"offset": end, "epoch": operation.epoch}),
        Answer::Log(read) => {
            let values = read.records.iter().map(|(_, value)| value.map(|value| value.to_string()));
            let values: Vec<_> = values.collect();
            json!({"log_start": read.start, "high_watermark": read.end, "values": values})
        }
        Answer::Described(partitions) => {
            let partitions = partitions.iter().map(|found| {
                json!({
                    "partition": found.partition, "leader": found.leader, "epoch": found.epoch,
                    "log_start": found.log_start, "high_watermark": found.high_watermark,
                })
            });
            json!({"partitions": partitions.collect::<Vec<_>>()})
        }
        Answer::Topics(topics) => {
            json!({"topics": topics.iter().map(|topic| topic.to_string()).collect::<Vec<_>>()})
        }
        Answer::Commits(commits) => {
            let commits = commits.iter().map(|(place, offset)| json!([place.to_string(), offset]));
            json!({"commits": commits.collect::<Vec<_>>()})
        }
        Answer::Group(GroupState { is_stable, generation, members }) => {
            let members = members.iter().map(|(member, has)| {
                let has: Vec<_> = has.iter().map(ToString::to_string).collect();
                json!({"member": &**member, "assigned": has})
            });
            let members: Vec<_> = members.collect();
            json!({"stable": is_stable, "generation": generation, "members": members})
        }
    };
    with(event("ok"), answer)
}

fn sight(seen: &Seen) -> Value {
    let event = json!({
        "time": seen.at, "event": "seen", "client": seen.reader, "era": seen.era,
        "node": seen.node, "topic": &*seen.place.topic, "partition": seen.place.partition,
    });
    let what = match &seen.sight {
        Sight::Started { asked, offset, high_watermark, log_start } => json!({
            "sight": "started", "asked": asked, "offset": offset,
            "high_watermark": high_watermark, "log_start": log_start,
        }),
        Sight::Batch { base, epoch, values } => {
            let values = values.iter().map(|value| value.map(|value| value.to_string()));
            let values: Vec<_> = values.collect();
            json!({"sight": "batch", "offset": base, "epoch": epoch, "values": values})
        }
        Sight::Heartbeat { high_watermark } => {
            json!({"sight": "heartbeat", "high_watermark": high_watermark})
        }
        Sight::Gap { from, to } => json!({"sight": "gap", "offset": from, "to": to}),
    };
    with(event, what)
}

fn membership(told: &Membership) -> Value {
    let event = json!({
        "time": told.at, "event": "member", "client": told.client, "node": told.node,
        "group": &*told.group,
    });
    let of = |place: &Place, what: &str, generation: i64| {
        json!({
            "told": what, "topic": &*place.topic, "partition": place.partition,
            "generation": generation,
        })
    };
    let what = match &told.event {
        MemberEvent::Joined { member, generation, asked, drain } => json!({
            "told": "joined", "member": &**member, "generation": generation, "asked": asked,
            "drain": drain,
        }),
        MemberEvent::Assigned { generation, place, asked, offset, log_start } => with(
            of(place, "assigned", *generation),
            json!({"asked": asked, "offset": offset, "log_start": log_start}),
        ),
        MemberEvent::Revoked { generation, place, until } => {
            with(of(place, "revoked", *generation), json!({"until": until}))
        }
        MemberEvent::Ended { generation, place } => of(place, "ended", *generation),
        MemberEvent::Gone { left } => json!({"told": "gone", "left": left}),
    };
    with(event, what)
}

#[cfg(test)]
mod tests {
    use super::super::NodeId;
    use super::*;

    #[test]
    fn every_event_is_a_line_in_order() {
        let mut history = History::default();
        let place = Place::new("t", 1);
        let value = ValueId { client: 7, counter: 0 };
        let node: NodeId = 2;
        let call = Call::Append { place: place.clone(), values: vec![value] };
        let id = history.invoke_at(node, 7, call);
        let sight = Sight::Batch { base: 4, epoch: 3, values: vec![Some(value), None] };
        history.see(Seen { at: 0, reader: 9, era: 1, node, place, sight });
        history.end_led(id, Some(3), Outcome::Ok(Answer::Appended(4)));
        let mut out = Vec::new();
        history.write_lines(&mut out).unwrap();
        let lines: Vec<Value> = String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["invoke", "seen", "ok"]);
        assert_eq!(lines[0]["values"], json!(["7-0"]));
        assert_eq!(lines[1]["values"], json!(["7-0", null]));
        assert_eq!((&lines[2]["offset"], &lines[2]["epoch"]), (&json!(4), &json!(3)));
    }
}
