//! Bank accounts as streams of events: what an account has follows from its events, and an event is
//! appended only if nobody has appended another one since they were read.
//!
//! ```sh
//! cargo run --example event_sourcing -- account-7
//! ```
//!
//! Two tellers pay into the account and take from it at once, and no change is lost. The key of a
//! record is the account, so that its events stand in one partition, in order; its version is the
//! offset of the last one. The topic keeps all events for ever: an account that lost some of them
//! would have another balance. ROPEWALK_SERVER names the broker; default 127.0.0.1:9092.

use std::error::Error;
use std::time::Duration;

use ropewalk::{
    Admin, CleanupPolicy, Client, ConsumedRecord, ErrorKind, Event as Read, NewTopic, Record,
    RecordTtl, Retention, SizeLimit, Start, Stop, partition_of,
};
use tokio::time::{sleep, timeout};

const TOPIC: &str = "accounts";

/// How often others may be faster. Each time one of them has got on.
const TRIES: u32 = 100;

/// What has happened to an account. Amounts are in cents.
#[derive(Clone, Copy, Debug)]
enum Event {
    Opened,
    PaidIn(u64),
    TakenOut(u64),
}

impl Event {
    fn to_text(self) -> String {
        match self {
            Event::Opened => "opened".to_owned(),
            Event::PaidIn(amount) => format!("paid-in {amount}"),
            Event::TakenOut(amount) => format!("taken-out {amount}"),
        }
    }

    fn from_text(text: &str) -> Result<Event, String> {
        let (what, amount) = text.split_once(' ').unwrap_or((text, "0"));
        let amount = amount.parse().map_err(|_| format!("`{text}` has no amount"))?;
        match what {
            "opened" => Ok(Event::Opened),
            "paid-in" => Ok(Event::PaidIn(amount)),
            "taken-out" => Ok(Event::TakenOut(amount)),
            _ => Err(format!("`{text}` is no event of an account")),
        }
    }
}

/// An account as its events have made it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    is_open: bool,
    /// In cents.
    pub(crate) balance: u64,
    /// How many events there are.
    pub(crate) events: u64,
    /// The version of its key: the offset of its last event.
    version: Option<i64>,
}

impl Account {
    /// Takes what has happened. An event that cannot have happened says that others are missing.
    fn apply(&mut self, event: Event, offset: i64) -> Result<(), String> {
        let balance = match event {
            Event::Opened => (!self.is_open).then_some(0),
            Event::PaidIn(amount) if self.is_open => self.balance.checked_add(amount),
            Event::PaidIn(_) => None,
            Event::TakenOut(amount) => self.balance.checked_sub(amount),
        };
        let cannot_be = || format!("{event:?} at offset {offset} cannot be: {self:?}");
        self.balance = balance.ok_or_else(cannot_be)?;
        self.is_open = true;
        self.events += 1;
        self.version = Some(offset);
        Ok(())
    }

    // What may happen is decided by what has happened, and by nothing else.

    fn open(&self) -> Result<Event, String> {
        if self.is_open { Err("it is open already".to_owned()) } else { Ok(Event::Opened) }
    }

    fn pay_in(&self, amount: u64) -> Result<Event, String> {
        if !self.is_open {
            return Err("it is not open".to_owned());
        }
        let room = self.balance.checked_add(amount);
        room.map(|_| Event::PaidIn(amount)).ok_or_else(|| format!("no room for {amount}"))
    }

    fn take_out(&self, amount: u64) -> Result<Event, String> {
        if amount > self.balance {
            return Err(format!("there are {} and not {amount}", self.balance));
        }
        Ok(Event::TakenOut(amount))
    }
}

/// The accounts, in a topic.
#[derive(Clone)]
pub(crate) struct Accounts {
    client: Client,
    partitions: i32,
}

impl Accounts {
    /// Connects, and creates the topic where it is missing.
    pub(crate) async fn connect(server: &str) -> Result<Accounts, Box<dyn Error>> {
        let client = Client::builder().address(server).name("event-sourcing").connect().await?;
        let partitions = ensure_topic(&client.admin()).await?;
        Ok(Accounts { client, partitions })
    }

    fn partition(&self, id: &str) -> i32 {
        partition_of(id.as_bytes(), self.partitions)
    }

    /// Loads an account: its events among those of its partition.
    pub(crate) async fn load(&self, id: &str) -> Result<Account, Box<dyn Error>> {
        let mut account = Account::default();
        self.read_on(id, &mut account).await?;
        Ok(account)
    }

