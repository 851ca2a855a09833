//! What consumer groups refuse.

use std::time::Duration;

use ropewalk_broker::membership::MembershipError;
use ropewalk_groups::GroupError;
use ropewalk_groups::error::{Fence, TooMany};

use super::{Failure, Reason};

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        let message = error.to_string();
        match error {
            GroupError::Fenced(fenced) => {
                let failure = Self::new(Reason::MemberFenced, message)
                    .with("expected", fenced.expected)
                    .with("actual", fenced.actual);
                match fenced.fence {
                    // Whoever joins anew would take the name back, and be fenced in turn.
                    Fence::InstanceTaken => failure.with("cause", "instance_taken"),
                    _ => failure,
                }
            }
            GroupError::NotEmpty { members } => {
                Self::new(Reason::GroupNotEmpty, message).with("actual", members)
            }
            GroupError::NotFound => Self::new(Reason::GroupNotFound, message),
            GroupError::TooMany(bound) => {
                let (subject, limit) = match bound {
                    TooMany::Groups { limit } => ("consumer_groups", limit),
                    TooMany::Members { limit } => ("members", limit),
                    TooMany::Partitions { limit } => ("partitions", limit),
                    TooMany::Bytes { limit } => ("consumer_group_bytes", limit),
                };
                Self::new(Reason::TooMany, message).over_quota(subject, limit)
            }
            GroupError::UnknownPlan { plan } => {
                Self::field("plan_id", message).with("actual", plan)
            }
            GroupError::InvalidPlan(_) => Self::field("assignments", message),
            GroupError::InvalidField { field, actual, .. } => {
                let field = match field.as_str() {
                    "instance" => "member.instance_name".to_owned(),
                    "client_id" | "strategy" | "rejoin_grace" | "drain_timeout" => {
                        format!("member.{field}")
                    }
                    _ => field,
                };
                Self::field(&field, message).with("actual", actual)
            }
            GroupError::Malformed(error) => Self::internal(&error),
        }
    }
}

impl From<MembershipError> for Failure {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Refused(error) => error.into(),
            MembershipError::OutOfTouch => Self::new(Reason::NoLeader, error.to_string())
                .retry_after(Duration::from_millis(100)),
        }
    }
}
