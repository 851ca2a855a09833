//! What a member may claim after all that can happen to its partitions.

use super::*;

fn at(partition: i32, offset: i64) -> proto::PartitionPosition {
    proto::PartitionPosition { topic: "t".into(), partition, offset, ..Default::default() }
}

fn of(partitions: &[i32]) -> proto::TopicPartitions {
    proto::TopicPartitions { topic: "t".into(), partitions: partitions.to_vec() }
}

fn assigned(generation: i64, assigned: Vec<proto::PartitionPosition>) -> proto::Assignment {
    proto::Assignment { generation, assigned, ..Default::default() }
}

fn ended(generation: i64, partitions: &[i32]) -> proto::Assignment {
    proto::Assignment { generation, ended: vec![of(partitions)], ..Default::default() }
}

fn revoked(generation: i64, partitions: &[i32]) -> proto::Assignment {
    let partitions = Some(of(partitions));
    let revoked = vec![proto::Revocation { partitions, deadline: None }];
    proto::Assignment { generation, revoked, ..Default::default() }
}

fn place(partition: i32) -> Place {
    (Arc::from("t"), partition)
}

/// The member `m`, which has what it was assigned in generation 5.
fn member(partitions: Vec<proto::PartitionPosition>) -> Holdings {
    let mut holdings = Holdings::default();
    holdings.begin("m".into(), 4);
    holdings.apply(assigned(5, partitions), true);
    holdings
}

fn given(holdings: &mut Holdings, partition: i32, offset: i64) {
    holdings.held.get_mut(&place(partition)).unwrap().next = offset;
    holdings.give(&place(partition), offset);
    holdings.finish();
}

fn vouch(holdings: &Holdings, positions: &[Position]) -> Result<Vec<Position>, String> {
    let vouched = holdings.vouch(positions.to_vec(), &BTreeMap::new());
    vouched.map_err(|error| error.reason().to_owned())
}

#[test]
fn a_position_counts_in_its_own_era_only() {
    let mut holdings = member(vec![at(0, 0), at(1, 0)]);
    given(&mut holdings, 0, 101);
    given(&mut holdings, 1, 7);
    let before = holdings.positions();
    assert_eq!(vouch(&holdings, &before).unwrap(), before);
    // Partition 0 goes to another member, which commits 500, and comes back.
    holdings.apply(ended(6, &[0]), false);
    assert_eq!(vouch(&holdings, &before), Err(FENCED.into()));
    holdings.apply(assigned(7, vec![at(0, 500)]), false);
    assert_eq!(vouch(&holdings, &before[..1]), Err(FENCED.into()));
    assert_eq!(vouch(&holdings, &before[1..]).unwrap(), before[1..]);
    // One that does not know where it comes from counts as of now.
    assert_eq!(vouch(&holdings, &[Position::new("t", 0, 501)]).unwrap().len(), 1);
    // A commit that was under way when it went is none of the new era.
    holdings.committed(&before);
    given(&mut holdings, 0, 501);
    assert_eq!(holdings.uncommitted(), [Position::new("t", 0, 501)]);
    // Another member under the same consumer has nothing of the old one's.
    let of_now = holdings.positions();
    assert_eq!(holdings.end(), of_now);
    assert_eq!(vouch(&holdings, &of_now), Err(FENCED.into()));
    holdings.begin("n".into(), 9);
    holdings.apply(assigned(9, vec![at(0, 501), at(1, 7)]), true);
    assert_eq!(vouch(&holdings, &of_now), Err(FENCED.into()));
}

#[test]
fn only_an_assignment_raises_the_generation() {
    let mut holdings = member(vec![at(0, 100)]);
    // Its stream is another one; in between the partition may have been another member's.
    holdings.begin("m".into(), 12);
    assert_eq!(holdings.identity(), ("m".into(), 5));
    let changes = holdings.apply(assigned(12, vec![at(0, 500)]), true);
    assert_eq!((changes.lost.len(), changes.fresh.len()), (1, 1));
    assert_eq!(holdings.identity(), ("m".into(), 12));
}

#[test]
fn what_was_revoked_is_read_again_when_the_next_stream_has_it() {
    let mut holdings = member(vec![at(0, 0)]);
    given(&mut holdings, 0, 10);
    holdings.held.get_mut(&place(0)).unwrap().next = 15;
    let changes = holdings.apply(revoked(6, &[0]), false);
    assert_eq!(changes.revoked[0].0, [Position::new("t", 0, 10)]);
    let era = holdings.held[&place(0)].era;
    assert!(!holdings.reads(&place(0), era));
    // The stream breaks, and the one that was to have it goes. What was read ahead comes again.
    assert_eq!(holdings.to_go_on()[0].offset, 10);
    // It is still to go at first, and then its deadline has passed, and it has come back.
    let still = proto::Assignment { assigned: vec![at(0, 10)], ..revoked(7, &[0]) };
    let changes = holdings.apply(still, true);
    assert_eq!((changes.fresh.len(), changes.revoked[0].0.len()), (0, 1));
    assert!(!holdings.reads(&place(0), era));
    let changes = holdings.apply(assigned(9, vec![at(0, 10)]), true);
    assert_eq!((changes.lost.len(), changes.fresh.len()), (1, 1));
    let now = holdings.held[&place(0)].era;
    assert!(holdings.reads(&place(0), now) && !holdings.reads(&place(0), era));
}

