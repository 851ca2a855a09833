//! What a consumer group can do wrong: each planted here.

use std::collections::BTreeMap;

use super::super::check;
use super::*;
use crate::history::{
    Answer, Call, Committer, GroupState, MemberEvent, Membership, Outcome, Seen, Sight,
};
use crate::value::ValueId;

const A: Client = 1;
const B: Client = 2;
const C: Client = 3;
/// The ticks that a member has for what is revoked.
const DRAIN: u64 = 1_000_000;

fn group() -> Arc<str> {
    "g".into()
}

fn place() -> Place {
    Place::new("t", 0)
}

fn member(client: Client) -> Arc<str> {
    format!("m{client}").into()
}

/// A group as its members saw it, written down as it happens.
#[derive(Default)]
struct Story(History);

impl Story {
    fn tell(&mut self, client: Client, event: MemberEvent) -> &mut Self {
        self.0.tell(Membership { at: 0, client, node: 1, group: group(), event });
        self
    }

    fn joined(&mut self, client: Client, generation: i64) -> &mut Self {
        let (member, asked) = (member(client), self.0.now());
        self.tell(client, MemberEvent::Joined { member, generation, asked, drain: DRAIN })
    }

    fn assigned(&mut self, client: Client, generation: i64, offset: i64) -> &mut Self {
        let (place, asked, log_start) = (place(), None, 0);
        let event =
            MemberEvent::Assigned { generation, place: place.clone(), asked, offset, log_start };
        self.tell(client, event);
        let sight = Sight::Started { asked: Some(offset), offset, high_watermark: 0, log_start: 0 };
        self.see(client, generation, sight)
    }

    fn revoked(&mut self, client: Client, generation: i64) -> &mut Self {
        let until = self.0.now() + DRAIN;
        self.tell(client, MemberEvent::Revoked { generation, place: place(), until })
    }

    fn ended(&mut self, client: Client, generation: i64) -> &mut Self {
        self.tell(client, MemberEvent::Ended { generation, place: place() })
    }

    fn gone(&mut self, client: Client) -> &mut Self {
        self.tell(client, MemberEvent::Gone { left: false })
    }

    fn see(&mut self, client: Client, generation: i64, sight: Sight) -> &mut Self {
        let era = u32::try_from(generation).unwrap();
        self.0.see(Seen { at: 0, reader: client, era, node: 1, place: place(), sight });
        self
    }

    /// Records from an offset to another come to a member whose era began in this generation.
    fn got(&mut self, client: Client, generation: i64, from: i64, to: i64) -> &mut Self {
        let values = (from..to).map(|offset| Some(value(offset))).collect();
        self.see(client, generation, Sight::Batch { base: from, epoch: 1, values })
    }

    fn commit(&mut self, client: Client, generation: i64, offset: i64, how: Outcome) -> &mut Self {
        self.commits(client, generation, offset, false, how)
    }

    fn released(&mut self, client: Client, generation: i64, offset: i64) -> &mut Self {
        self.commits(client, generation, offset, true, Outcome::Ok(Answer::Done))
    }

    fn commits(
        &mut self,
        client: Client,
        generation: i64,
        offset: i64,
        releases: bool,
        outcome: Outcome,
    ) -> &mut Self {
        let by = Some(Committer { member: member(client), generation, releases });
        self.0.call(client, Call::Commit { group: group(), place: place(), offset, by }, outcome);
        self
    }

    fn described(&mut self, is_stable: bool, members: &[(Client, bool)]) -> &mut Self {
        let has = |(client, has): &(Client, bool)| {
            (member(*client), if *has { vec![place()] } else { Vec::new() })
        };
        let members: BTreeMap<_, _> = members.iter().map(has).collect();
        let state = GroupState { is_stable, generation: 9, members };
        let answer = Outcome::Ok(Answer::Group(state));
        self.0.call(0, Call::DescribeGroup { group: group() }, answer);
        self
    }

    /// Nothing happens for so many ticks.
    fn pass(&mut self, ticks: u64) -> &mut Self {
        self.0.pass(ticks);
        self
    }

    #[track_caller]
    fn shows(&self, expected: &[&str]) {
        let found = check(&self.0);
        let kinds: Vec<String> = found
            .iter()
            .map(|found| match found {
                Violation::Group(found) => format!("{found:?}"),
                other => format!("{other:?}"),
            })
            .map(|text| text.split([' ', '{']).next().unwrap().to_owned())
            .collect();
        for kind in expected {
            assert!(kinds.iter().any(|found| found == kind), "{kind} was not found: {found:#?}");
        }
        assert_eq!(found.is_empty(), expected.is_empty(), "{found:#?}");
    }
}

fn value(offset: i64) -> ValueId {
    ValueId { client: 9, counter: offset.unsigned_abs() }
}

fn done() -> Outcome {
    Outcome::Ok(Answer::Done)
}

fn unknown() -> Outcome {
    Outcome::Unknown("the connection broke".into())
}

