//! Transports that speak to one another over loopback, with a broker that only remembers.

use ropewalk_core::NodeId;

mod calls;
mod exchange;
mod forms;
mod golden;
mod support;
mod versions;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
