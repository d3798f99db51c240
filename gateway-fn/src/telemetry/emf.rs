//! Writes the metrics of an invocation in CloudWatch's embedded metric format to standard output. CloudWatch extracts them
//! from the function's log, so that no service is called.

use std::{
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};

use crate::context::{RecordSnapshot, Visit};

/// Writes the metrics of one function.
#[derive(Debug)]
pub struct Metrics {
    /// The namespace in CloudWatch.
    pub namespace: String,
    /// The function's name.
    pub function: String,
    /// The Flow's name.
    pub flow: String,
    /// The destination of the lines.
    pub output: Output,
}

/// The destination of metric lines.
pub struct Output(Mutex<Box<dyn Write + Send>>);

impl Output {
    /// Writes to `writer`, all lines of one invocation in one write.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(writer)))
    }
}

impl Default for Output {
    /// Standard output, which is Lambda's log.
    fn default() -> Self {
        Self::to(std::io::stdout())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Output")
    }
}

/// The measurements of one invocation.
#[derive(Clone, Debug, Default)]
pub struct Measurements {
    /// How long INIT took, if the invocation was a cold start.
    pub init: Option<Duration>,
    /// The time from the event to the answer.
    pub duration: Duration,
    /// What happened to the invocation's requests.
    pub record: RecordSnapshot,
    /// Byte counts of the whole invocation, by the name of the metric.
    pub bytes: Vec<(&'static str, u64)>,
    /// The request id, which links the metrics to the log of the invocation.
    pub request_id: String,
}

impl Metrics {
    /// Returns a line for the invocation, one for each visit to an Executor and one for each failure, because a line has
    /// one value for each dimension.
    #[must_use]
    pub fn lines(&self, measurements: &Measurements, now: SystemTime) -> Vec<String> {
        let line = || self.line(measurements, now);
        let mut lines = vec![add_totals(line(), measurements).into_json()];
        let visits = measurements.record.visits.iter();
        lines.extend(visits.filter_map(|visit| {
            let duration = duration(visit)?;
            let line = line().dimension("Executor", &visit.executor);
            let line = line.metric("NodeDuration", Unit::Milliseconds, milliseconds(duration));
            let failed = if visit.failed { 1.0 } else { 0.0 };
            Some(line.metric("NodeErrors", Unit::Count, failed).into_json())
        }));
        let failures = measurements.record.failures.iter();
        lines.extend(failures.map(|(code, executor)| {
            let line = line().dimension("Code", &format!("{code:?}"));
            let line = line.property("Executor", executor.as_deref());
            line.metric("Errors", Unit::Count, 1.0).into_json()
        }));
        lines
    }

    /// Writes the lines.
    pub fn write(&self, measurements: &Measurements) {
        let mut text = self.lines(measurements, SystemTime::now()).join("\n");
        text.push('\n');
        // In one write, so that no other output comes between the lines. Fails only if the log is closed.
        let mut output = self.output.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = output.write_all(text.as_bytes());
    }

    fn line(&self, measurements: &Measurements, now: SystemTime) -> Line {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let timestamp = u64::try_from(since.unwrap_or_default().as_millis());
        let line = Line {
            namespace: self.namespace.clone(),
            timestamp: timestamp.unwrap_or(u64::MAX),
            dimensions: Vec::new(),
            metrics: Vec::new(),
            members: Map::new(),
        };
        line.dimension("FunctionName", &self.function)
            .dimension("Flow", &self.flow)
            .property("requestId", Some(&measurements.request_id))
    }
}

fn add_totals(mut line: Line, measurements: &Measurements) -> Line {
    let cold_start = if measurements.init.is_some() {
        1.0
    } else {
        0.0
    };
    line = line.metric("ColdStart", Unit::Count, cold_start);
    if let Some(init) = measurements.init {
        line = line.metric("InitDuration", Unit::Milliseconds, milliseconds(init));
    }
    line = line.metric(
        "Duration",
        Unit::Milliseconds,
        milliseconds(measurements.duration),
    );
    for (name, bytes) in &measurements.bytes {
        #[expect(
            clippy::cast_precision_loss,
            reason = "CloudWatch's values are doubles"
        )]
        let bytes = *bytes as f64;
        line = line.metric(name, Unit::Bytes, bytes);
    }
    line
}

fn duration(visit: &Visit) -> Option<Duration> {
    let start = SystemTime::try_from(visit.start).ok()?;
    let end = SystemTime::try_from(visit.end?).ok()?;
    Some(end.duration_since(start).unwrap_or_default())
}

fn milliseconds(duration: Duration) -> f64 {
    // Three decimals are more precise than a clock in a virtual machine.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Bytes,
    Count,
    Milliseconds,
}

