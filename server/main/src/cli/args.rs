//! The client commands and their arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ArgMatches, Args, FromArgMatches, Subcommand, ValueEnum};
use clap_complete::Shell;
use ropewalk::{Setting, Stop};

use super::assign::{Assignment, assignment, setting};
use super::group_args::Group;
use super::parse::{Codec, Origin, before, codec, header, origin, separator, stop};
use super::template::Template;
use crate::settings::values::duration;

/// A client command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, list, describe, update and delete topics
    #[command(subcommand)]
    Topic(Topic),
    /// Delete records
    #[command(subcommand)]
    Records(Records),
    /// Append records: a value given as an argument, or the lines of standard input
    Produce(Produce),
    /// Read records to standard output
    Consume(Consume),
    /// Show where partitions begin and end, or what a consumer group committed
    Offsets(Offsets),
    /// List, describe, reset and delete consumer groups, and remove their members
    #[command(subcommand)]
    Group(Group),
    /// Show the cluster, drain and remove brokers, move partitions and their leaders
    Cluster(Cluster),
    /// Ask the broker whether it serves; ends with 1 when it does not
    Health(Common),
    /// Look at the data directory of a broker that does not run
    #[command(subcommand)]
    Storage(Storage),
    /// Run a cluster on this machine, for development: brokers that end with this command
    Dev(Dev),
    /// Print the completions of a shell
    Completions {
        /// The shell, such as bash, zsh or fish
        shell: Shell,
    },
}

/// Adds the client commands to the root command.
pub(crate) fn with_commands(root: clap::Command) -> clap::Command {
    Command::augment_subcommands(root)
}

/// The client command that was given; `None` when it was another one, or none.
pub(crate) fn command_of(matches: &ArgMatches) -> Option<Result<Command, clap::Error>> {
    let name = matches.subcommand_name()?;
    Command::has_subcommand(name).then(|| Command::from_arg_matches(matches))
}

/// What every command takes.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// The broker, or several separated by commas, tried in order
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "ROPEWALK_SERVER",
        default_value = "127.0.0.1:9092"
    )]
    pub(super) server: String,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// How long a call may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(super) timeout: Duration,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: a document, or a line for each record
    Json,
}

/// What is done with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Create a topic
    Create(TopicCreate),
    /// List topics
    List(TopicList),
    /// Show a topic, its settings and its partitions
    Describe(TopicDescribe),
    /// Change settings of a topic, or add partitions
    Update(TopicUpdate),
    /// Delete topics and their records
    Delete(TopicDelete),
    /// Tell which topics there are, and how they change, until interrupted
    Watch(TopicWatch),
}

#[derive(Args, Debug)]
pub(crate) struct TopicWatch {
    /// Only topics whose name begins with this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) prefix: String,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct TopicCreate {
    /// The name: 1 to 249 of A-Z a-z 0-9 . _ -
    pub(super) name: String,
    /// The number of partitions [default: the broker's setting]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub(super) partitions: Option<i32>,
    /// The number of replicas of each partition: 1, 3 or 5 [default: 3 with 3 brokers, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=5))]
    pub(super) replication_factor: Option<i32>,
    /// A setting, such as retention=1h, retention_bytes=1GiB, timestamp_type=append
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub(super) set: Vec<Assignment>,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct TopicList {
    /// Only topics whose name begins with this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) prefix: String,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct TopicDescribe {
    /// The topic
    pub(super) name: String,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true)
    .args(["partitions", "replication_factor", "set", "unset"]))]
