//! Strategies by name, and plans of clients.

use ropewalk_core::MemberId;

use super::{World, listed, member_id};
use crate::error::InvalidPlan;
use crate::{Action, GroupAnswer, GroupError, MemberAssignment, Strategy};

impl World {
    /// A member submits a plan, as in `x: a0 a1; y: a2`, under the id that it was asked for last.
    fn submit(&mut self, member: MemberId, plan: &str) -> GroupAnswer {
        let id = self.group().plan_request(member).map_or(0, |request| request.id);
        self.submit_as(member, id, plan)
    }

    fn submit_as(&mut self, member: MemberId, plan: u64, assignments: &str) -> GroupAnswer {
        let one = |words: &str| {
            let (letter, partitions) = words.trim().split_once(':').unwrap();
            let member = member_id(letter.chars().next().unwrap());
            MemberAssignment { member, partitions: listed(partitions) }
        };
        let assignments = assignments.split(';').map(one).collect();
        self.act(Action::Submit { member, plan, assignments })
    }
}

#[test]
fn a_client_plans_when_it_is_asked() {
    let mut world = World::with("a3 b1");
    let x = world.join_with('x', "a", "client:by-hand");
    assert_eq!(world.told(x), "plan");
    assert_eq!(world.state(), "rebalancing");
    let request = world.group().plan_request(x).unwrap();
    assert_eq!(request.topics.len(), 1);
    world.submit(x, "x: a0 a1 a2").unwrap();
    assert_eq!(world.told(x), "assigned a0 a1 a2");
    assert_eq!(world.state(), "stable");

    // Whoever is asked stays so, and the old assignment stands until the plan is there.
    let y = world.join_with('y', "a", "client:by-hand");
    assert_eq!((world.told(x).as_str(), world.told(y).as_str()), ("plan", "generation"));
    assert_eq!(world.shown(), "x: a0 a1 a2; y:");
    let request = world.group().plan_request(x).unwrap();
    assert_eq!(request.members.len(), 2);
    assert_eq!(request.members[0].current, listed("a0 a1 a2"));
    world.submit(x, "x: a2; y: a0 a1").unwrap();
    assert_eq!(world.told(x), "revoked a0 a1 by 5");
    world.settle();
    assert_eq!(world.shown(), "x: a2; y: a0 a1");
    assert_eq!(world.group().describe().strategy, "client:by-hand");
}

#[test]
fn a_plan_that_is_not_sound_is_refused_with_advice() {
    let mut world = World::with("a2 b1");
    let x = world.join_with('x', "a", "client:p");
    let y = world.join_with('y', "/ab", "client:p");
    let mut refused = |plan: &str| match world.submit(x, plan).unwrap_err() {
        GroupError::InvalidPlan(problem) => problem,
        other => panic!("{other}"),
    };
    let ((a, a1), (b, _)) = (super::partition("a1"), super::partition("b0"));
    let left_out = InvalidPlan::LeftOut { topic: a, partition: a1 };
    assert_eq!(refused("x: a0; y: b0"), left_out);
    let text = GroupError::from(left_out).to_string();
    assert!(text.ends_with("is assigned to nobody: assign every partition"), "{text}");
    assert_eq!(refused("x: a0 b0; y: a1"), InvalidPlan::NotSubscribed { member: x, topic: b });
    assert_eq!(refused("x: a0 a1; y: a1"), InvalidPlan::Twice { topic: a, partition: a1 });
    let (topic, partition) = super::partition("b7");
    assert_eq!(refused("x: b7"), InvalidPlan::NoPartition { topic, partition });
    let nobody = member_id('q');
    assert_eq!(refused("q: a0"), InvalidPlan::NoMember { member: nobody });
    // Only who was asked may answer, and only what was asked last.
    let plan = world.group().plan_request(x).unwrap().id;
    let sound = "x: a0 a1; y: b0";
    let unknown = Err(GroupError::UnknownPlan { plan });
    assert_eq!(world.submit_as(y, plan, sound), unknown);
    assert!(matches!(world.submit_as(nobody, plan, sound), Err(GroupError::Fenced(_))));
    world.join_with('z', "a", "client:p");
    assert_eq!(world.submit_as(x, plan, sound), unknown, "there is another member since");
    world.submit(x, "x: a0; y: b0; z: a1").unwrap();
    assert_eq!(world.submit(x, sound), Err(GroupError::UnknownPlan { plan: 0 }), "it was done");
}