/// The largest number of characters in a dimension's value (CloudWatch, embedded metric format).
const MAX_DIMENSION_CHARS: usize = 1024;

/// A line under construction.
struct Line {
    namespace: String,
    timestamp: u64,
    dimensions: Vec<&'static str>,
    metrics: Vec<Value>,
    members: Map<String, Value>,
}

impl Line {
    fn dimension(mut self, name: &'static str, value: &str) -> Self {
        // CloudWatch rejects a dimension without a value.
        if value.is_empty() {
            return self;
        }
        self.dimensions.push(name);
        let value: String = value.chars().take(MAX_DIMENSION_CHARS).collect();
        self.members.insert(name.to_owned(), value.into());
        self
    }

    fn property(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.members.insert(name.to_owned(), value.into());
        }
        self
    }

    fn metric(mut self, name: &str, unit: Unit, value: f64) -> Self {
        let unit = format!("{unit:?}");
        self.metrics.push(json!({ "Name": name, "Unit": unit }));
        self.members.insert(name.to_owned(), value.into());
        self
    }

    fn into_json(mut self) -> String {
        let directive = json!({
            "Namespace": self.namespace,
            "Dimensions": [self.dimensions],
            "Metrics": self.metrics,
        });
        let aws = json!({ "Timestamp": self.timestamp, "CloudWatchMetrics": [directive] });
        self.members.insert("_aws".to_owned(), aws);
        Value::Object(self.members).to_string()
    }
}

#[cfg(test)]
mod tests {
    use flowgate_proto::Timestamp;

    use super::*;
    use crate::error::ErrorCode;

    fn lines(measurements: &Measurements) -> Vec<Value> {
        let metrics = Metrics {
            namespace: "Flowgate".to_owned(),
            function: "gateway-fn".to_owned(),
            flow: "search".to_owned(),
            output: Output::default(),
        };
        let lines = metrics.lines(
            measurements,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        );
        let parse = |line: &String| serde_json::from_str(line).expect("JSON in one line");
        lines.iter().map(parse).collect()
    }

    #[test]
    fn each_line_contains_its_metrics_and_dimensions() {
        let visit = Visit {
            executor: "encoder".to_owned(),
            start: Timestamp::default(),
            end: Some(Timestamp {
                seconds: 0,
                nanos: 2_500_000,
            }),
            failed: true,
        };
        let running = Visit {
            end: None,
            ..visit.clone()
        };
        let lines = lines(&Measurements {
            init: Some(Duration::from_millis(7)),
            duration: Duration::from_micros(1234),
            record: RecordSnapshot {
                visits: vec![visit, running],
                failures: vec![(ErrorCode::Unavailable, Some("indexer".to_owned()))],
            },
            bytes: vec![("AnswerBytes", 10)],
            request_id: "r".to_owned(),
        });
        assert_eq!(lines.len(), 3);
        for line in &lines {
            let directive = &line["_aws"]["CloudWatchMetrics"][0];
            assert_eq!(directive["Namespace"], "Flowgate");
            assert_eq!(line["_aws"]["Timestamp"], 1000);
            for name in directive["Dimensions"][0].as_array().expect("a list") {
                assert!(line[name.as_str().expect("text")].is_string(), "{line}");
            }
            for metric in directive["Metrics"].as_array().expect("a list") {
                let name = metric["Name"].as_str().expect("text");
                assert!(line[name].is_number(), "{name} in {line}");
            }
        }
        assert_eq!(lines[0]["ColdStart"], 1.0);
        assert_eq!(lines[0]["InitDuration"], 7.0);
        assert_eq!(lines[0]["Duration"], 1.234);
        assert_eq!(lines[0]["AnswerBytes"], 10.0);
        assert_eq!(lines[1]["NodeDuration"], 2.5);
        assert_eq!(lines[1]["NodeErrors"], 1.0);
        assert_eq!(lines[2]["Code"], "Unavailable");
        assert_eq!(lines[2]["Executor"], "indexer");
    }

    #[test]
    fn a_function_without_a_name_has_no_dimension_for_it() {
        let metrics = Metrics {
            namespace: "Flowgate".to_owned(),
            function: String::new(),
            flow: "search".to_owned(),
            output: Output::default(),
        };
        let lines = metrics.lines(&Measurements::default(), SystemTime::UNIX_EPOCH);
        let line: Value = serde_json::from_str(&lines[0]).expect("JSON");
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["Flow"]]));
        assert!(line.get("FunctionName").is_none());
    }

    #[test]
    fn a_warm_start_has_no_init() {
        let lines = lines(&Measurements::default());
        assert_eq!(lines[0]["ColdStart"], 0.0);
        assert!(lines[0].get("InitDuration").is_none());
    }
}