    /// Reads what has happened to an account since its last event that is known. It names the
    /// offset, also for the first of all: were records gone that it asks for, that would be a gap.
    async fn read_on(&self, id: &str, account: &mut Account) -> Result<(), Box<dyn Error>> {
        let next = account.version.map_or(0, |version| version + 1);
        let mut events = self
            .client
            .consumer()
            .partition_from(TOPIC, self.partition(id), Start::Offset(next))
            .until(Stop::CaughtUp)
            .build()
            .await?;
        while let Some(read) = events.next_event().await {
            let batch = match read? {
                Read::Batch(batch) => batch,
                Read::Gap(gap) => return Err(format!("events are missing: {gap:?}").into()),
                _ => continue,
            };
            for record in batch {
                let ConsumedRecord { key, value, offset, .. } = record?;
                if key.as_deref() == Some(id.as_bytes()) {
                    let text = String::from_utf8(value.unwrap_or_default().to_vec())?;
                    account.apply(Event::from_text(&text)?, offset)?;
                }
            }
        }
        Ok(())
    }

    /// Decides, and appends what was decided. Where somebody was faster, it reads what they did,
    /// and decides again.
    async fn change(
        &self,
        id: &str,
        account: &mut Account,
        decide: impl Fn(&Account) -> Result<Event, String>,
    ) -> Result<(), Box<dyn Error>> {
        for attempt in 0..TRIES {
            let event = decide(account)?;
            let append = self.client.append(TOPIC).partition(self.partition(id));
            let append = append.expect_version(id.to_owned(), account.version);
            let record = Record::to(TOPIC).key(id.to_owned()).value(event.to_text());
            match append.send([record]).await {
                // Nothing has happened to the account in between: that was the condition.
                Ok(placed) => return Ok(account.apply(event, placed[0].offset)?),
                // The decision was made by what is not so any more.
                Err(error) if error.version_mismatch().is_some() => {}
                Err(error) => return Err(error.into()),
            }
            sleep(Duration::from_millis(1 << attempt.min(7))).await;
            self.read_on(id, account).await?;
        }
        Err(format!("others were faster {TRIES} times").into())
    }
}

/// Creates the topic where it is missing, and returns the number of its partitions. It refuses one
/// of which events go in time: an account that had them all gone could be opened anew.
async fn ensure_topic(admin: &Admin) -> Result<i32, Box<dyn Error>> {
    let topic = NewTopic::named(TOPIC).partitions(4).retention(Retention::Forever);
    match admin.create_topic(topic).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let topic = admin.topic(TOPIC).await?.topic;
    let settings = &topic.settings;
    let keeps_all = settings.retention == Some(Retention::Forever)
        && settings.retention_bytes == Some(SizeLimit::Unlimited)
        && settings.cleanup_policy == Some(CleanupPolicy::Delete)
        && !matches!(settings.record_ttl, Some(RecordTtl::For(_)));
    if !keeps_all {
        return Err(format!("{TOPIC} does not keep its records for ever: {settings:?}").into());
    }
    Ok(topic.partition_count)
}

/// Opens an account, and has two tellers pay 100 into it and take 50 from it at once, each so many
/// times.
pub(crate) async fn run(server: &str, id: &str, times: u64) -> Result<Account, Box<dyn Error>> {
    let accounts = Accounts::connect(server).await?;
    let mut account = accounts.load(id).await?;
    accounts.change(id, &mut account, Account::open).await?;
    let teller = async || -> Result<(), Box<dyn Error>> {
        let accounts = Accounts::connect(server).await?;
        let mut account = accounts.load(id).await?;
        for _ in 0..times {
            accounts.change(id, &mut account, |account| account.pay_in(100)).await?;
            accounts.change(id, &mut account, |account| account.take_out(50)).await?;
        }
        Ok(())
    };
    tokio::try_join!(teller(), teller())?;
    accounts.read_on(id, &mut account).await?;
    Ok(account)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let id = std::env::args().nth(1).unwrap_or_else(|| "account-7".to_owned());
    let server = std::env::var("ROPEWALK_SERVER");
    let server = server.unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    let account = timeout(Duration::from_secs(120), run(&server, &id, 10)).await??;
    println!("{id} has {} after {} events", account.balance, account.events);
    Ok(())
}
