//! What a coordinator group is asked without a command.
//!
//! The first question ever was the name of a consumer group alone, in bytes: its positions. No name
//! begins with a zero byte, so the others do.

use std::sync::Arc;

use ropewalk_core::MemberId;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_groups::{ConsumerGroup, GroupState, Groups};

use super::shared::{Known, Sight};

const VERSION: u8 = 1;
const MARK: u8 = 0;
const WHAT: &str = "question to a coordinator";
/// The most groups in one answer to [`Question::List`].
pub(crate) const PAGE: usize = 500;

/// A stream of a member that is open on some broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenStream {
    /// The consumer group.
    pub group: String,
    /// The member.
    pub member: MemberId,
    /// Which of its streams.
    pub session: u32,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The positions of a consumer group.
    Positions(String),
    /// Who is in a consumer group and what has become of its partitions, unless that is known.
    /// Where it is, another broker waits for news before it answers.
    Group(String, Option<Known>),
    /// Nothing is asked: these streams are open. Heard by the leader alone, and not kept.
    Open(Vec<OpenStream>),
    /// The groups from this name on.
    List(String),
}

impl Question {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Positions(group) => {
                out.raw(group.as_bytes());
            }
            Self::Group(group, known) => {
                out.u8(MARK).u8(VERSION).u8(1).bytes(group.as_bytes());
                out.option(*known, |out, known| {
                    out.u64(known.sight);
                    out.option(known.commits, |out, commits| {
                        out.u64(commits);
                    });
                });
            }
            Self::Open(streams) => {
                out.u8(MARK).u8(VERSION).u8(2);
                out.u32(u32::try_from(streams.len()).expect("limits bound the streams"));
                for stream in streams {
                    out.bytes(stream.group.as_bytes()).raw(&stream.member.0).u32(stream.session);
                }
            }
            Self::List(first) => {
                out.u8(MARK).u8(VERSION).u8(3).bytes(first.as_bytes());
            }
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.first() != Some(&MARK) {
            // A group that is no name has no positions.
            return Ok(Self::Positions(String::from_utf8(bytes.to_vec()).unwrap_or_default()));
        }
        let mut reader = Reader::versioned(&bytes[1..], VERSION, WHAT)?;
        let question = match reader.u8()? {
            1 => {
                let group = reader.string()?;
                let known = reader.option(|reader| {
                    let sight = reader.u64()?;
                    Ok(Known { sight, commits: reader.option(Reader::u64)? })
                })?;
                Self::Group(group, known)
            }
            2 => {
                let count = reader.u32()?;
                let read = |_| {
                    Ok(OpenStream {
                        group: reader.string()?,
                        member: MemberId(reader.array()?),
                        session: reader.u32()?,
                    })
                };
                Self::Open((0..count).map(read).collect::<Result<_, DecodeError>>()?)
            }
            3 => Self::List(reader.string()?),
            _ => return Err(reader.error()),
        };
        reader.finish()?;
        Ok(question)
    }
}

/// The answer to [`Question::Group`].
pub(super) fn encode_sight(
    name: &str,
    sight: &Sight,
    commits: u64,
    known: Option<Known>,
) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    let is_news = known.is_none_or(|known| known.sight != sight.index);
    out.u64(sight.index).u64(commits).u8(is_news.into());
    let group = sight.group.as_ref().filter(|_| is_news);
    let rows = group.map(|group| Groups::rows_of(name, group)).unwrap_or_default();
    out.u32(u32::try_from(rows.len()).expect("limits bound the rows of a group"));
    for (key, value) in rows {
        out.bytes(&key).bytes(&value);
    }
    out.finish()
}

/// What a coordinator answers of a group.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The index of the group as it is.
    pub(crate) index: u64,
    /// That of its last commit.
    pub(crate) commits: u64,
    /// The group, where it was not known.
    pub(crate) sight: Option<Sight>,
}

/// Reads what is known of a group.
pub(crate) fn decode_sight(name: &str, bytes: &[u8]) -> Result<Seen, DecodeError> {
    let mut reader = Reader::versioned(bytes, VERSION, "consumer group")?;
    let (index, commits, is_news) = (reader.u64()?, reader.u64()?, reader.u8()? != 0);
    let count = reader.u32()?;
    let rows = (0..count).map(|_| Ok((reader.bytes()?.to_vec(), reader.bytes()?.to_vec())));
    let rows: Vec<_> = rows.collect::<Result<_, DecodeError>>()?;
    reader.finish()?;
    let group = Groups::restored(&rows)?.get(name).cloned();
    Ok(Seen { index, commits, sight: is_news.then_some(Sight { index, group }) })
}

/// A consumer group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: GroupState,
    /// How many members it has.
    pub members: u32,
}

impl ListedGroup {
    pub(super) fn of(name: &str, group: Option<&Arc<ConsumerGroup>>) -> Self {
        let state = group.map_or(GroupState::Empty, |group| group.state());
        let members = group.map_or(0, |group| group.member_count());
        Self { name: name.to_owned(), state, members: u32::try_from(members).unwrap_or(u32::MAX) }
    }
}

/// The answer to [`Question::List`]: at most [`PAGE`] groups.
pub(super) fn encode_list(listed: &[ListedGroup]) -> Vec<u8> {
    let mut out = Writer::versioned(VERSION);
    out.u32(u32::try_from(listed.len()).expect("a page is bounded"));
    for group in listed {
        let state = match group.state {
            GroupState::Empty => 0,
            GroupState::Stable => 1,
            GroupState::Rebalancing => 2,
        };
        out.bytes(group.name.as_bytes()).u8(state).u32(group.members);
    }
    out.finish()
}

/// Reads a page of groups.
pub(crate) fn decode_list(bytes: &[u8]) -> Result<Vec<ListedGroup>, DecodeError> {
    let mut reader = Reader::versioned(bytes, VERSION, "list of consumer groups")?;
    let count = reader.u32()?;
    let read = |_| {
        let name = reader.string()?;
        let state = match reader.u8()? {
            0 => GroupState::Empty,
            1 => GroupState::Stable,
            2 => GroupState::Rebalancing,
            _ => return Err(reader.error()),
        };
        Ok(ListedGroup { name, state, members: reader.u32()? })
    };
    let listed = (0..count).map(read).collect::<Result<_, DecodeError>>()?;
    reader.finish()?;
    Ok(listed)
}
