//! What is wrong with the records of a request.

use super::*;

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        let message = error.to_string();
        match error {
            IngestError::Records(error) => error.into(),
            IngestError::Frame { .. } => {
                Self::new(Reason::CorruptBatch, message).about_field("compressed")
            }
            IngestError::NoKey { record } => {
                Self::field(&format!("records.records[{record}].key"), message)
            }
            IngestError::ShortTtl { record } => {
                Self::field(&format!("records.records[{record}].ttl"), message)
            }
            IngestError::BatchTooLarge { limit, actual } => {
                Self::new(Reason::BatchTooLarge, message)
                    .about_field("records")
                    .with("limit", limit)
                    .with("actual", actual)
            }
        }
    }
}

impl From<RecordsError> for Failure {
    fn from(error: RecordsError) -> Self {
        let message = error.to_string();
        match error {
            RecordsError::Empty => Self::field("records", message),
            RecordsError::Corrupt { record, .. } => Self::new(Reason::CorruptBatch, message)
                .about_field(&format!("records.records[{record}]")),
            RecordsError::RecordTooLarge { record, limit, actual } => {
                Self::new(Reason::RecordTooLarge, message)
                    .about_field(&format!("records.records[{record}]"))
                    .with("limit", limit)
                    .with("actual", actual)
            }
            RecordsError::HeadersTooLarge { record, limit, actual } => {
                Self::new(Reason::RecordTooLarge, message)
                    .about_field(&format!("records.records[{record}].headers"))
                    .with("limit", limit)
                    .with("actual", actual)
            }
            RecordsError::Conflict { record, .. } => {
                Self::field(&format!("records.records[{record}]"), message)
            }
        }
    }
}
