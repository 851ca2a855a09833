//! How far a stream runs ahead of what is committed, and what is refused at once.

use std::time::Duration;

use ropewalk_proto::v1;
use tonic::Code;

use crate::member::{Member, joining, with};
use crate::{Node, refused};

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_in_flight_than_the_member_wants() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("t", 1).await;
    for _ in 0..10 {
        stubs.append("t", 0, &["a", "b"]).await;
    }
    let limit = v1::InFlightLimit { records: 4, bytes: 0 };
    let request = v1::SubscribeRequest { in_flight_limit: Some(limit), ..joining("g", &["t"]) };
    let mut member = Member::join(node.address(), request).await;
    for read in (4..20).step_by(4) {
        member.until("as much as it may have", |m| m.read.len() >= read).await;
        member.go_on(Duration::from_millis(200)).await;
        assert_eq!(member.read.len(), read);
        member.commit().await.unwrap();
    }
    member.until("the rest", |m| m.read.len() == 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_come_without_records_where_that_is_asked_for() {
    let node = Node::start().await;
    let stubs = node.stubs();
    stubs.create("t", 1).await;
    stubs.append("t", 0, &["a"]).await;
    stubs.commit("g", "t", 0, 1).await.unwrap();
    let request = v1::SubscribeRequest { assignments_only: true, ..joining("g", &["t"]) };
    let mut member = Member::join(node.address(), request).await;
    member.until("the partition", |m| m.owned.len() == 1).await;
    stubs.append("t", 0, &["b"]).await;
    member.go_on(Duration::from_millis(200)).await;
    assert_eq!((member.read.len(), member.owned[&("t".to_owned(), 0)]), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let node = Node::start().await;
    let address = node.address();
    node.stubs().create("t", 1).await;
    let good = || joining("g", &["t"]);
    let end = Some(v1::stop::End::CaughtUp(()));
    let offset = Some(v1::start::Position::Offset(3));
    let long = prost_types::Duration { seconds: 4_000, nanos: 0 };
    for (field, request) in [
        ("group", joining("no\nname", &["t"])),
        ("stop", v1::SubscribeRequest { stop: Some(v1::Stop { end }), ..good() }),
        (
            "default_start",
            v1::SubscribeRequest { default_start: Some(v1::Start { position: offset }), ..good() },
        ),
        ("member", v1::SubscribeRequest { group: String::new(), ..good() }),
        ("member.member_id", with(good(), |member| member.member_id = "me".to_owned())),
        ("member.strategy", with(good(), |member| member.strategy = "fair".to_owned())),
        ("member.rejoin_grace", with(good(), |member| member.rejoin_grace = Some(long))),
        ("member.instance_name", with(good(), |member| member.instance_name = "x".repeat(250))),
    ] {
        let status = Member::try_join(address, request).await.err().unwrap();
        refused(field, &status, Code::InvalidArgument, "INVALID_FIELD");
        let details = tonic_types::StatusExt::get_error_details(&status);
        assert_eq!(details.error_info().unwrap().metadata["field"], field);
    }
}
