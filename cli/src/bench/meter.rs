//! What was measured?

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// One measurement.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Requests that were answered.
    pub(super) operations: u64,
    /// The time it took.
    pub(super) took: Duration,
    /// Processor time in seconds.
    pub(super) cpu: Ends,
    /// From sending a request to its reply, in nanoseconds. The baselines do not look.
    pub(super) latency: Option<Histogram<u64>>,
}

/// A figure of each end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    pub(super) client: f64,
    pub(super) server: f64,
}

impl Outcome {
    /// Operations per second.
    pub(super) fn rate(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    /// Microseconds of processor time per operation, both ends.
    pub(super) fn cpu_per_operation(&self) -> f64 {
        (self.cpu.client + self.cpu.server) * 1e6 / self.operations.max(1) as f64
    }

    /// The figures, for machines. `bytes` is what an operation carries.
    pub(super) fn json(&self, bytes: usize) -> Value {
        let mut value = json!({
            "operations": self.operations,
            "seconds": self.took.as_secs_f64(),
            "operations_per_second": self.rate(),
            "bytes_per_second": self.rate() * bytes as f64,
            "cpu_seconds_client": self.cpu.client,
            "cpu_seconds_server": self.cpu.server,
            "cpu_microseconds_per_operation": self.cpu_per_operation(),
        });
        if let (Some(latency), Some(fields)) = (&self.latency, value.as_object_mut()) {
            for (name, quantile) in QUANTILES {
                let microseconds = latency.value_at_quantile(quantile) as f64 / 1e3;
                fields.insert(format!("latency_microseconds_{name}"), json!(microseconds));
            }
        }
        value
    }
}

/// The percentiles that are told.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
