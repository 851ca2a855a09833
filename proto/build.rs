//! Compiles the protos twice, without protoc.
//!
//! Clients get the contract as it is written. The broker gets its own copy, in which every field of
//! type `RecordSet` is `bytes`: the two are the same on the wire, and the broker can check and
//! store a batch without building its records.
//!
//! What the brokers say to one another is compiled apart: it is no part of the contract, and
//! reflection does not show it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

const FILES: [&str; 5] = [
    "ropewalk/v1/record.proto",
    "ropewalk/v1/producer.proto",
    "ropewalk/v1/consumer.proto",
    "ropewalk/v1/group.proto",
    "ropewalk/v1/admin.proto",
];
const INTERNAL_FILES: [&str; 1] = ["ropewalk/internal/v1/peer.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=ropewalk");
    println!("cargo:rerun-if-changed=google");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let contract = protox::compile(FILES, ["."])?;
    fs::write(out.join("descriptors.bin"), contract.encode_to_vec())?;

    generate(&out.join("client"), contract.clone(), true)?;
    let mut opaque = contract;
    for file in &mut opaque.file {
        file.message_type.iter_mut().for_each(record_sets_to_bytes);
    }
    generate(&out.join("broker"), opaque, false)?;
    generate(&out.join("internal"), protox::compile(INTERNAL_FILES, ["."])?, true)
}

fn generate(dir: &Path, files: FileDescriptorSet, client: bool) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    tonic_prost_build::configure()
        .out_dir(dir)
        .build_client(client)
        .build_server(true)
        .bytes(".")
        .extern_path(".google.rpc.Status", "crate::google::rpc::Status")
        .compile_fds(files)?;
    Ok(())
}

fn record_sets_to_bytes(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if field.type_name.as_deref() == Some(".ropewalk.v1.RecordSet") {
            field.set_type(Type::Bytes);
            field.type_name = None;
        }
    }
    message.nested_type.iter_mut().for_each(record_sets_to_bytes);
}
