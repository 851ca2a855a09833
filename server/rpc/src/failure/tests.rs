use std::collections::BTreeSet;

use super::*;

#[test]
fn every_reason_stands_in_the_table_of_a_proto_with_its_code() {
    let protos = [
        include_str!("../../../../proto/ropewalk/v1/producer.proto"),
        include_str!("../../../../proto/ropewalk/v1/consumer.proto"),
        include_str!("../../../../proto/ropewalk/v1/admin.proto"),
    ];
    let rows: BTreeSet<(String, String)> = protos
        .iter()
        .flat_map(|proto| proto.lines())
        .filter_map(|line| line.strip_prefix("// | "))
        .flat_map(|row| {
            let mut cells = row.split('|').map(str::trim);
            let (reasons, code) = (cells.next().unwrap(), cells.next().unwrap());
            reasons
                .split(", ")
                .map(|reason| (reason.to_owned(), code.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect();
    for reason in Reason::ALL {
        let code = format!("{:?}", reason.code());
        let code: String = code
            .chars()
            .enumerate()
            .flat_map(|(at, c)| {
                let gap = (at > 0 && c.is_uppercase()).then_some('_');
                gap.into_iter().chain(c.to_uppercase())
            })
            .collect();
        assert!(rows.contains(&(reason.name().to_owned(), code.clone())), "{reason:?} {code}");
    }
}

#[test]
fn a_failure_is_the_same_in_a_stream_and_as_a_call() {
    let failure = || Failure::field("topic", "no").with("limit", 3);
    let status = failure().into_status();
    let info = status.get_error_details().error_info().unwrap().clone();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_FIELD", ERROR_DOMAIN));
    assert_eq!(info.metadata["limit"], "3");
    let in_stream = failure().into_rpc_status();
    assert_eq!(in_stream.code, Code::InvalidArgument as i32);
    assert_eq!(in_stream.details.len(), 2);
}
