//! The steps from the members that a group has to those that it is to have.

use ropewalk_cluster::answer::encode_index;
use ropewalk_cluster::{BrokerRegistration, LEVEL, MetadataMachine};
use ropewalk_consensus::StateMachine;
use ropewalk_core::{Offset, Timestamp};

use super::*;
use crate::driver::Driver;
use crate::driver::fake_shard::{FakeShard, Told};
use crate::fake_peers::FakePeers;
use crate::support::peer_address;

fn replica(node: u64, serial: u32) -> ReplicaId {
    ReplicaId::new(NodeId(node), serial)
}

/// Makes all steps, each with success, and returns them.
fn steps(voters: &[ReplicaId], learners: &[ReplicaId], desired: &Desired) -> Vec<Step> {
    steps_past(&[], voters, learners, desired)
}

/// The same while some are behind, and stay so.
fn steps_past(
    behind: &[ReplicaId],
    voters: &[ReplicaId],
    learners: &[ReplicaId],
    desired: &Desired,
) -> Vec<Step> {
    let mut role = Role {
        replica: voters.first().copied(),
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        ..Role::default()
    };
    let mut steps = Vec::new();
    while let Some(step) = next_step(&role, desired, behind) {
        steps.push(step);
        assert!(steps.len() < 20, "it does not end: {steps:?}");
        let Step::Change(change) = step else { break };
        match change {
            MembershipChange::AddLearner(replica) => {
                role.voters.retain(|voter| *voter != replica);
                role.learners.push(replica);
            }
            MembershipChange::Promote(replica) => {
                role.learners.retain(|learner| *learner != replica);
                role.voters.push(replica);
            }
            MembershipChange::Remove(replica) => {
                role.voters.retain(|voter| *voter != replica);
                role.learners.retain(|learner| *learner != replica);
            }
        }
    }
    steps
}

/// What has no disk counts for nothing: without it no more votes are needed than before.
#[test]
fn a_replica_that_lost_its_disk_goes_before_the_new_one_comes() {
    let (one, two, lost, new) = (replica(1, 0), replica(2, 0), replica(3, 0), replica(3, 9));
    let desired = Desired { voters: vec![one, two, new], learners: Vec::new() };
    let expected = [
        Step::Change(MembershipChange::Remove(lost)),
        Step::Change(MembershipChange::AddLearner(new)),
        Step::Change(MembershipChange::Promote(new)),
    ];
    assert_eq!(steps(&[one, two, lost], &[], &desired), expected);
}

/// Its broker gives it back the replica that it has yet.
#[test]
fn a_group_that_moves_back_before_it_has_moved_away_keeps_its_replica() {
    let (old, away, other) = (replica(1, 0), replica(2, 10), replica(3, 13));
    let desired = Desired { voters: vec![away, old, other], learners: Vec::new() };
    let expected = [
        Step::Change(MembershipChange::AddLearner(other)),
        Step::Change(MembershipChange::Promote(other)),
    ];
    assert_eq!(steps(&[old, away], &[], &desired), expected);
    let back = Desired { voters: vec![old], learners: Vec::new() };
    let let_go = [Step::Change(MembershipChange::Remove(away))];
    assert_eq!(steps(&[old], &[away], &back), let_go);
}

/// The metadata that a leader knows may be older than what its predecessor has done.
#[test]
fn older_metadata_change_nothing_where_a_broker_has_a_later_replica() {
    let (one, two, lost, new) = (replica(1, 0), replica(2, 0), replica(3, 0), replica(3, 9));
    let before = Desired { voters: vec![one, two, lost], learners: Vec::new() };
    assert_eq!(steps(&[one, two, new], &[], &before), []);
    assert_eq!(steps(&[one, two], &[new], &before), []);
}

