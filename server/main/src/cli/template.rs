//! How a record is printed: the template of `consume -f`.

use std::io::{self, Write};

use ropewalk::ConsumedRecord;

use super::parse::{time_text, unescape};

/// A template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Time,
    Headers,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let text = unescape(text)?;
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            if next != '%' {
                plain.push(next);
                continue;
            }
            let part = match rest.next() {
                Some('%') => {
                    plain.push('%');
                    continue;
                }
                Some('t') => Part::Topic,
                Some('p') => Part::Partition,
                Some('o') => Part::Offset,
                Some('k') => Part::Key,
                Some('v') => Part::Value,
                Some('T') => Part::Time,
                Some('h') => Part::Headers,
                other => {
                    let other = other.map_or(String::new(), String::from);
                    return Err(format!(
                        "`%{other}` means nothing; there are %t %p %o %k %v %T %h %%"
                    ));
                }
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part);
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    /// Prints a record. A key or value that is absent is printed as nothing.
    pub(super) fn write(&self, record: &ConsumedRecord, out: &mut impl Write) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text.as_bytes())?,
                Part::Topic => out.write_all(record.topic.as_bytes())?,
                Part::Partition => write!(out, "{}", record.partition)?,
                Part::Offset => write!(out, "{}", record.offset)?,
                Part::Key => out.write_all(record.key.as_deref().unwrap_or_default())?,
                Part::Value => out.write_all(record.value.as_deref().unwrap_or_default())?,
                Part::Time => out.write_all(time_text(record.timestamp).as_bytes())?,
                Part::Headers => write_headers(record, out)?,
            }
        }
        Ok(())
    }
}

fn write_headers(record: &ConsumedRecord, out: &mut impl Write) -> io::Result<()> {
    for (index, header) in record.headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write!(out, "{}=", header.key)?;
        out.write_all(header.value.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn printed(template: &str) -> String {
        let header = |key: &str, value: &'static str| ropewalk::Header {
            key: key.to_owned(),
            value: Some(value.into()),
        };
        let record = ConsumedRecord {
            topic: "t".into(),
            partition: 2,
            offset: 7,
            timestamp: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
            key: Some("k".into()),
            value: None,
            headers: vec![header("a", "1"), header("b", "")],
            ttl: None,
        };
        let mut out = Vec::new();
        let template = Template::parse(template).expect("a template");
        template.write(&record, &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_part_is_printed() {
        assert_eq!(printed(r"%t/%p@%o %k=%v;%h%%\n"), "t/2@7 k=;a=1,b=%\n");
        assert_eq!(printed("%T"), "1970-01-02T00:00:00Z");
        assert_eq!(printed(""), "");
    }

    #[test]
    fn unknown_parts_are_refused() {
        for bad in ["%x", "%", r"\q"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