pub(crate) struct TopicUpdate {
    /// The topic
    pub(super) name: String,
    /// The number of partitions, which only grows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub(super) partitions: Option<i32>,
    /// The number of replicas of each partition: 1, 3 or 5
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=5))]
    pub(super) replication_factor: Option<i32>,
    /// A setting, such as retention=1h or retention=forever
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub(super) set: Vec<Assignment>,
    /// A setting to put back to its default
    #[arg(long = "unset", value_name = "KEY", value_parser = setting)]
    pub(super) unset: Vec<Setting>,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct TopicDelete {
    /// The topics
    #[arg(required = true, value_name = "NAME")]
    pub(super) names: Vec<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// What is done with records that are there.
#[derive(Debug, Subcommand)]
pub(crate) enum Records {
    /// Delete the records of a partition below an offset, for good
    Delete(RecordsDelete),
}

#[derive(Args, Debug)]
pub(crate) struct RecordsDelete {
    /// The topic
    pub(super) topic: String,
    /// The partition, from 0
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: i32,
    /// The first offset that stays, or `end` to delete all there is
    #[arg(long, value_name = "OFFSET", value_parser = before)]
    pub(super) before: BeforeOffset,
    #[command(flatten)]
    pub(super) common: Common,
}

/// An offset, or the end. (A type of its own: clap takes a bare `Option` for an optional argument.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BeforeOffset(pub(super) Option<i64>);

#[derive(Args, Debug)]
pub(crate) struct Produce {
    /// The topic
    pub(super) topic: String,
    /// The value of one record. Left out: each line of standard input is one
    pub(super) value: Option<String>,
    /// The key of every record
    #[arg(long, conflicts_with = "key_separator")]
    pub(super) key: Option<String>,
    /// What stands between key and value in a line, such as `:` or `\t`
    #[arg(long, value_name = "TEXT", value_parser = separator, conflicts_with = "value")]
    pub(super) key_separator: Option<String>,
    /// The partition, from 0 [default: by key; without a key, in turn]
    #[arg(long, short, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: Option<i32>,
    /// A header of every record; may be repeated
    #[arg(long = "header", short = 'H', value_name = "KEY=VALUE", value_parser = header)]
    pub(super) headers: Vec<(String, String)>,
    /// How long every record lives: it is delivered no more once so much time has passed since its
    /// append, such as 90s, 15m or 1h30m [default: as the topic's setting `record_ttl` says]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) ttl: Option<Duration>,
    /// How records are compressed on their way and in the log: gzip, snappy, lz4 or zstd, and the
    /// level where the codec has one, as zstd:9 (gzip 1 to 9, zstd 1 to 22); or none [default: as
    /// the topic's setting `compression` says]
    #[arg(long, value_name = "CODEC[:LEVEL]", value_parser = codec)]
    pub(super) compression: Option<Codec>,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Consume {
    /// The topic
    pub(super) topic: String,
    /// Only this partition, from 0; may be repeated
    #[arg(long = "partition", short, value_name = "P", action = ArgAction::Append,
        value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partitions: Vec<i32>,
    /// Read as a member of this consumer group, which shares the topic with the other members
    ///
    /// It begins where the group was; --offset (earliest, latest or @TIME) is where a partition
    /// begins of which the group has committed nothing. What was printed is committed.
    #[arg(long, short, value_name = "GROUP", conflicts_with_all = ["partitions", "until"])]
    pub(super) group: Option<String>,
    /// Where to begin: earliest, latest, an offset, -N for the last N of each partition, or @TIME
    ///
    /// TIME is like 2026-01-31T12:00:00Z, seconds since 1970, or a length of time ago, like 15m.
    #[arg(long, short = 'o', value_name = "WHERE", default_value = "earliest",
        allow_hyphen_values = true, value_parser = origin)]
    pub(super) offset: Origin,
    /// End after this many records
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Where to end: caught-up, an offset, or @TIME [default: go on until interrupted]
    #[arg(long, value_name = "WHERE", value_parser = stop)]
    pub(super) until: Option<Stop>,
    /// How a record is printed
    ///
    /// %t topic, %p partition, %o offset, %k key, %v value, %T time, %h headers, %% a percent sign;
    /// \n, \t, \r, \0 and \\ as usual.
    #[arg(long = "record-format", short = 'f', value_name = "TEMPLATE", default_value = r"%v\n",
        value_parser = Template::parse)]
    pub(super) template: Template,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Offsets {
    /// The topic. With --group: only of this topic
    #[arg(required_unless_present = "group")]
    pub(super) topic: Option<String>,
    /// Show what this consumer group committed, and how far it is behind
    #[arg(long, short, value_name = "GROUP")]
    pub(super) group: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// The cluster; without more, its status.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    pub(super) action: Option<ClusterAction>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// What is done with a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterAction {
    /// Show brokers, what they lead and hold, and partitions that lack replicas or a leader
    Status(ClusterStatus),
    /// Have a broker hand over all that it leads, and get no new replicas
    Drain(OneBroker),
    /// Have a broker lead and get replicas again
    Undrain(Undrain),
    /// Take a broker out for good, once its replicas are rebuilt on others
    Remove(OneBroker),
    /// Move a partition to other brokers
    Reassign(Reassign),
    /// Have another broker lead a partition
    Transfer(Transfer),
}

#[derive(Args, Debug)]
pub(crate) struct ClusterStatus {
    /// Show all partitions, not only those that lack replicas or a leader
    #[arg(long)]
    pub(super) partitions: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// For how long a change is waited for.
#[derive(Args, Debug)]
pub(crate) struct Waiting {
    /// Do not wait until it is carried out
    #[arg(long)]
    pub(super) no_wait: bool,
    /// How long to wait until it is carried out
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration,
        conflicts_with = "no_wait")]
    pub(super) within: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct OneBroker {
    /// The broker's id
    #[arg(value_name = "BROKER", value_parser = broker_id())]
    pub(super) broker: u64,
    #[command(flatten)]
    pub(super) waiting: Waiting,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Undrain {
    /// The broker's id
    #[arg(value_name = "BROKER", value_parser = broker_id())]
    pub(super) broker: u64,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Reassign {
    /// The topic
    pub(super) topic: String,
    /// The partition, from 0
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: i32,
    /// The brokers that are to have it, such as 1,2,3; the first is the preferred leader
    #[arg(long, value_name = "BROKERS", required = true, value_delimiter = ',',
        value_parser = broker_id())]
    pub(super) to: Vec<u64>,
    #[command(flatten)]
    pub(super) waiting: Waiting,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
pub(crate) struct Transfer {
    /// The topic
    pub(super) topic: String,
    /// The partition, from 0
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: i32,
    /// The broker, which has a replica and is the preferred leader from then on [default: the
    /// preferred leader]
    #[arg(long, value_name = "BROKER", value_parser = broker_id())]
    pub(super) to: Option<u64>,
    #[command(flatten)]
    pub(super) common: Common,
}

fn broker_id() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=u64::from(u32::MAX))
}

