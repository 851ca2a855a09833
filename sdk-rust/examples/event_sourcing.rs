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

use ropewalk::{Client, ConsumedRecord, ErrorKind, NewTopic, Record, Start, Stop, partition_of};

const TOPIC: &str = "accounts";

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
    fn apply(&mut self, event: Event, offset: i64) {
        match event {
            Event::Opened => self.is_open = true,
            Event::PaidIn(amount) => self.balance += amount,
            Event::TakenOut(amount) => self.balance -= amount,
        }
        self.events += 1;
        self.version = Some(offset);
    }

    // What may happen is decided by what has happened, and by nothing else.

    fn open(&self) -> Result<Event, String> {
        if self.is_open { Err("it is open already".to_owned()) } else { Ok(Event::Opened) }
    }

    fn pay_in(&self, amount: u64) -> Result<Event, String> {
        if self.is_open { Ok(Event::PaidIn(amount)) } else { Err("it is not open".to_owned()) }
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
        let admin = client.admin();
        match admin.create_topic(NewTopic::named(TOPIC).partitions(4)).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let partitions = admin.topic(TOPIC).await?.topic.partition_count;
        Ok(Accounts { client, partitions })
    }

    fn partition(&self, id: &str) -> i32 {
        partition_of(id.as_bytes(), self.partitions)
    }

    /// Loads an account: its events among those of its partition. A program with many accounts
    /// keeps them in memory, and reads on from where it was.
    pub(crate) async fn load(&self, id: &str) -> Result<Account, Box<dyn Error>> {
        let mut account = Account::default();
        let mut events = self
            .client
            .consumer()
            .partition_from(TOPIC, self.partition(id), Start::Earliest)
            .until(Stop::CaughtUp)
            .build()
            .await?;
        while let Some(record) = events.next().await {
            let ConsumedRecord { key, value, offset, .. } = record?;
            if key.as_deref() == Some(id.as_bytes()) {
                let text = String::from_utf8(value.unwrap_or_default().to_vec())?;
                account.apply(Event::from_text(&text)?, offset);
            }
        }
        Ok(account)
    }

    /// Loads an account, decides, and appends what was decided, again and again until nobody was
    /// faster.
    async fn change(
        &self,
        id: &str,
        decide: impl Fn(&Account) -> Result<Event, String>,
    ) -> Result<Account, Box<dyn Error>> {
        loop {
            let mut account = self.load(id).await?;
            let event = decide(&account)?;
            let append = self.client.append(TOPIC).partition(self.partition(id));
            let append = append.expect_version(id.to_owned(), account.version);
            let record = Record::to(TOPIC).key(id.to_owned()).value(event.to_text());
            match append.send([record]).await {
                Ok(placed) => {
                    account.apply(event, placed[0].offset);
                    return Ok(account);
                }
                // The decision was made by what is not so any more.
                Err(error) if error.version_mismatch().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Opens an account, and has two tellers pay 100 into it and take 50 from it at once, each so many
/// times.
pub(crate) async fn run(server: &str, id: &str, times: u64) -> Result<Account, Box<dyn Error>> {
    let accounts = Accounts::connect(server).await?;
    accounts.change(id, Account::open).await?;
    let teller = async || -> Result<(), Box<dyn Error>> {
        let accounts = Accounts::connect(server).await?;
        for _ in 0..times {
            accounts.change(id, |account| account.pay_in(100)).await?;
            accounts.change(id, |account| account.take_out(50)).await?;
        }
        Ok(())
    };
    tokio::try_join!(teller(), teller())?;
    accounts.load(id).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let id = std::env::args().nth(1).unwrap_or_else(|| "account-7".to_owned());
    let server = std::env::var("ROPEWALK_SERVER");
    let server = server.unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    let account = run(&server, &id, 10).await?;
    println!("{id} has {} after {} events", account.balance, account.events);
    Ok(())
}