#[test]
fn the_server_plans_when_no_client_does_in_time() {
    let mut world = World::with("a4");
    let x = world.join_with('x', "a", "client:p");
    world.pass(3);
    world.join_with('y', "a", "client:p");
    world.pass(1);
    assert_eq!(world.shown(), "x:; y:");
    // The time is not given anew for each that comes.
    world.pass(1);
    assert_eq!(world.shown(), "x: a0 a2; y: a1 a3");
    assert_eq!(world.state(), "stable");
    let late = world.submit(x, "x: a0 a1 a2 a3");
    assert!(matches!(late, Err(GroupError::UnknownPlan { .. })));
}

#[test]
fn another_client_is_asked_when_the_first_is_lost() {
    let mut world = World::with("a2");
    let x = world.join_with('x', "a", "client:p");
    let (y, z) = (world.join_to('y', "a"), world.join_with('z', "a", "client:p"));
    assert_eq!(world.told(x), "plan");
    world.lose(x);
    assert_eq!(world.told(y), "generation", "it does not know this strategy");
    assert_eq!(world.told(z), "plan");
    // With nobody to ask it waits for one that comes back, but not for ever.
    world.lose(z);
    assert_eq!(world.state(), "rebalancing");
    world.join_with('x', "a", "client:p");
    world.submit(x, "x: a0; y: a1; z:").unwrap();
    assert_eq!(world.shown(), "x: a0; y: a1; z:");
}

/// The process that was asked to plan starts anew, under its instance name.
#[test]
fn a_plan_is_of_the_members_that_are_there() {
    let mut world = World::with("a2");
    let join = |world: &mut World, letter, instance: &str| {
        let mut join = world.joining(member_id(letter), "a");
        join.instance = Some(instance.to_owned());
        join.strategy = Some(Strategy::Client("p".to_owned()));
        world.try_join(join).unwrap()
    };
    let (x, y) = (join(&mut world, 'x', "0"), join(&mut world, 'y', "1"));
    let old = world.group().plan_request(x).unwrap();
    let z = join(&mut world, 'z', "1");
    let new = world.group().plan_request(x).unwrap();
    assert_eq!(new.members.iter().map(|member| member.id).collect::<Vec<_>>(), [x, z]);
    assert_eq!(new.deadline, old.deadline);
    assert!(world.submit_as(x, old.id, "x: a0; y: a1").is_err());
    let w = join(&mut world, 'w', "0");
    world.submit(w, "w: a0; z: a1").unwrap();
    assert_eq!(world.told(y), "fenced");
    assert_eq!(world.shown(), "w: a0; z: a1");
}

#[test]
fn the_strategy_of_most_members_is_taken() {
    let mut world = World::with("a4");
    let strategy = |world: &World| world.group().describe().strategy;
    world.join_with('v', "a", "range");
    world.join_with('w', "a", "round-robin");
    assert_eq!(strategy(&world), "range", "what is in use stays, among equals");
    world.settle();
    assert_eq!(world.shown(), "v: a0 a1; w: a2 a3");
    world.join_with('x', "a", "round-robin");
    world.settle();
    assert_eq!(strategy(&world), "round-robin");
    assert_eq!(world.shown(), "v: a0 a3; w: a1; x: a2");
    for letter in "vwx".chars() {
        world.leave(member_id(letter));
    }
    world.join('y');
    assert_eq!(strategy(&world), "sticky");
    let error = Strategy::from_name("cooperative").unwrap_err().to_string();
    assert!(error.contains("choose `range`, `round-robin` or `sticky`"), "{error}");
    assert!(Strategy::from_name("client:").is_err());
}
