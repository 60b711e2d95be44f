//! What is printed?

use std::io::Write as _;

use serde_json::{Value, json};

use super::meter::Outcome;
use crate::live::output::Output;
use crate::live::show::Format;

/// One size and depth, measured a few times.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) size: usize,
    pub(super) depth: usize,
    /// The mode of the connections, if it was asked for.
    pub(super) mode: Option<&'static str>,
    /// The rate to that of crc mode in the same round; the median of the rounds.
    to_crc: Option<f64>,
    pub(super) exchange: Vec<Outcome>,
    pub(super) stream: Vec<Outcome>,
    pub(super) messenger: Vec<Outcome>,
    /// What a write of the stream baseline carries.
    pub(super) block: usize,
}

impl Case {
    /// Nothing is measured yet.
    pub(super) fn new(size: usize, depth: usize, block: usize, mode: Option<&'static str>) -> Self {
        Self { size, depth, block, mode, ..Self::default() }
    }

    /// The messenger's rate to that of the raw exchange, in the same round; the median of the rounds.
    fn to_exchange(&self) -> Option<f64> {
        median(self.messenger.iter().zip(&self.exchange).map(|(ours, raw)| ours.rate() / raw.rate()))
    }

    /// The messenger's data per second to the bytes per second of the raw stream.
    fn to_stream(&self) -> Option<f64> {
        let rate = |ours: &Outcome| ours.rate() * self.size as f64;
        let raw = |raw: &Outcome| raw.rate() * self.block as f64;
        median(self.messenger.iter().zip(&self.stream).map(|(ours, stream)| rate(ours) / raw(stream)))
    }

    fn json(&self) -> Value {
        let all = |outcomes: &[Outcome], bytes| -> Vec<Value> {
            outcomes.iter().map(|outcome| outcome.json(bytes)).collect()
        };
        let mut value = json!({
            "size": self.size,
            "depth": self.depth,
            "messenger": all(&self.messenger, self.size),
            "raw_exchange": all(&self.exchange, self.size),
            "raw_stream": all(&self.stream, self.block),
            "ratio_to_raw_exchange": self.to_exchange(),
            "ratio_to_raw_stream": self.to_stream(),
        });
        if let (Some(mode), Some(fields)) = (self.mode, value.as_object_mut()) {
            fields.insert("mode".to_owned(), mode.into());
            fields.insert("ratio_to_crc".to_owned(), self.to_crc.into());
        }
        value
    }
}

/// All cases.
#[derive(Debug, Default)]
pub(super) struct Report {
    cases: Vec<Case>,
}

impl Report {
    /// The same size and depth in all modes.
    pub(super) fn add(&mut self, mut modes: Vec<Case>) {
        let crc = modes.iter().find(|case| case.mode == Some("crc")).map(|case| case.messenger.clone());
        for case in modes.iter_mut().filter(|case| case.mode != Some("crc")) {
            let rounds = case.messenger.iter().zip(crc.iter().flatten());
            case.to_crc = median(rounds.map(|(ours, crc)| ours.rate() / crc.rate()));
        }
        self.cases.append(&mut modes);
    }

    pub(super) fn print(&self, format: Format) -> anyhow::Result<()> {
        let mut out = Output::standard();
        match format {
            Format::Plain => write!(out, "{}", self.table())?,
            Format::Json | Format::JsonPretty => {
                let cases: Vec<Value> = self.cases.iter().map(Case::json).collect();
                format.object(&json!({ "cases": cases }), &mut out)?;
            }
        }
        Ok(out.flush()?)
    }

    /// One line for each case.
    fn table(&self) -> String {
        let mut text = format!(
            "{:>9} {:>6} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>8}\n",
            "size",
            "depth",
            "op/s",
            "MB/s",
            "p50 µs",
            "p99 µs",
            "client",
            "server",
            "CPU µs/op",
            "× exchange",
            "× stream"
        );
        let modes = self.cases.iter().any(|case| case.mode.is_some());
        if modes {
            text.insert_str(text.len() - 1, &format!(" {:>6} {:>6}", "mode", "× crc"));
        }
        for case in &self.cases {
            let Some(ours) = middle(&case.messenger) else { continue };
            let quantile = |quantile| {
                ours.latency.as_ref().map_or(0.0, |latency| latency.value_at_quantile(quantile) as f64 / 1e3)
            };
            let per_operation = |seconds: f64| seconds * 1e6 / ours.operations.max(1) as f64;
            let ratio =
                |ratio: Option<f64>| ratio.map_or_else(|| String::from("-"), |ratio| format!("{ratio:.2}"));
            text += &format!(
                "{:>9} {:>6} {:>10.0} {:>9.1} {:>9.1} {:>9.1} {:>9.2} {:>9.2} {:>9.2} {:>10} {:>8}\n",
                case.size,
                case.depth,
                ours.rate(),
                ours.rate() * case.size as f64 / 1e6,
                quantile(0.5),
                quantile(0.99),
                per_operation(ours.cpu.client),
                per_operation(ours.cpu.server),
                ours.cpu_per_operation(),
                ratio(case.to_exchange()),
                ratio(case.to_stream()),
            );
            if modes {
                let columns = format!(" {:>6} {:>6}", case.mode.unwrap_or("-"), ratio(case.to_crc));
                text.insert_str(text.len() - 1, &columns);
            }
        }
        text
    }
}

/// The measurement with the median rate.
fn middle(outcomes: &[Outcome]) -> Option<&Outcome> {
    let mut sorted: Vec<&Outcome> = outcomes.iter().collect();
    sorted.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
    sorted.get(sorted.len() / 2).copied()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
