//! How a topic wants its records compressed.

use ropewalk_compress::Compression;
use ropewalk_proto::v1;

/// How producers are to compress what they send to a topic. Those that were told themselves
/// ([`ProducerBuilder::compression`](crate::ProducerBuilder::compression)) do as they were told;
/// brokers take every batch as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicCompression {
    /// As each producer chooses: not at all, unless it was told.
    Producer,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl TopicCompression {
    /// Every choice.
    pub const ALL: [TopicCompression; 5] = [
        TopicCompression::Producer,
        TopicCompression::Gzip,
        TopicCompression::Snappy,
        TopicCompression::Lz4,
        TopicCompression::Zstd,
    ];

    /// The name: `producer`, or that of the codec.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.codec().map_or("producer", Compression::name)
    }

    /// The codec, where it is one.
    #[must_use]
    pub fn codec(self) -> Option<Compression> {
        match self {
            TopicCompression::Producer => None,
            TopicCompression::Gzip => Some(Compression::Gzip),
            TopicCompression::Snappy => Some(Compression::Snappy),
            TopicCompression::Lz4 => Some(Compression::Lz4),
            TopicCompression::Zstd => Some(Compression::Zstd),
        }
    }

    pub(super) fn to_proto(setting: Option<TopicCompression>) -> i32 {
        let proto = match setting {
            None => v1::TopicCompression::Unspecified,
            Some(TopicCompression::Producer) => v1::TopicCompression::Producer,
            Some(TopicCompression::Gzip) => v1::TopicCompression::Gzip,
            Some(TopicCompression::Snappy) => v1::TopicCompression::Snappy,
            Some(TopicCompression::Lz4) => v1::TopicCompression::Lz4,
            Some(TopicCompression::Zstd) => v1::TopicCompression::Zstd,
        };
        proto.into()
    }

    /// `None`: the broker does not say, or it is a codec that this library does not know.
    pub(super) fn from_proto(proto: i32) -> Option<TopicCompression> {
        TopicCompression::ALL
            .into_iter()
            .find(|known| TopicCompression::to_proto(Some(*known)) == proto)
    }
}