/// Neither the others that come nor those that go are waited for.
#[test]
fn what_is_lost_goes_first() {
    let (one, two, three) = (replica(1, 0), replica(2, 0), replica(3, 0));
    let (late, new, dead) = (replica(4, 5), replica(4, 7), replica(5, 7));
    let desired = Desired { voters: vec![one, two, new], learners: Vec::new() };
    let expected = [
        Step::Change(MembershipChange::Remove(late)),
        Step::Change(MembershipChange::AddLearner(new)),
        Step::Change(MembershipChange::Promote(new)),
        Step::Change(MembershipChange::Remove(three)),
    ];
    assert_eq!(steps(&[one, two, three], &[late], &desired), expected);
    assert_eq!(steps(&[one, two, three, late], &[], &desired), expected);

    let desired = Desired { voters: vec![one, new, dead], learners: Vec::new() };
    let expected = [
        Step::Change(MembershipChange::Remove(late)),
        Step::Change(MembershipChange::AddLearner(new)),
        Step::Change(MembershipChange::AddLearner(dead)),
        Step::Change(MembershipChange::Promote(new)),
    ];
    assert_eq!(steps_past(&[dead], &[one, two, late], &[], &desired), expected);
}

#[test]
fn a_leader_in_whose_place_another_replica_is_to_come_hands_over_to_one_that_votes() {
    let (old, two, three, new) = (replica(1, 0), replica(2, 0), replica(3, 0), replica(1, 5));
    let desired = Desired { voters: vec![new, two, three], learners: Vec::new() };
    let members = [old, two, three];
    assert_eq!(steps(&members, &[], &desired), [Step::HandOver(two)]);
    assert_eq!(steps_past(&[two], &members, &[], &desired), [Step::HandOver(three)]);
    // Where nobody else votes it stays until somebody does: it is all that there is.
    let desired = Desired { voters: vec![new, two], learners: Vec::new() };
    let expected = [
        Step::Change(MembershipChange::AddLearner(two)),
        Step::Change(MembershipChange::Promote(two)),
        Step::HandOver(two),
    ];
    assert_eq!(steps(&[old], &[], &desired), expected);
    let desired = Desired { voters: vec![new], learners: Vec::new() };
    assert_eq!(steps(&[old], &[], &desired), []);
}

#[test]
fn a_leader_that_is_to_go_lets_the_others_go_and_hands_over_last() {
    let (one, two, three, four) = (replica(1, 0), replica(2, 0), replica(3, 0), replica(4, 5));
    let desired = Desired { voters: vec![four], learners: Vec::new() };
    let expected = [
        Step::Change(MembershipChange::AddLearner(four)),
        Step::Change(MembershipChange::Promote(four)),
        Step::Change(MembershipChange::Remove(two)),
        Step::Change(MembershipChange::Remove(three)),
        Step::HandOver(four),
    ];
    assert_eq!(steps(&[one, two, three], &[], &desired), expected);
}

/// A dead one that is to go may hinder the group once it is one of few.
#[test]
fn who_is_in_sync_goes_last_and_takes_over() {
    let (one, two, dead) = (replica(1, 0), replica(2, 0), replica(3, 0));
    let (new, slow) = (replica(4, 5), replica(5, 5));
    let role = |voters: &[ReplicaId]| Role {
        replica: Some(one),
        voters: voters.to_vec(),
        ..Role::default()
    };
    let only = Desired { voters: vec![one], learners: Vec::new() };
    let step = next_step_among(&role(&[one, two, dead]), &only, &[one, two], &[]);
    assert_eq!(step, Some(Step::Change(MembershipChange::Remove(dead))));

    let others = Desired { voters: vec![slow, new], learners: Vec::new() };
    let heir =
        |in_sync: &[ReplicaId]| next_step_among(&role(&[one, new, slow]), &others, in_sync, &[]);
    assert_eq!(heir(&[one, new]), Some(Step::HandOver(new)), "not to one that is not there");
    assert_eq!(heir(&[one]), None, "it leads on until there is one");
    let replaced = Desired { voters: vec![replica(1, 9), slow, new], learners: Vec::new() };
    let step = next_step_among(&role(&[one, slow, new]), &replaced, &[one, new], &[]);
    assert_eq!(step, Some(Step::HandOver(new)));
}