#[test]
fn what_was_given_back_is_no_part_of_a_commit() {
    let mut holdings = member(vec![at(0, 0), at(1, 0)]);
    given(&mut holdings, 0, 10);
    given(&mut holdings, 1, 20);
    let revoked = holdings.apply(revoked(6, &[0]), false).revoked.remove(0).0;
    let kept = [Position::new("t", 1, 20)];
    assert_eq!(holdings.positions().len(), 2, "it is the member's until it is given back");
    holdings.give_back(&mut revoked.clone());
    assert_eq!(holdings.positions(), kept, "and perhaps no more, if there is no answer");
    assert_eq!(holdings.to_go_on().len(), 2);
    holdings.released(&revoked);
    assert_eq!(holdings.positions(), kept);
    assert_eq!(holdings.uncommitted(), kept);
    assert_eq!(vouch(&holdings, &revoked), Err(FENCED.into()));
    assert_eq!(holdings.to_go_on().len(), 1);
    // It comes back at the same offset, and is another era all the same.
    let changes = holdings.apply(assigned(8, vec![at(0, 10), at(1, 20)]), true);
    assert_eq!((changes.lost.len(), changes.fresh.len()), (0, 1));
    assert_eq!(vouch(&holdings, &revoked), Err(FENCED.into()));
    // An answer that comes late gives nothing back of the new era.
    holdings.released(&revoked);
    assert_eq!(holdings.positions().len(), 2);
}

#[test]
fn what_was_kept_and_given_back_meanwhile_is_not_kept_again() {
    let mut holdings = member(vec![at(0, 0), at(1, 0)]);
    (0..2).for_each(|partition| given(&mut holdings, partition, 10));
    let mut revoked = holdings.apply(revoked(6, &[0]), false).revoked.remove(0).0;
    holdings.give_back(&mut revoked);
    // A call is under way when the application closes: what it asks for then goes behind that.
    let asked = holdings.uncommitted();
    assert_eq!(asked.len(), 2);
    holdings.committed(&revoked);
    holdings.released(&revoked);
    let unkept = holdings.unkept(asked);
    assert_eq!(vouch(&holdings, &unkept).unwrap(), [Position::new("t", 1, 10)]);
}

#[test]
fn what_is_refused_is_the_members_no_more_and_lost_unless_it_was_given_back() {
    let mut holdings = member(vec![at(0, 0), at(1, 0), at(2, 0)]);
    (0..3).for_each(|partition| given(&mut holdings, partition, 10));
    let revoked = holdings.apply(revoked(6, &[0, 1]), false).revoked.remove(0).0;
    // Of 0 there is no answer, 1 was surely not given back, and 2 is not to be.
    let all = holdings.positions();
    let mut back = [revoked, vec![all[2].clone()]].concat();
    assert_eq!(holdings.give_back(&mut back).len(), 2);
    holdings.not_given_back(&back[1..]);
    // What is tried again is no first try.
    assert_eq!(holdings.give_back(&mut back.clone()), back[1..]);
    holdings.not_given_back(&back[1..]);
    all.iter().for_each(|at| holdings.refused(at));
    assert!(holdings.positions().is_empty() && holdings.uncommitted().is_empty());
    assert!(holdings.to_go_on().is_empty(), "another stream begins where the group is");
    // That one of them is to be given back is no news of it any more.
    let late = proto::Assignment { ended: vec![of(&[0, 1])], ..self::revoked(8, &[2]) };
    let changes = holdings.apply(late, false);
    assert_eq!((changes.lost, changes.revoked.len()), (vec![Position::new("t", 1, 10)], 0));
    let changes = holdings.apply(assigned(9, vec![at(2, 10)]), true);
    assert_eq!((changes.lost.len(), changes.fresh.len()), (1, 1));
    assert_eq!(holdings.positions().len(), 1);
}

#[test]
fn what_is_not_told_again_by_a_new_stream_is_lost() {
    let mut holdings = member(vec![at(0, 0), at(1, 0)]);
    given(&mut holdings, 1, 3);
    let changes = holdings.apply(assigned(7, vec![at(0, 0)]), true);
    assert_eq!(changes.lost, [Position::new("t", 1, 3)]);
    assert!(changes.fresh.is_empty());
    // A later assignment of the same stream tells changes alone.
    assert!(holdings.apply(assigned(8, vec![at(1, 3)]), false).lost.is_empty());
    assert_eq!(holdings.positions().len(), 2);
}

#[test]
fn a_record_is_done_when_the_next_one_is_given_of_whatever_partition() {
    let mut holdings = member(vec![at(0, 100), at(1, 0)]);
    let uncommitted = |holdings: &Holdings| {
        let positions = holdings.uncommitted().into_iter();
        positions.map(|at| (at.partition, at.offset)).collect::<Vec<_>>()
    };
    let mut give = |partition, offset| {
        holdings.give_next(place(partition), offset);
        uncommitted(&holdings)
    };
    assert_eq!(give(0, 101), []);
    assert_eq!(give(0, 102), [(0, 101)]);
    assert_eq!(give(1, 1), [(0, 102)]);
    assert_eq!(give(1, 2), [(0, 102), (1, 1)]);
}
