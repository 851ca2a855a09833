//! Examples and properties of all codecs.

use std::io::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const FRAMED: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
/// What each codec's frames begin with.
const BEGINNINGS: [&[u8]; 4] = [
    b"\x1f\x8b\x08\x00",
    b"\xff\x06\x00\x00sNaPpY",
    b"\x04\x22\x4d\x18\x64\x40\xa7",
    b"\x28\xb5\x2f\xfd",
];

/// Several blocks' worth of something between random and constant.
fn sample(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & 0x1f
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn every_codec_gives_back_what_it_took() {
    for codec in FRAMED.into_iter().chain([Compression::None]) {
        for size in [0, 1, 100, 65_536, 65_537, 1_000_000] {
            let data = sample(size);
            let packed = compress(codec, &data);
            assert_eq!(check_frame(codec, &packed), Ok(()), "{codec:?} {size}");
            assert_eq!(decompress(codec, &packed, size), Ok(data), "{codec:?} {size}");
        }
    }
}

#[test]
fn a_level_is_kept_to_those_of_the_codec() {
    let line = |n: u32| format!("{} GET /orders/{}?page={} 200\n", n * 7, n * n % 977, n % 13);
    let data = (0..10_000).map(line).collect::<String>().into_bytes();
    for codec in Compression::ALL {
        let sizes = [i32::MIN, 1, 9, i32::MAX].map(|level| {
            let packed = compress_at(codec, Some(level), &data);
            assert_eq!(decompress(codec, &packed, data.len()).as_ref(), Ok(&data), "{codec}");
            packed.len()
        });
        assert_eq!(sizes[0], sizes[1], "{codec}");
        match codec.levels() {
            Some(_) => assert!(sizes[2] < sizes[1], "{codec} {sizes:?}"),
            None => assert_eq!(sizes[2], sizes[1], "{codec}"),
        }
    }
}

#[test]
fn a_codec_is_known_by_its_name_and_its_number() {
    for codec in Compression::ALL {
        assert_eq!(codec.to_string().parse(), Ok(codec));
        assert_eq!(Compression::from_number(codec as u8), Some(codec));
    }
    assert_eq!(Compression::from_number(5), None);
    let error = "brotli".parse::<Compression>().unwrap_err();
    assert_eq!(error.to_string(), "\"brotli\" is no codec: choose none, gzip, snappy, lz4 or zstd");
}

#[test]
fn frames_may_follow_one_another() {
    for codec in FRAMED {
        let mut packed = compress(codec, b"first, ");
        packed.extend(compress(codec, b""));
        packed.extend(compress(codec, &sample(100_000)));
        let expected = [b"first, ".as_slice(), &sample(100_000)].concat();
        assert_eq!(check_frame(codec, &packed), Ok(()), "{codec:?}");
        assert_eq!(decompress(codec, &packed, 1 << 20), Ok(expected), "{codec:?}");
    }
}

#[test]
fn nothing_else_may_follow() {
    for codec in FRAMED {
        for tail in [b"\0".as_slice(), b"\0\0\0\0\0\0\0\0\0\0\0\0", b"trailing"] {
            let packed = [&compress(codec, b"data"), tail].concat();
            // The structure of gzip cannot tell.
            if codec != Compression::Gzip {
                assert!(check_frame(codec, &packed).is_err(), "{codec:?}");
            }
            assert!(decompress(codec, &packed, 100).is_err(), "{codec:?}");
        }
    }
}

#[test]
fn no_truncation_passes() {
    let data = sample(70_000);
    for codec in FRAMED {
        let packed = compress(codec, &data);
        for end in 0..packed.len() {
            let short = &packed[..end];
            let whole = match codec {
                // Chunks and members: a cut between two chunks leaves a stream that is whole.
                Compression::Snappy => snappy_boundaries(&packed).contains(&end),
                Compression::Gzip => end >= 20,
                _ => false,
            };
            assert_eq!(check_frame(codec, short).is_ok(), whole, "{codec:?} {end}");
            if codec != Compression::Snappy && end % 251 == 0 {
                assert!(decompress(codec, short, 1 << 20).is_err(), "{codec:?} {end}");
            }
        }
    }
}

fn snappy_boundaries(packed: &[u8]) -> Vec<usize> {
    let mut boundaries = vec![];
    let mut at = 0;
    while at < packed.len() {
        let length = [packed[at + 1], packed[at + 2], packed[at + 3], 0];
        at += 4 + u32::from_le_bytes(length) as usize;
        boundaries.push(at);
    }
    boundaries
}

#[test]
fn the_limit_is_exact_and_holds_for_bombs() {
    let zeros = vec![0; 8 << 20];
    for codec in FRAMED {
        let bomb = compress(codec, &zeros);
        for limit in [0, 1, 65_535, 1 << 20, zeros.len() - 1] {
            let result = decompress(codec, &bomb, limit);
            assert_eq!(result, Err(CompressError::TooLarge { limit }), "{codec:?}");
        }
        assert!(decompress(codec, &bomb, zeros.len()).is_ok(), "{codec:?}");
        let bombs = [bomb.clone(), bomb].concat();
        let limit = zeros.len();
        let result = decompress(codec, &bombs, limit);
        assert_eq!(result, Err(CompressError::TooLarge { limit }), "{codec:?}");
    }
}

#[test]
fn the_output_never_has_more_room_than_the_limit() {
    let mut out = output::Output::new(1_000);
    for _ in 0..9 {
        out.push(&[7; 111]).unwrap();
    }
    assert_eq!(out.parts(500).1.len(), 1);
    assert_eq!(out.push(&[7; 2]), Err(CompressError::TooLarge { limit: 1_000 }));
    let bytes = out.finish();
    assert_eq!((bytes.len(), bytes.capacity()), (999, 999));
}

#[test]
fn what_a_frame_claims_costs_nothing() {
    // A single segment of 2^62 bytes that ends at once.
    let mut claim = b"\x28\xb5\x2f\xfd\xe0".to_vec();
    claim.extend((1_u64 << 62).to_le_bytes());
    claim.extend([1, 0, 0]);
    assert_eq!(check_frame(Compression::Zstd, &claim), Ok(()));
    let limit = 1_000;
    let result = decompress(Compression::Zstd, &claim, limit);
    assert!(matches!(result, Err(CompressError::Corrupt(_))), "{result:?}");
}

#[test]
fn a_frame_without_a_content_size_is_bounded_too() {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&sample(500_000)).unwrap();
    let packed = encoder.finish().unwrap();
    let codec = Compression::Zstd;
    assert_eq!(check_frame(codec, &packed), Ok(()));
    assert_eq!(decompress(codec, &packed, 500_000), Ok(sample(500_000)));
    let result = decompress(codec, &packed, 499_999);
    assert_eq!(result, Err(CompressError::TooLarge { limit: 499_999 }));
}