#[test]
fn one_dead_target_keeps_no_other_from_voting_and_nobody_goes_before_it_votes() {
    let (old, dead, new) = (replica(1, 0), replica(4, 7), replica(5, 7));
    let desired = Desired { voters: vec![dead, new], learners: Vec::new() };
    let expected = [
        Step::Change(MembershipChange::AddLearner(dead)),
        Step::Change(MembershipChange::AddLearner(new)),
        Step::Change(MembershipChange::Promote(new)),
    ];
    assert_eq!(steps_past(&[dead], &[old], &[], &desired), expected);
    let rest = [Step::Change(MembershipChange::Promote(dead)), Step::HandOver(dead)];
    assert_eq!(steps(&[old, new], &[dead], &desired), rest, "it is back");
}

#[test]
fn a_leader_that_is_to_go_hands_over_to_one_that_is_ready() {
    let (old, dead, new) = (replica(1, 0), replica(4, 7), replica(5, 7));
    let desired = Desired { voters: vec![dead, new], learners: Vec::new() };
    let expected = [Step::HandOver(new)];
    assert_eq!(steps_past(&[dead], &[old, dead, new], &[], &desired), expected);
    assert_eq!(steps_past(&[dead, new], &[old, dead, new], &[], &desired), []);
}

#[test]
fn who_is_to_go_goes_before_another_loses_its_vote() {
    let (one, two, dead) = (replica(1, 0), replica(2, 0), replica(3, 0));
    let desired = Desired { voters: vec![one], learners: vec![two] };
    let expected = [
        Step::Change(MembershipChange::Remove(dead)),
        Step::Change(MembershipChange::AddLearner(two)),
    ];
    assert_eq!(steps(&[one, two, dead], &[], &desired), expected);
}

#[test]
fn a_voter_that_is_to_listen_only_keeps_the_log() {
    let (one, two) = (replica(1, 0), replica(2, 0));
    let desired = Desired { voters: vec![one], learners: vec![two] };
    let expected = [Step::Change(MembershipChange::AddLearner(two))];
    assert_eq!(steps(&[one, two], &[], &desired), expected);
    assert_eq!(steps(&[one], &[two], &desired), []);
}

const GROUP: GroupId = GroupId::COORDINATORS[0];

/// Broker 1 leads a group in epoch 5 as the only one; all three are to have it. Broker 2 leads the
/// metadata.
fn keeper() -> (Keeper, MetadataMachine, Arc<FakePeers>, FakeShard) {
    let (mut machine, metadata) = MetadataMachine::new();
    let founders = (1..=3).map(|node| (NodeId(node), [node as u8; 16])).collect();
    machine.apply(6, &MetadataCommand::Form { cluster_id: [7; 16], founders }.encode()).unwrap();
    let (driver, shard) = Driver::with_fake_shard();
    let peers = Arc::new(FakePeers::default());
    let ways = Ways::new(NodeId(1), driver, Arc::<FakePeers>::clone(&peers));
    let groups = Arc::new(Groups::default());
    let (own, other) = (replica(1, 0), replica(2, 0));
    let watches = [(GROUP, own, vec![own]), (GroupId::METADATA, other, vec![own, other])];
    for (group, leader, voters) in watches {
        let watch = Arc::new(GroupWatch::new(own));
        watch.set_members(voters, Vec::new());
        watch.set_leader(Some(leader), 5);
        watch.set_epoch((leader == own).then_some(5));
        groups.insert(group, watch);
    }
    let (_, alive) = watch::channel(BTreeSet::new());
    let keeper = Keeper { ways, metadata, groups, changes: Arc::default(), alive };
    (keeper, machine, peers, shard)
}