#[derive(Args, Debug)]
pub(crate) struct Dev {
    /// The number of brokers
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) nodes: u16,
    /// The client port of the first broker; the next one's is 100 higher, and so on. The peer port
    /// of each comes after it, then the admin port
    #[arg(long, value_name = "PORT", default_value_t = 9092,
        value_parser = clap::value_parser!(u16).range(1..=64_000))]
    pub(crate) base_port: u16,
    /// Where the brokers keep their data [default: a directory that is removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// What `ropewalk serve` is given besides, for each broker
    #[arg(last = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}

/// What is done with a data directory. Nothing in it is changed.
#[derive(Debug, Subcommand)]
pub(crate) enum Storage {
    /// Show what a data directory holds
    Inspect(StorageArgs),
    /// Check every byte of a data directory
    ///
    /// Ends with 0 when all is sound, 5 when the broker will mend something at its next start
    /// without loss, and 6 when something is damaged.
    Verify(StorageArgs),
}

#[derive(Args, Debug)]
pub(crate) struct StorageArgs {
    /// The data directory, which no broker may be using
    #[arg(value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// How results are printed
    #[arg(long, visible_alias = "output", value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let root = with_commands(clap::Command::new("ropewalk"));
        let words = line.split_whitespace();
        let matches = root.try_get_matches_from(["ropewalk"].into_iter().chain(words))?;
        command_of(&matches).expect("a client command")
    }

    #[test]
    fn the_definition_is_sound() {
        with_commands(clap::Command::new("ropewalk")).debug_assert();
    }

    #[test]
    fn commands_are_read() {
        for line in [
            "topic create t --partitions 3 --set retention=1h --set retention_bytes=1GiB",
            "topic list --prefix a --format json",
            "topic describe t --server a:1,b:2",
            "topic update t --unset retention",
            "topic delete a b",
            "records delete t --partition 0 --before 5",
            "records delete t --partition 0 --before end",
            "produce t value --key k -p 1 -H a=b",
            r"produce t --key-separator \t",
            "consume t -o -5 -n 3 --until caught-up",
            "consume t -o @2026-01-31T12:00:00Z -p 0 -p 1",
            "offsets t",
            "offsets --group g",
            "consume t --group g -o latest -n 3",
            "group list --prefix a",
            "group describe g --format json",
            "group reset g --to earliest --dry-run",
            "group reset g --topic t -p 0 --to @15m",
            "group reset g --shift -5",
            "group delete g h",
            "group remove-member g --instance pod-0",
            "group remove-member g --member 61616161-6161-6161-6161-616161616161",
            "cluster --timeout 5s",
            "cluster status --format json",
            "cluster drain 2 --within 1m",
            "cluster undrain 2",
            "cluster remove 2 --no-wait",
            "cluster reassign t 0 --to 1,2,3",
            "cluster transfer t 0",
            "cluster transfer t 0 --to 2",
            "topic watch --prefix a",
            "dev --nodes 3 --base-port 19092 -- --log-level debug",
            "health",
            "storage inspect /var/lib/ropewalk",
            "storage verify data --output json",
            "completions bash",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn wrong_calls_are_told_apart() {
        for line in [
            "topic create t --partitions 0",
            "topic create t --set retention",
            "topic update t",
            "topic delete",
            "records delete t --partition 0",
            "records delete t --partition 0 --before -1",
            "produce t v --key-separator :",
            "consume t -o soon",
            "consume t -f %x",
            "consume t -n 0",
            "consume t --until later",
            "offsets",
            "consume t --group g -p 0",
            "group reset g",
            "group reset g --to 5 --shift 3",
            "group reset g -p 0 --to 5",
            "health --format yaml",
            "cluster drain",
            "cluster drain 0",
            "cluster remove 2 --no-wait --within 1m",
            "cluster reassign t 0",
            "cluster reassign t 0 --to 1,two",
            "dev --nodes 0",
            "storage",
            "storage verify",
            "completions csh",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn an_unknown_setting_names_the_nearest() {
        let error = parse("topic create t --set retention_byte=1").expect_err("no such setting");
        assert!(error.to_string().contains("`retention_bytes`"), "{error}");
    }

    #[test]
    fn other_commands_are_not_ours() {
        let root = with_commands(clap::Command::new("ropewalk"));
        let root = root.subcommand(clap::Command::new("serve"));
        let matches = root.get_matches_from(["ropewalk", "serve"]);
        assert!(command_of(&matches).is_none());
    }
}
