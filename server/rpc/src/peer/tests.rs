//! Transports that speak to one another over loopback, with a broker that only remembers.

mod calls;
mod exchange;
mod forms;
mod support;