/// The change that is proposed to the group while the keeper brings it along, if there is one.
async fn change(keeper: &Keeper, round: &Round, shard: &mut FakeShard) -> Option<MembershipChange> {
    let hears = async {
        loop {
            match shard.next_of(GROUP).await.unwrap() {
                Told::Propose(ProposalKind::Progress, reply) => {
                    reply(Ok(Receipt::Progress { members: Vec::new(), leader_epoch: 5 }));
                }
                Told::Propose(ProposalKind::Bounds, reply) => {
                    reply(Err(ProposeError::NoLeader));
                }
                Told::Propose(ProposalKind::Membership(change), _) => return change,
                _ => panic!("it is told something else"),
            }
        }
    };
    tokio::select! {
        biased;
        change = hears => Some(change),
        along = keeper.bring_along(GROUP, round) => {
            assert!(along.has_more);
            None
        }
    }
}

/// It might be one that was forgotten, and is deleted by now.
#[tokio::test(start_paused = true)]
async fn nobody_is_added_by_metadata_that_are_not_the_newest() {
    let (keeper, mut machine, peers, mut shard) = keeper();
    let round = || keeper.round([GROUP].into());
    assert_eq!(change(&keeper, &round(), &mut shard).await, None, "nobody says how far they are");

    // Nor where they do not come, and the next command does not either.
    let says = |index: u64| peers.answer(2, Ok(Receipt::Applied(encode_index(index))));
    says(9);
    assert_eq!(change(&keeper, &round(), &mut shard).await, None);

    let placed = keeper.metadata.borrow().replicas(GROUP).unwrap().to_vec();
    let new = placed.iter().find(|replica| replica.node() != NodeId(1)).copied().unwrap();
    says(6);
    let added = change(&keeper, &round(), &mut shard).await;
    assert_eq!(added, Some(MembershipChange::AddLearner(new)));

    // It goes by what it hears meanwhile: that one was replaced.
    says(9);
    let replace = MetadataCommand::ReplaceReplica { group: GROUP, replica: new };
    let comes = async {
        tokio::time::sleep(ANSWER_WITHIN / 2).await;
        machine.apply(9, &replace.encode()).unwrap();
    };
    let round_of_it = round();
    let (added, ()) = tokio::join!(change(&keeper, &round_of_it, &mut shard), comes);
    let new = ReplicaId::new(new.node(), 9);
    assert_eq!(added, Some(MembershipChange::AddLearner(new)));

    // Whoever led when it asked may not be who leads now.
    says(9);
    let before = round();
    keeper.groups.get(GROUP).unwrap().set_epoch(Some(6));
    assert_eq!(change(&keeper, &before, &mut shard).await, None);
}

fn register<const N: usize>(machine: &mut MetadataMachine, nodes: [u64; N]) {
    for node in nodes {
        let registration = BrokerRegistration {
            id: NodeId(node),
            directory: [node as u8; 16],
            address: format!("localhost:{}", 9000 + node),
            peer_address: peer_address(NodeId(node)),
            rack: None,
            version: "0".to_owned(),
            started: Timestamp(0),
            level: LEVEL,
        };
        let command = MetadataCommand::RegisterBroker(registration);
        machine.apply(6 + node, &command.encode()).unwrap();
    }
}

/// It is no member of the metadata group any more, and may be the only one that has something.
#[tokio::test(start_paused = true)]
async fn a_broker_that_was_removed_gives_away_what_it_has_by_what_it_knows() {
    let (keeper, mut machine, peers, mut shard) = keeper();
    register(&mut machine, [2, 3]);
    machine.apply(10, &MetadataCommand::RemoveBroker { id: NodeId(1) }.encode()).unwrap();
    let added = change(&keeper, &keeper.round([GROUP].into()), &mut shard).await;
    let placed = keeper.metadata.borrow().replicas(GROUP).unwrap().to_vec();
    assert_eq!(added, Some(MembershipChange::AddLearner(placed[0])));
    assert_eq!((placed.len(), peers.asked()), (1, Vec::new()));
}

fn member(replica: ReplicaId, is_active: bool, lag: u64) -> MemberProgress {
    MemberProgress { replica, is_voter: true, is_active, matched: 10, lag }
}

