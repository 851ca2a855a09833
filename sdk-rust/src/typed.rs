//! Values that are more than bytes: JSON by serde, and protobuf messages.
//!
//! Records carry bytes; what they mean is between producers and consumers. These helpers add
//! nothing to them: any other client reads the same JSON or message.

use bytes::Bytes;
use prost::Message;

use crate::consumer::ConsumedRecord;
use crate::error::{Error, ErrorKind};
use crate::record::Record;

impl Record {
    /// Sets the value to a protobuf message.
    ///
    /// ```
    /// use prost_types::Timestamp;
    /// use ropewalk::Record;
    ///
    /// let record = Record::to("births").message(&Timestamp { seconds: 1, nanos: 0 });
    /// ```
    #[must_use]
    pub fn message(self, message: &impl Message) -> Record {
        self.value(message.encode_to_vec())
    }

    /// Sets the value to something in JSON.
    ///
    /// ```
    /// use ropewalk::Record;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Order {
    ///     total: u32,
    /// }
    ///
    /// # fn run() -> Result<(), ropewalk::Error> {
    /// let record = Record::to("orders").key("customer-7").json(&Order { total: 12 })?;
    /// # Ok(())
    /// # }
    /// # run().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for what JSON cannot say, as a map whose keys are no text.
    #[cfg(feature = "json")]
    pub fn json(self, value: &(impl serde::Serialize + ?Sized)) -> Result<Record, Error> {
        let encoded = serde_json::to_vec(value);
        let encoded =
            encoded.map_err(|error| Error::invalid(format!("the value has no JSON: {error}")))?;
        Ok(self.value(encoded))
    }
}

impl ConsumedRecord {
    /// The value as a protobuf message.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Undecodable`] where it is none, or the record has no value.
    pub fn message<M: Message + Default>(&self) -> Result<M, Error> {
        M::decode(self.value_to_decode()?.clone()).map_err(|error| self.undecodable(&error))
    }

    /// The value as what its JSON says.
    ///
    /// ```no_run
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     total: u32,
    /// }
    ///
    /// # async fn run(mut consumer: ropewalk::Consumer) -> Result<(), ropewalk::Error> {
    /// while let Some(record) = consumer.next().await {
    ///     let order: Order = record?.json()?;
    ///     println!("{}", order.total);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Undecodable`] where it is something else, or the record has no value.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_slice(self.value_to_decode()?).map_err(|error| self.undecodable(&error))
    }

    fn value_to_decode(&self) -> Result<&Bytes, Error> {
        self.value.as_ref().ok_or_else(|| self.undecodable(&"it has no value"))
    }

    fn undecodable(&self, why: &dyn std::fmt::Display) -> Error {
        let place = format!("{}/{}@{}", self.topic, self.partition, self.offset);
        let message = format!("the value of the record at {place} is not of this type: {why}");
        Error::new(ErrorKind::Undecodable, message)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use prost_types::Timestamp;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Order<'a> {
        customer: &'a str,
        total: u32,
    }

    fn read(record: Record) -> ConsumedRecord {
        ConsumedRecord {
            topic: record.topic,
            partition: 0,
            offset: 7,
            timestamp: SystemTime::UNIX_EPOCH,
            key: record.key,
            value: record.value,
            headers: record.headers,
            ttl: record.ttl,
        }
    }

    #[test]
    fn a_value_is_what_it_was() {
        let order = Order { customer: "seven", total: 12 };
        let record = read(Record::to("orders").json(&order).unwrap());
        assert_eq!(record.value.as_deref(), Some(&br#"{"customer":"seven","total":12}"#[..]));
        assert_eq!(record.json::<Order<'_>>().unwrap(), order);

        let time = Timestamp { seconds: 5, nanos: 6 };
        assert_eq!(read(Record::to("t").message(&time)).message::<Timestamp>().unwrap(), time);
    }

    #[test]
    fn a_value_of_another_type_names_its_record() {
        let error = read(Record::to("orders").value("{}")).json::<Order<'_>>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable);
        assert!(error.message().contains("orders/0@7"), "{error}");
        assert!(error.message().contains("missing field `customer`"), "{error}");
        let tombstone = read(Record::to("orders").key("k"));
        for error in [
            tombstone.json::<Order<'_>>().unwrap_err(),
            tombstone.message::<Timestamp>().unwrap_err(),
        ] {
            assert!(error.message().ends_with("it has no value"), "{error}");
        }
        assert!(read(Record::to("t").value("\u{7f}")).message::<Timestamp>().is_err());
    }
}
