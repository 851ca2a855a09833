//! The protobuf contract of Ropewalk, compiled without protoc.
//!
//! [`v1`] is the contract as clients see it. [`broker`] is the same contract as the broker reads
//! it: a `RecordSet` is opaque bytes there. [`FILE_DESCRIPTOR_SET`] serves reflection. [`internal`]
//! is what brokers say to one another, and no client's business.

/// `ropewalk.v1` as clients see it: messages, client stubs, and server traits for test servers.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/client/ropewalk.v1.rs"));
}

/// `ropewalk.v1` as the broker reads it: a `RecordSet` is `Bytes`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod broker {
    include!(concat!(env!("OUT_DIR"), "/broker/ropewalk.v1.rs"));
}

/// `ropewalk.internal.v1`: what the brokers of a cluster say to one another.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod internal {
    include!(concat!(env!("OUT_DIR"), "/internal/ropewalk.internal.v1.rs"));
}

/// The public error model.
pub mod google {
    /// `google.rpc`.
    pub mod rpc {
        /// The outcome of a call, as it stands inside a stream.
        #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
        pub struct Status {
            /// The gRPC status code; 0 is OK.
            #[prost(int32, tag = "1")]
            pub code: i32,
            /// What went wrong, in English.
            #[prost(string, tag = "2")]
            pub message: String,
            /// Machine-readable details.
            #[prost(message, repeated, tag = "3")]
            pub details: Vec<prost_types::Any>,
        }
    }
}

/// The encoded `FileDescriptorSet` of the contract and of what it imports.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The domain of every ErrorInfo detail.
pub const ERROR_DOMAIN: &str = "ropewalk.v1";