#[test]
fn a_zstd_window_is_as_large_as_every_decoder_has_it() {
    let with_window = |log| {
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(b"small").unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(decompress(Compression::Zstd, &with_window(23), 5), Ok(b"small".to_vec()));
    let refused = check_frame(Compression::Zstd, &with_window(24)).unwrap_err();
    assert!(refused.to_string().contains("8 MiB"), "{refused}");
}

#[test]
fn lz4_frames_of_every_kind_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let data = sample(300_000);
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for checksums in [false, true] {
            let info = FrameInfo::new()
                .block_mode(mode)
                .block_size(BlockSize::Max64KB)
                .block_checksums(checksums)
                .content_checksum(checksums)
                .content_size(checksums.then_some(300_000));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&data).unwrap();
            let packed = encoder.finish().unwrap();
            assert_eq!(check_frame(Compression::Lz4, &packed), Ok(()));
            let result = decompress(Compression::Lz4, &packed, 300_000);
            assert_eq!(result.as_ref(), Ok(&data));
        }
    }
}

#[test]
fn skippable_frames_and_chunks_are_skipped() {
    let frame = b"\x55\x2a\x4d\x18\x03\x00\x00\x00abc";
    for codec in [Compression::Lz4, Compression::Zstd] {
        let packed = [frame, compress(codec, b"data").as_slice(), frame].concat();
        assert_eq!(check_frame(codec, &packed), Ok(()));
        assert_eq!(decompress(codec, &packed, 4), Ok(b"data".to_vec()));
        assert!(check_frame(codec, frame).is_err(), "nothing but a skippable frame");
    }
    let mut packed = compress(Compression::Snappy, b"data");
    packed.extend(b"\x80\x01\x00\x00x\xfe\x02\x00\x00yz");
    let result = decompress(Compression::Snappy, &packed, 4);
    assert_eq!(result, Ok(b"data".to_vec()));
    packed.extend(b"\x02\x01\x00\x00x");
    assert!(check_frame(Compression::Snappy, &packed).is_err());
}

