//! How is a record written for machines?

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::fields;
use super::record::{Record, What, Why};

/// One object: where and when first, then `frame` and its fields.
pub(super) fn record(file: &str, record: &Record) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    put("file", file.into());
    put("conn", record.connection.into());
    put("time", time(record.time).into());
    put("src", record.src.to_string().into());
    put("dst", record.dst.to_string().into());
    put("proto", record.protocol.map_or(Value::Null, |protocol| protocol.name().into()));
    put("offset", record.offset.into());
    put("len", record.len.into());
    put("frame", record.name().into());
    if let What::Undecodable(Why::Malformed(error)) = &record.what {
        put("in", error.frame.into());
        put("field", error.field.into());
        put("at", error.offset.into());
    }
    for (name, value) in fields::of(&record.what) {
        put(name, value);
    }
    if let Some(signature) = record.findings.signature {
        put("signature_check", signature.name().into());
    }
    if let Some(inside) = &record.findings.inside {
        put("cephx", inside.to_json());
    }
    if let Some(problem) = record.findings.problem() {
        put("error", problem.into());
    }
    Value::Object(object)
}

/// RFC 3339 with nanoseconds, in UTC.
fn time(nanoseconds: u64) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => nanoseconds.to_string(),
    }
}
