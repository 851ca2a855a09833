//! The gRPC services, the error mapping, and the limits around them