fn fenced() -> Outcome {
    Outcome::Fail("MEMBER_FENCED".into())
}

/// Ten records; the first member has got four of them and committed two.
fn begun() -> Story {
    let mut story = Story::default();
    let values = (0..10).map(value).collect();
    let appended = Outcome::Ok(Answer::Appended(0));
    story.0.call(9, Call::Append { place: place(), values }, appended);
    story.joined(A, 5).assigned(A, 5, 0).got(A, 5, 0, 4).commit(A, 5, 2, done());
    story
}

/// A second member comes, and the first gives the partition back.
fn moved() -> Story {
    let mut story = begun();
    story.joined(B, 6).revoked(A, 6).released(A, 6, 4).ended(A, 7);
    story.assigned(B, 7, 4).got(B, 7, 4, 6);
    story
}

#[test]
fn an_honest_group_passes() {
    let mut story = moved();
    // What the former owner says is refused, and its next stream goes on with nothing.
    story.commit(A, 6, 2, fenced()).gone(A).joined(A, 7);
    // The new one commits and loses its stream; back again it goes on where it asked to.
    story.commit(B, 7, 5, done()).commit(B, 7, 6, unknown()).gone(B).joined(B, 7);
    let event = MemberEvent::Assigned {
        generation: 7,
        place: place(),
        asked: Some(6),
        offset: 6,
        log_start: 0,
    };
    let started = Sight::Started { asked: Some(6), offset: 6, high_watermark: 10, log_start: 0 };
    story.tell(B, event).see(B, 8, started).got(B, 8, 6, 10).commit(B, 7, 10, done());
    // It does not react, and its time passes.
    story.revoked(B, 9).pass(DRAIN).assigned(A, 10, 10).ended(B, 10).commit(B, 9, 7, fenced());
    // And back within one message.
    story.revoked(A, 11).released(A, 11, 10).ended(A, 13).assigned(A, 13, 10);
    story.commit(A, 13, 10, done());
    story.0.calm_down();
    story.described(false, &[(A, true), (B, false)]).described(true, &[(A, true), (B, false)]);
    story.pass(STABLE_WITHIN).described(true, &[(A, true), (B, false)]);
    story.shows(&[]);
    assert!(is_stable(&story.0));
}

#[test]
fn a_partition_with_two_owners_is_found() {
    // In one generation.
    begun().joined(B, 5).assigned(B, 5, 2).shows(&["TwoOwners"]);
    // The first one was told later that it has it still.
    let mut story = begun();
    story.joined(B, 6).revoked(A, 8).released(A, 8, 4).assigned(B, 7, 4);
    story.shows(&["TwoOwners"]);
    // Its commit of a later generation counts.
    let mut story = moved();
    story.commit(A, 8, 6, done());
    story.shows(&["TwoOwners"]);
}

#[test]
fn a_partition_that_is_taken_before_its_time_is_found() {
    // It was told that it has time.
    let mut story = begun();
    story.joined(B, 6).revoked(A, 6).pass(DRAIN / 2).assigned(B, 7, 2).ended(A, 7);
    story.shows(&["TakenEarly"]);
    story.0.clocks_jump = true;
    story.shows(&[]);
    // It was told nothing, but the other one has not been there for so long.
    begun().joined(B, 6).assigned(B, 7, 2).ended(A, 7).shows(&["TakenEarly"]);
    // It was taken for one that is gone, and another one has it.
    let mut story = begun();
    story.joined(C, 6).pass(DRAIN).joined(B, 7).assigned(B, 8, 2).ended(A, 8).shows(&[]);
    // It has had its time, whatever it heard; or the group went on without it.
    begun().joined(B, 6).pass(DRAIN).assigned(B, 7, 2).ended(A, 7).shows(&[]);
    begun().joined(B, 6).revoked(A, 6).assigned(B, 7, 2).gone(A).shows(&[]);
    // Or has given it back before it hears of another deadline.
    let mut story = begun();
    story.joined(B, 6).revoked(A, 6).released(A, 6, 4).revoked(A, 6);
    story.assigned(B, 7, 4).ended(A, 7).shows(&[]);
}