/// What becomes of a group while it has these members, and whom its leader hands it over to.
async fn brought_along(
    keeper: &Keeper,
    shard: &mut FakeShard,
    members: &[MemberProgress],
) -> (Along, Option<ReplicaId>) {
    let mut to = None;
    let hears = async {
        loop {
            let answer = match shard.next_of(GROUP).await.unwrap() {
                Told::Propose(ProposalKind::Progress, reply) => {
                    let members = members.to_vec();
                    reply(Ok(Receipt::Progress { members, leader_epoch: 5 }));
                    continue;
                }
                Told::Propose(ProposalKind::Bounds, reply) => {
                    let (start, high_watermark) = (Offset(0), Offset(0));
                    reply(Ok(Receipt::Bounds { start, high_watermark, leader_epoch: 5 }));
                    continue;
                }
                Told::Propose(ProposalKind::TransferLeadership(other), reply) => (other, reply),
                _ => panic!("it is told something else"),
            };
            to = Some(answer.0);
            answer.1(Ok(Receipt::Done));
        }
    };
    let round = keeper.round([GROUP].into());
    let along = tokio::select! {
        () = hears => unreachable!("it hears for ever"),
        along = keeper.bring_along(GROUP, &round) => along,
    };
    (along, to)
}

/// Otherwise it would lead for as long as its broker runs, and could feed nobody.
#[tokio::test(start_paused = true)]
async fn a_damaged_leader_hands_over_where_something_comes_of_it() {
    let (keeper, _machine, _peers, mut shard) = keeper();
    let placed = keeper.metadata.borrow().replicas(GROUP).unwrap().to_vec();
    let lead = |own: ReplicaId| {
        let watch = Arc::new(GroupWatch::new(own));
        watch.set_members(vec![own, replica(2, 0), replica(3, 0)], Vec::new());
        watch.set_leader(Some(own), 5);
        watch.set_epoch(Some(5));
        watch.set_damaged();
        keeper.groups.insert(GROUP, watch);
    };
    let (two, three) = (replica(2, 0), replica(3, 0));
    let own = *placed.iter().find(|replica| replica.node() == NodeId(1)).unwrap();
    let cases = [
        (own, member(two, true, 0), member(three, true, 0), Some(two)),
        // The other two are no majority yet: it would get the lead back, and hand it over again.
        (own, member(two, true, 0), member(three, false, 0), None),
        // One is behind, and may need what cannot be read here.
        (own, member(two, true, 500), member(three, true, 0), Some(three)),
        // It is to go.
        (replica(1, 99), member(two, true, 0), member(three, false, 0), Some(two)),
    ];
    for (own, other, another, expected) in cases {
        lead(own);
        let members = [member(own, true, 0), other, another];
        let (along, to) = brought_along(&keeper, &mut shard, &members).await;
        assert_eq!((to, along.has_more), (expected, true), "{members:?}");
    }
}

/// Its broker reads and appends by a replica to which nothing comes any more until then.
#[tokio::test(start_paused = true)]
async fn who_was_let_go_is_forgotten_also_where_others_are_to_come() {
    let (keeper, mut machine, _peers, mut shard) = keeper();
    // The fourth broker is to have the group in the place of the third one.
    register(&mut machine, [1, 2, 3, 4]);
    let placed = keeper.metadata.borrow().replicas(GROUP).unwrap().to_vec();
    assert!(placed.iter().all(|replica| replica.node() != NodeId(3)), "{placed:?}");
    let of = |node| replica(node, 0);
    let has_three = [member(of(1), true, 0), member(of(2), true, 0), member(of(3), true, 0)];
    let (along, _) = brought_along(&keeper, &mut shard, &has_three).await;
    assert_eq!((along.has_more, along.gone.len()), (true, 0));
    let (along, _) = brought_along(&keeper, &mut shard, &has_three[..2]).await;
    let gone: Vec<_> = along.gone.iter().map(|gone| gone.replica).collect();
    assert_eq!((along.has_more, gone), (true, vec![of(3)]));
}