#[test]
fn a_gzip_header_may_have_all_its_fields() {
    let data = b"data";
    let mut encoder = flate2::GzBuilder::new()
        .filename("records")
        .comment("of a batch")
        .extra(b"\x01\x02\x02\x00ab".to_vec())
        .mtime(1)
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(check_frame(Compression::Gzip, &packed), Ok(()));
    assert_eq!(decompress(Compression::Gzip, &packed, 4), Ok(data.to_vec()));
}

#[test]
fn a_frame_that_needs_a_dictionary_is_refused() {
    let zstd = b"\x28\xb5\x2f\xfd\x21\x07\x00\x01\x00\x00";
    let refused = CompressError::Corrupt("the zstd frame needs a dictionary");
    assert_eq!(check_frame(Compression::Zstd, zstd), Err(refused));
    let lz4 = b"\x04\x22\x4d\x18\x61\x40\x01\x00\x00\x00\x00\x00\x00\x00\x00";
    let refused = CompressError::Corrupt("the lz4 frame needs a dictionary");
    assert_eq!(check_frame(Compression::Lz4, lz4), Err(refused));
}

#[test]
fn every_damage_to_an_lz4_or_zstd_frame_with_checksums_shows() {
    let data = sample(500);
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&data).unwrap();
    let zstd = encoder.finish().unwrap();
    let lz4 = compress(Compression::Lz4, &data);
    for (codec, packed) in [(Compression::Zstd, zstd), (Compression::Lz4, lz4)] {
        for bit in 0..packed.len() * 8 {
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = decompress(codec, &damaged, 1_000);
            // A bit that means nothing, or another description of the same content, does no harm.
            assert!(read.is_err() || read.as_ref() == Ok(&data), "{codec:?} bit {bit}");
        }
    }
}

fn codec() -> impl Strategy<Value = Compression> {
    select(FRAMED.to_vec())
}

proptest! {
    #[test]
    fn round_trip(codec in codec(), data in vec(any::<u8>(), 0..3_000)) {
        let packed = compress(codec, &data);
        prop_assert_eq!(check_frame(codec, &packed), Ok(()));
        prop_assert_eq!(decompress(codec, &packed, data.len()), Ok(data));
    }

    #[test]
    fn garbage_is_refused(codec in codec(), data in vec(any::<u8>(), 0..200)) {
        prop_assume!(!BEGINNINGS.iter().any(|beginning| data.starts_with(&beginning[..2])));
        prop_assert!(check_frame(codec, &data).is_err());
        prop_assert!(decompress(codec, &data, 1_000).is_err());
    }

    #[test]
    fn garbage_behind_a_beginning_does_no_harm(
        which in 0_usize..4,
        data in vec(any::<u8>(), 0..200),
        limit in 0_usize..5_000,
    ) {
        let packed = [BEGINNINGS[which], &data].concat();
        let checked = check_frame(FRAMED[which], &packed);
        if let Ok(data) = decompress(FRAMED[which], &packed, limit) {
            prop_assert!(data.len() <= limit);
            prop_assert_eq!(checked, Ok(()));
        }
    }

    #[test]
    fn damage_does_no_harm(
        codec in codec(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        limit in 0_usize..5_000,
    ) {
        let mut packed = compress(codec, &sample(3_000));
        let at = at.index(packed.len());
        packed[at] ^= byte;
        let checked = check_frame(codec, &packed);
        if let Ok(data) = decompress(codec, &packed, limit) {
            prop_assert!(data.len() <= limit);
            prop_assert_eq!(checked, Ok(()));
        }
    }
}