#[test]
fn a_stale_commit_that_counts_is_found() {
    // Of a member that has lost the partition to another one.
    let mut story = moved();
    story.commit(A, 6, 4, done());
    story.shows(&["StaleCommit"]);
    // Of one that was never told that it lost it, and was thought to be gone.
    let mut story = begun();
    story.joined(B, 6).pass(2 * DRAIN).assigned(B, 7, 2).commit(A, 5, 2, done());
    story.shows(&["StaleCommit"]);
    // Of one that has the partition again, and names a generation of before.
    let mut story = begun();
    story.revoked(A, 6).released(A, 6, 4).ended(A, 7).assigned(A, 9, 4).commit(A, 7, 4, done());
    story.shows(&["StaleCommit"]);
    let mut story = begun();
    story.revoked(A, 6).released(A, 6, 4).ended(A, 9).assigned(A, 9, 4).commit(A, 6, 4, done());
    story.shows(&["StaleCommit"]);
    // Of one that was told, although nobody has it yet.
    let mut story = begun();
    story.revoked(A, 6).ended(A, 6).commit(A, 6, 2, done());
    story.shows(&["StaleCommit"]);
    // What is under way while it moves may count.
    let mut story = begun();
    let by = Some(Committer { member: member(A), generation: 6, releases: true });
    let call = Call::Commit { group: group(), place: place(), offset: 4, by };
    story.joined(B, 6).revoked(A, 6);
    let open = story.0.invoke(A, call);
    story.assigned(B, 7, 4);
    story.0.end(open, done());
    story.shows(&[]);
}

#[test]
fn an_owner_that_begins_elsewhere_is_found() {
    // A commit that was forgotten: by the next owner,
    let mut story = begun();
    story.revoked(A, 6).released(A, 6, 4).ended(A, 7).joined(B, 6).assigned(B, 7, 2);
    story.shows(&["WrongStart"]);
    // by the same one,
    begun().gone(A).joined(A, 5).assigned(A, 5, 0).shows(&["WrongStart"]);
    // and before the first commit.
    Story::default().joined(A, 5).assigned(A, 5, 3).shows(&["WrongStart"]);
    // One that nobody knows may count, and one that came in between may not.
    let mut story = begun();
    story.commit(A, 5, 4, unknown()).gone(A);
    let before = story.0.clone();
    story.joined(B, 6).assigned(B, 7, 4).shows(&[]);
    let mut story = Story(before);
    story.joined(B, 6).assigned(B, 7, 2).commit(B, 7, 3, done()).gone(B).joined(A, 8);
    story.assigned(A, 9, 4).shows(&["WrongStart"]);
}

#[test]
fn a_deleted_group_begins_anew() {
    let mut story = begun();
    story.gone(A);
    story.0.call(0, Call::DeleteGroup { group: group() }, done());
    let before = story.0.clone();
    story.joined(B, 20).assigned(B, 20, 0).commit(A, 5, 4, fenced()).shows(&[]);
    let mut story = Story(before);
    story.joined(B, 20).assigned(B, 20, 2).shows(&["WrongStart"]);
}

#[test]
fn records_of_what_a_member_does_not_have_are_found() {
    let mut story = begun();
    story.revoked(A, 6).got(A, 5, 4, 5).shows(&["NotOwned"]);
    let mut story = begun();
    story.revoked(A, 6).released(A, 6, 4).ended(A, 7).got(A, 5, 4, 5);
    story.shows(&["NotOwned"]);
    begun().got(A, 5, 5, 6).shows(&["ReaderSkipped"]);
}

#[test]
fn a_commit_of_what_nobody_got_is_found() {
    let mut story = begun();
    story.commit(A, 5, 6, done()).shows(&["NotDelivered"]);
    let mut story = begun();
    story.see(A, 5, Sight::Gap { from: 4, to: 6 });
    let gap = |found: &Violation| matches!(found, Violation::Group(_));
    story.commit(A, 5, 6, done());
    assert!(!check(&story.0).iter().any(gap), "what is gone cannot be delivered");
}

#[test]
fn what_is_delivered_twice_is_found_where_that_cannot_be() {
    let mut story = begun();
    story.revoked(A, 6).commits(A, 6, 3, true, done()).ended(A, 7).joined(B, 6);
    story.assigned(B, 7, 3).got(B, 7, 3, 6);
    story.shows(&[]);
    story.0.exactly_once.insert(group());
    story.shows(&["DeliveredTwice"]);
}

#[test]
fn a_generation_that_falls_is_found() {
    begun().revoked(A, 4).shows(&["GenerationFell"]);
}

#[test]
fn a_group_that_does_not_become_stable_is_found() {
    let calm = || {
        let mut story = begun();
        story.0.calm_down();
        story
    };
    let cases: [(bool, &[(Client, bool)]); 4] = [
        (false, &[(A, true)]),
        (true, &[(A, false)]),
        (true, &[(A, true), (B, false)]),
        (true, &[]),
    ];
    for (is_stable, members) in cases {
        let mut story = calm();
        story.described(is_stable, members).shows(&[]);
        story.pass(STABLE_WITHIN).described(is_stable, members).shows(&["Unstable"]);
    }
    calm().pass(2 * STABLE_WITHIN).described(true, &[(A, true)]).shows(&["Unstable"]);
    let mut story = calm();
    story.described(true, &[(A, true)]).shows(&[]);
    story.described(false, &[(A, true)]).shows(&["Unstable"]);
    // Somebody came: there is time again.
    let mut story = calm();
    story.pass(2 * STABLE_WITHIN).joined(B, 6);
    story.described(false, &[(A, true)]).described(true, &[(A, true), (B, false)]).shows(&[]);
}
